"""Writes the software bill of materials: CycloneDX 1.6 as JSON, from the locks.

    python scripts/sbom.py [FILE]        (default: standard output)

The same locks give the same bytes: it holds neither a time nor a random serial number, so that two
can be compared. Triton's server and its stubs' environment are in it as groups of their own.
"""

import hashlib
import importlib.metadata
import json
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

from dependencies import (
    APPLICATION,
    LOCKS,
    ROOT,
    SHIPPED,
    Pin,
    direct,
    needed_by,
    pins,
    recorded_licences,
)
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_SPACE = uuid.UUID("6f0b1c39-5f4e-5d6b-9f52-7b3b2f3f4c11")  # of our serial numbers, chosen once


def bill() -> dict[str, Any]:
    """The whole document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = [pin for lock in sorted(SHIPPED) for pin in pins(LOCKS / lock)]
    digest = hashlib.sha256("".join(f"{pin.lock}{pin.url}" for pin in locked).encode()).hexdigest()
    root = f"pkg:pypi/{project['name']}@{project['version']}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": project["version"],
                "purl": root,
            }
        },
        "components": [_component(pin) for pin in locked],
        "dependencies": _dependencies(root, [pin for pin in locked if pin.lock in APPLICATION]),
    }


def _component(pin: Pin) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": _reference(pin),
        "name": pin.name,
        "version": pin.version,
        "purl": pin.url,
        "licenses": [{"license": {"name": recorded_licences()[pin.name]}}],
        "properties": [{"name": "vitrine:lock", "value": pin.lock}],
    }


def _reference(pin: Pin) -> str:
    return pin.url if pin.lock in APPLICATION else f"{pin.url}#{pin.lock}"


def _dependencies(root: str, application: list[Pin]) -> list[dict[str, Any]]:
    """What needs what, of the application; Triton's environments are flat."""
    url = {pin.name: pin.url for pin in application}
    asked = direct()
    extras = {canonicalize_name(each.name): each for each in asked}
    found = [{"ref": root, "dependsOn": sorted({url[name] for name in extras})}]
    for pin in application:
        wanted = extras.get(pin.name) or Requirement(pin.name)
        try:
            needs = {canonicalize_name(each.name) for each in needed_by(wanted)}
        except importlib.metadata.PackageNotFoundError:  # its marker does not hold here
            needs = set()
        below = sorted(url[name] for name in needs if name in url)
        found.append({"ref": pin.url, "dependsOn": below})
    return found


def main() -> int:
    """Writes it."""
    text = json.dumps(bill(), indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
