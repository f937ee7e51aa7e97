"""The path you see is the path you import, and no name of ours hides a library."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("shop", "simulator", "training", "export", "serving", "loadtest", "k8s")


@pytest.mark.parametrize("name", [*PACKAGES, "vitrine"])
def test_top_level_name_resolves_to_ours(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


def test_the_installed_command_finds_every_package_from_any_folder(tmp_path: Path) -> None:
    asked = f"import {', '.join(PACKAGES)}, k8s.checks.build"
    found = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True)
    assert found.returncode == 0, found.stderr.decode()


def test_the_wheel_lists_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]["find"]["include"]
    for name in PACKAGES:
        assert f"{name}*" in listed


def test_no_top_level_module_is_named_like_the_standard_library() -> None:
    ours = {path.stem for path in ROOT.glob("*.py")} | set(PACKAGES)
    assert not ours & set(sys.stdlib_module_names)


def test_every_direct_dependency_is_pinned_locked_and_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    direct = [*project["dependencies"], *(name for extra in extras for name in extra)]
    locks = ("app.lock", "writer.lock")
    lock = "\n".join((ROOT / "requirements" / name).read_text() for name in locks).lower()
    reasons = (ROOT / "docs" / "architecture.md").read_text().lower()
    for requirement in direct:
        match = re.fullmatch(r"([A-Za-z0-9-]+)(\[\w+\])?==([\w.]+)", requirement)
        assert match, f"{requirement} is not pinned exactly"
        name, _, version = match.groups()
        assert f"\n{name}=={version}\n".lower() in lock, f"{requirement} is not in the lock"
        assert f"`{name}`" in reasons, f"docs/architecture.md gives no reason for {name}"


def test_every_module_says_what_it_is_responsible_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        if "_pb2" not in path.name and path.read_text().strip() and not _first_words(path)
    ]
    assert silent == []


def _first_words(path: Path) -> str | None:
    """The module's docstring; a whole file is parsed only where it does not begin with one."""
    text = path.read_text()
    head = text.lstrip()
    if head.startswith('"""'):
        return head[3:].split('"""')[0].strip()
    return ast.get_docstring(ast.parse(text))
