"""The dependency audit finds what it is for, and the bill of materials holds what is locked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ran(script: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / script)]
    environment = {"PATH": "/usr/bin:/bin"}  # without pip-audit: no test asks a network
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in ("scripts/audit.py", "scripts/dependencies.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "requirements").mkdir()
    for file in (ROOT / "requirements").iterdir():
        (tmp_path / "requirements" / file.name).write_text(file.read_text())
    return tmp_path


def test_the_locks_are_complete_and_what_nobody_looked_for_is_said_loudly() -> None:
    audit = ran("audit.py")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "complete, all licences known" in audit.stdout
    assert "SKIPPED: known vulnerabilities were NOT looked for" in audit.stdout


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("app.lock", "yarl==", "#yarl==", "needs yarl"),
        ("app.lock", "numpy==2.3.5", "numpy==1.20.0", "app.lock has 1.20.0"),
        ("app.lock", "psutil==7.2.2", "psutil==7.2.1", "7.2.1 is locked"),
        ("app.lock", "attrs==", "left-pad==1.0\nattrs==", "left-pad, which nothing needs"),
        ("app.lock", "rich==15.0.0", "rich>=15.0.0", "is not pinned exactly"),
        ("licences.toml", 'rich = "MIT License"\n', "", "rich has no licence"),
        ("licences.toml", 'rich = "MIT License"', 'rich = "AGPL-3.0"', "rich is under 'AGPL-3.0'"),
        ("licences.toml", 'rich = "MIT License"', 'rich = "BSD"', "declares 'MIT License' now"),
    ],
)
def test_what_is_wrong_with_a_lock_is_told(
    copied: Path, file: str, before: str, after: str, told: str
) -> None:
    path = copied / "requirements" / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    audit = ran("audit.py", copied)
    assert audit.returncode == 1
    assert told in audit.stdout + audit.stderr


def test_the_bill_of_materials_names_every_pin_once_and_what_needs_what() -> None:
    first, second = ran("sbom.py").stdout, ran("sbom.py").stdout
    assert first == second
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(references) == len(set(references))
    pinned = {each["name"]: each["version"] for each in bill["components"]}
    assert pinned["nvidia-pytriton"] == "0.7.0"
    assert all(each["licenses"][0]["license"]["name"] for each in bill["components"])
    needs = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    known = {*references, bill["metadata"]["component"]["bom-ref"]}
    assert set(needs) <= known
    assert all(set(below) <= known for below in needs.values())
    assert "pkg:pypi/grpcio@1.85.1" in needs["pkg:pypi/grpcio-status@1.81.1"]
