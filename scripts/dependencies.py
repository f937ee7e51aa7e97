"""Dependencies: what the locks hold, what it needs, and under which licences it comes.

Read from the locks and from the metadata of what is installed; no network. Used by `audit.py` and
`sbom.py`.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
LICENCES = LOCKS / "licences.toml"
APPLICATION = ("app.lock", "writer.lock")  # together in one environment
# Those for tests and comparisons alone (checkov, peers) are not part of what is delivered.
SHIPPED = (*APPLICATION, "triton-server.lock", "triton-stub.lock")


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock."""

    name: str  # canonical
    version: str
    lock: str
    holds_here: bool  # its marker, if it has one

    @property
    def url(self) -> str:
        """A package URL, as SBOMs name packages."""
        return f"pkg:pypi/{self.name}@{self.version}"


def pins(lock: Path) -> Iterator[Pin]:
    """Every line of a lock. Raises ValueError for one that pins nothing exactly."""
    for line in lock.read_text().splitlines():
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        wanted = Requirement(text)
        match = re.fullmatch(r"==([\w.!+]+)", str(wanted.specifier))
        if match is None:
            raise ValueError(f"{lock.name}: {text} is not pinned exactly")
        here = wanted.marker is None or wanted.marker.evaluate()
        yield Pin(canonicalize_name(wanted.name), match[1], lock.name, here)


def direct() -> list[Requirement]:
    """What pyproject.toml names, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    names = (*project["dependencies"], *(each for extra in extras for each in extra))
    return [Requirement(each) for each in names]


def needed_by(requirement: Requirement) -> list[Requirement]:
    """What the installed package needs here, with the extras that are asked for.

    Raises PackageNotFoundError if it is not installed.
    """
    declared = importlib.metadata.requires(requirement.name) or []
    environment = default_environment()
    found = []
    for text in declared:
        needed = Requirement(text)
        extras = ("", *requirement.extras)
        if needed.marker is None or any(
            needed.marker.evaluate({**environment, "extra": extra}) for extra in extras
        ):
            found.append(needed)
    return found


def licence_of(name: str) -> str:
    """As the package itself declares it: an SPDX expression, else a classifier, else its words."""
    declared = importlib.metadata.metadata(name)
    if expression := declared.get("License-Expression"):
        return str(expression)
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in declared.get_all("Classifier") or []
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    if classifiers:
        return " AND ".join(sorted(set(classifiers)))
    words = (declared.get("License") or "").strip().splitlines()
    return words[0][:60] if words else ""


def recorded_licences() -> dict[str, str]:
    """What somebody looked at and let in, by canonical name."""
    return {
        canonicalize_name(name): str(licence)
        for name, licence in tomllib.loads(LICENCES.read_text())["licences"].items()
    }
