"""docs/api.md is made from the protos, and is up to date."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_api_reference_says_what_the_protos_say() -> None:
    check = [sys.executable, str(ROOT / "scripts" / "api_docs.py"), "--check"]
    outdated = subprocess.run(check, check=False).returncode
    assert not outdated, "run `.venv/bin/python scripts/api_docs.py` and commit docs/api.md"
