"""What the repository says of itself: no machine's paths, no large files, no dead links."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_no_tracked_file_is_large() -> None:
    large = [str(p) for p in _tracked() if p.stat().st_size > 500_000]
    assert large == [], "weights, engines and data sets are never committed"


def test_links_in_the_docs_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(ROOT)} → {target}"
        for page in _tracked()
        if page.suffix == ".md"
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert dead == []


def test_no_text_names_a_machine_or_a_registry() -> None:
    # Pieces are joined here so that this file does not name them either.
    banned = re.compile(
        "|".join(["/" + "work/", "py" + "pi\\.org", "python" + "hosted", "registry\\." + "npm"])
    )
    found = [
        str(path.relative_to(ROOT))
        for path in _tracked()
        if path.suffix in {".py", ".md", ".toml", ".lock", ".yaml", ".json", ".proto", ""}
        and banned.search(path.read_text(errors="ignore"))
    ]
    assert found == []
