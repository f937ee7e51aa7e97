"""Served: what the door's metrics say, for whoever cannot speak its TLS."""

import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT_S = 1.0
_SERVES = "vitrine_serving 1.0"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine's own


def metrics_of(told: Path) -> dict[str, float]:
    """Every figure of the metrics at the address told in this file; none if nobody answers."""
    try:
        with _OPENER.open(f"http://{told.read_text()}/metrics", timeout=_TIMEOUT_S) as page:
            lines = [line for line in page.read().decode().splitlines() if line[:1] != "#"]
            return {name: float(value) for name, _, value in (ln.rpartition(" ") for ln in lines)}
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def says_it_serves(told: Path) -> bool:
    """Whether the metrics, at the address told in this file, say so. False if nobody answers."""
    try:
        with _OPENER.open(f"http://{told.read_text()}/metrics", timeout=_TIMEOUT_S) as page:
            return _SERVES in page.read().decode().splitlines()
    except (urllib.error.URLError, OSError, ValueError):
        return False
