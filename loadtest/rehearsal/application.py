"""Application: what the manifests start, adapted to this machine in the few places that must be.

The config that Ray gets is the manifest's own, but for the port, the path of the settings file and
the mode of authentication, which KubeRay sets. Settings and variables are the ConfigMaps', with
this machine's addresses put over them as an operator's environment would.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import yaml

from serving.stack.folder import StackState, StateFolder
from serving.stack.ports import LOOPBACK, free_port
from serving.stack.processes import descendants, start, stop_all
from serving.stack.served import says_it_serves
from serving.stack.supervisor import last_lines
from shop.errors import VitrineError

_STOPS_WITHIN_S = 20.0
_STEP_S = 0.1
_SYSTEMS = ("inventory", "pricing", "promotions", "costs", "supply")
_FEEDS = ("competitors", "demand", "calendar")


class RehearsalFailed(VitrineError):
    """What the manifests describe did not start here; the message says why."""


@dataclass(frozen=True, slots=True)
class Described:
    """The application of one RayService, as built."""

    config: dict[str, Any]  # serveConfigV2
    settings: str  # TOML
    environment: dict[str, str]

    @staticmethod
    def of(objects: list[dict[str, Any]], name: str = "vitrine") -> "Described":
        """From the objects of an overlay. Raises RehearsalFailed if it holds no such RayService."""
        for each in objects:
            if each["kind"] == "RayService" and each["metadata"]["name"] == name:
                group = each["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
                pod = group["template"]["spec"]
                mounted = {v["name"]: v["configMap"] for v in pod["volumes"] if "configMap" in v}
                environment = pod["containers"][0]["envFrom"][0]["configMapRef"]["name"]
                return Described(
                    yaml.safe_load(each["spec"]["serveConfigV2"]),
                    _data(objects, mounted["settings"]["name"])["settings.toml"],
                    _data(objects, environment),
                )
        raise RehearsalFailed(f"there is no RayService {name}")


def _data(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    found = (
        each["data"]
        for each in objects
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
    )
    data: dict[str, str] = next(found, {})
    if not data:
        raise RehearsalFailed(f"there is no ConfigMap {name}")
    return data


@dataclass(frozen=True, slots=True)
class Place:
    """Where one door of the rehearsal runs."""

    state_dir: Path
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        """Of the door."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def metrics(self) -> str:
        """Of its figures."""
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"


def a_place(folder: Path, served: Path) -> Place:
    """A state folder as a pod's: its own, with releases, keys and histories of `served`."""
    folder.mkdir(parents=True)
    for name in ("releases", "keys", "histories.lmdb"):
        (folder / name).symlink_to((served / name).resolve())
    return Place(folder.absolute(), free_port(), free_port())


def variables(place: Place, stack: StackState, *, redis_url: str = "") -> dict[str, str]:
    """What this machine puts over the manifest's settings; without Redis the file's stores."""
    over = {
        "STATE_DIR": str(place.state_dir),
        "CLOCK_OFFSET_MS": str(_clock_offset_ms(stack, place)),
        "DOOR__HOST": LOOPBACK,
        "DOOR__PORT": str(place.port),
        "DOOR__METRICS_PORT": str(place.metrics_port),
        "TRITON__ADDRESS": stack.addresses["triton"],
        "RULES__FILE": "rules.toml",
        "REDIS__URL": redis_url,
    }
    over |= {f"BUSINESS__{name.upper()}": stack.addresses[name] for name in _SYSTEMS}
    over |= {f"FEEDS__{name.upper()}": stack.addresses[name] for name in _FEEDS}
    if not redis_url:
        over |= {"HISTORIES__STORE": "lmdb", "RULES__STORE": "file"}
    return {f"VITRINE_{name}": value for name, value in over.items()}


def _clock_offset_ms(stack: StackState, place: Place) -> int:
    prepared = StateFolder((place.state_dir / "releases").resolve().parent).run / "prepared.json"
    return int(json.loads(prepared.read_text())["clock_offset_ms"])


@contextmanager
def running(
    described: Described, place: Place, over: Mapping[str, str], run: str
) -> Iterator[Popen[bytes]]:
    """The application on a Ray cluster of its own, not yet ready; see `ready`. Ends it all."""
    settings = place.state_dir / "settings.toml"
    settings.write_text(described.settings)
    config = json.loads(json.dumps(described.config))
    config["grpc_options"]["port"] = place.port
    config["applications"][0]["args"]["settings"] = str(settings)
    (place.state_dir / "serve.json").write_text(json.dumps(config))
    pods = {name: value for name, value in described.environment.items() if name != "HOME"}
    environment = {**os.environ, **pods, **over}
    environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(place.port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(place.port + 1),
    }
    argv = (sys.executable, "-m", "loadtest.rehearsal.cluster", str(place.state_dir))
    log = place.state_dir / "cluster.log"
    process = start(argv, environment=environment, run=run, log=log)
    try:
        yield process
    finally:
        end_with_children(process)


def wait_until_serving(place: Place, process: Popen[bytes], *, within_s: float = 180.0) -> None:
    """Returns when its health says SERVING. Raises RehearsalFailed, with the log's end."""
    told = StateFolder(place.state_dir).metrics_address(rank=0)
    until = time.monotonic() + within_s
    while not (told.exists() and says_it_serves(told)):
        if process.poll() is not None or time.monotonic() > until:
            said = "\n".join(last_lines(place.state_dir / "cluster.log", 30))
            raise RehearsalFailed(f"the application does not serve:\n{said}")
        time.sleep(_STEP_S)


def end_with_children(process: Popen[bytes]) -> None:
    """Ends a Ray that was started so; none of its processes is left, also if it hangs."""
    left = descendants(process.pid)
    process.terminate()
    try:
        process.wait(_STOPS_WITHIN_S)
    except TimeoutExpired:
        process.kill()
        process.wait()
    stop_all(left, within_s=5.0)
