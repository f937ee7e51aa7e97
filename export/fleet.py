"""Fleet: whether every Triton of a cluster serves a release, before anybody is told to ask for it.

The pods load what promotion puts into their common repository by themselves, each when it looks.
"""

import socket
import time
import urllib.error
import urllib.request

from shop.errors import ReleaseRejected
from shop.release import Manifest
from shop.tensors import ALL_MODELS

_LOOK_EVERY_S = 0.25
_TIMEOUT_S = 2.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # inside the cluster


def wait_until_everywhere(address: str, manifest: Manifest, *, within_s: float) -> None:
    """Returns when every server that `address` (host:port, HTTP) leads to serves the release.

    The name is asked anew each time, since pods come and go. Raises ReleaseRejected, naming who
    does not serve it, when the time is over.
    """
    until = time.monotonic() + within_s
    while True:
        missing = _missing(address, manifest)
        if not missing:
            return
        if time.monotonic() > until:
            raise ReleaseRejected(
                f"{manifest.release} is not served everywhere at {address} after {within_s:.0f} s: "
                + ", ".join(missing)
            )
        time.sleep(_LOOK_EVERY_S)


def _missing(address: str, manifest: Manifest) -> list[str]:
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        return [f"no server: {error}"]
    places = sorted({str(info[4][0]) for info in found})
    return [
        f"{model} at {place}"
        for place in places
        for model in ALL_MODELS
        if manifest.has_model(model) and not _is_ready(place, port, model, manifest.version)
    ]


def _is_ready(place: str, port: str, model: str, version: int) -> bool:
    host = f"[{place}]" if ":" in place else place
    url = f"http://{host}:{port}/v2/models/{model}/versions/{version}/ready"
    try:
        with _OPENER.open(url, timeout=_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
