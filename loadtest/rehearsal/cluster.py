"""Cluster: one Ray with the application of a manifest, deployed as KubeRay does, until SIGTERM.

    python -m loadtest.rehearsal.cluster FOLDER

FOLDER holds `serve.json`; `serving` appears in it once Ray says that the application runs. The
config goes to the same address of Ray's dashboard to which KubeRay sends a RayService's.
"""

import json
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from serving.scratch import scratch_folder
from serving.stack.ports import LOOPBACK, free_port

_WITHIN_S = 120.0
_STEP_S = 0.5
_OBJECT_STORE_BYTES = 80_000_000  # as in the manifest
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    """0 after a clean stop, 1 if the application did not come to run."""
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        with scratch_folder(os.environ) as scratch:
            return _serve(folder, scratch)
    except KeyboardInterrupt:
        return 0


def _serve(folder: Path, scratch: str) -> int:
    import ray

    port = free_port()
    ray.init(
        num_cpus=1,  # a worker's, as in the manifest
        num_gpus=0,
        include_dashboard=True,
        dashboard_host=LOOPBACK,
        dashboard_port=port,
        object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address=LOOPBACK,
        _temp_dir=scratch,
        log_to_driver=False,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray put its own there
    try:
        url = f"http://{LOOPBACK}:{port}/api/serve/applications/"
        _ask(url, (folder / "serve.json").read_bytes())
        _wait_until_it_runs(url)
        (folder / "serving").touch()
        while True:
            time.sleep(_STEP_S)
    except (RuntimeError, urllib.error.URLError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # stopping has begun, and is nearly over
        ray.shutdown()  # a pod that is told to end ends so: who drains it has done so before


def _wait_until_it_runs(url: str) -> None:
    until = time.monotonic() + _WITHIN_S
    while True:
        applications = _ask(url, None).get("applications", {})
        states = {name: each["status"] for name, each in applications.items()}
        if states and set(states.values()) == {"RUNNING"}:
            return
        if "DEPLOY_FAILED" in states.values() or time.monotonic() > until:
            told = {name: each.get("message") for name, each in applications.items()}
            raise RuntimeError(f"{states}: {json.dumps(told)[:4000]}")
        time.sleep(_STEP_S)


def _ask(url: str, body: bytes | None) -> dict[str, Any]:
    """GET, or PUT with a body; the dashboard takes some seconds until it listens."""
    request = urllib.request.Request(url, data=body, method="GET" if body is None else "PUT")
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Bearer {os.environ['RAY_AUTH_TOKEN']}")
    until = time.monotonic() + _WITHIN_S
    while True:
        try:
            with _OPENER.open(request, timeout=60) as answer:
                text = answer.read()
            said: dict[str, Any] = json.loads(text) if text.strip().startswith(b"{") else {}
            return said
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{error.code}: {error.read().decode()[:4000]}") from error
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(_STEP_S)


if __name__ == "__main__":
    sys.exit(main())
