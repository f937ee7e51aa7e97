"""Served: whether the door serves, by its metrics, for whoever cannot speak its TLS."""

import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT_S = 1.0
_SERVES = "vitrine_serving 1.0"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine's own


def says_it_serves(told: Path) -> bool:
    """Whether the metrics, at the address told in this file, say so. False if nobody answers."""
    try:
        with _OPENER.open(f"http://{told.read_text()}/metrics", timeout=_TIMEOUT_S) as page:
            return _SERVES in page.read().decode().splitlines()
    except (urllib.error.URLError, OSError, ValueError):
        return False
