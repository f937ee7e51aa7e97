"""Secrets: what `k8s/secrets.toml` says of those that an operator makes; none is in the project."""

import functools
import tomllib
from typing import Any

from k8s.checks.build import K8S


@functools.cache
def known_secrets() -> dict[str, Any]:
    """What an operator makes beforehand, by name."""
    return tomllib.loads((K8S / "secrets.toml").read_text())


def likeness(name: str, key: str) -> str:
    """What stands for a value that nobody here knows; an address shows where it leads."""
    return str(known_secrets().get(name, {}).get("like", {}).get(key, f"a {key}"))
