"""Nodes: one Ray cluster of several nodes on this machine, a gateway spread over them, one lost.

    python -m loadtest.rehearsal.nodes FOLDER

is the process that holds the cluster until SIGTERM: a head without room for replicas and workers
with room for one each, every worker a raylet of its own. FOLDER holds `nodes.json`; `running.json`
appears in it with the raylets' process ids once all replicas run. All nodes share the loopback, so
their replicas share the door's port (`SO_REUSEPORT`) where a cluster's Gateway knows each by its
address; what a lost node takes along is the same.
"""

import contextlib
import importlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

from loadtest.rehearsal.application import Place, RehearsalFailed, end_with_children
from serving.deployments import APPLICATION, SERVICER_FUNCTIONS, serve_environment
from serving.scratch import scratch_folder
from serving.settings import DoorSettings, Settings
from serving.stack.folder import StateFolder
from serving.stack.ports import LOOPBACK
from serving.stack.processes import descendants, is_alive, start
from serving.stack.served import metrics_of, says_it_serves
from serving.stack.supervisor import last_lines

REPLICAS = 2  # as the cluster's application asks for; the third worker is room for one that is lost
WORKERS = 3
_OBJECT_STORE_BYTES = 80_000_000
_STEP_S = 0.05
_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Nodes:
    """A cluster that runs; see `nodes_running`."""

    places: Sequence[Place]
    raylets: Sequence[int]  # process ids

    def serving(self) -> list[int]:
        """Workers whose replica says that it serves."""
        return [at for at, place in enumerate(self.places) if _serves(place)]

    def kill(self, worker: int) -> None:
        """Everything that runs on this node ends at once, as when its power fails."""
        all_of_it = [psutil.Process(self.raylets[worker]), *descendants(self.raylets[worker])]
        for process in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        while any(is_alive(process) for process in all_of_it):  # the kernel does not wait for us
            time.sleep(_STEP_S)

    def answered(self) -> float:
        """Calls that the replicas which are there have answered."""
        told = [StateFolder(place.state_dir).metrics_address(rank=0) for place in self.places]
        counts = [metrics_of(each) for each in told if each.exists()]
        return sum(
            count
            for figures in counts
            for name, count in figures.items()
            if name.startswith("vitrine_requests_total{")
        )

    def wait_for_calls(self, count: int, *, within_s: float) -> None:
        """Returns once so many more were answered: whoever sends them has begun."""
        before, until = self.answered(), time.monotonic() + within_s
        while self.answered() < before + count:
            if time.monotonic() > until:
                raise RehearsalFailed(f"fewer than {count} calls were answered")
            time.sleep(_STEP_S)

    def wait_until(self, workers: int, *, within_s: float) -> float:
        """Seconds until so many serve. Raises RehearsalFailed if they do not."""
        began = time.monotonic()
        while len(self.serving()) != workers:
            if time.monotonic() - began > within_s:
                raise RehearsalFailed(f"{len(self.serving())} of {workers} replicas serve")
            time.sleep(_STEP_S)
        return time.monotonic() - began


def _serves(place: Place) -> bool:
    told = StateFolder(place.state_dir).metrics_address(rank=0)
    return told.exists() and says_it_serves(told)


@contextmanager
def nodes_running(
    folder: Path,
    application: tuple[str, Mapping[str, str]],
    places: Sequence[Place],
    variables: Sequence[Mapping[str, str]],
    *,
    within_s: float = 180.0,
) -> Iterator[Nodes]:
    """`REPLICAS` of an application, spread over as many workers as there are places, and serving.

    `application` is module:function and its arguments; `variables` are each worker's environment.
    Raises RehearsalFailed, with the log's end, if they do not come to serve.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "application": application[0],
        "arguments": dict(application[1]),
        "port": places[0].port,
        "workers": [dict(each) for each in variables],
    }
    (folder / "nodes.json").write_text(json.dumps(plan))
    log = folder / "nodes.log"
    process = start(
        (sys.executable, "-m", "loadtest.rehearsal.nodes", str(folder)),
        environment=_environment(),
        run=f"nodes.{time.time_ns()}",
        log=log,
    )
    try:
        raylets = _raylets(folder / "running.json", process, log, within_s)
        nodes = Nodes(places, raylets)
        nodes.wait_until(REPLICAS, within_s=within_s)
        yield nodes
    finally:
        end_with_children(process)


def _environment() -> dict[str, str]:
    paths = filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _raylets(file: Path, process: Popen[bytes], log: Path, within_s: float) -> list[int]:
    until = time.monotonic() + within_s
    while not file.exists():
        if process.poll() is not None or time.monotonic() > until:
            said = "\n".join(last_lines(log, 30))
            raise RehearsalFailed(f"the nodes do not come to run:\n{said}")
        time.sleep(_STEP_S)
    found: list[int] = json.loads(file.read_text())
    return found


def main() -> int:
    """0 after a clean stop, 1 if the application did not come to run."""
    folder = Path(sys.argv[1])
    plan: dict[str, Any] = json.loads((folder / "nodes.json").read_text())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with scratch_folder(os.environ) as scratch:
            door = DoorSettings(port=plan["port"], replicas=len(plan["workers"]))
            os.environ.update(
                serve_environment(Settings(door=door), scratch=scratch, free_ports=[])
            )
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            os.environ["RAY_TMPDIR"] = scratch
            (Path(scratch) / "ray").mkdir()  # where it notes which cluster was started last
            _hold(folder, plan, scratch)
    except KeyboardInterrupt:
        pass
    return 0


def _hold(folder: Path, plan: Mapping[str, Any], scratch: str) -> None:
    import ray  # after its environment is set: it reads some of it when imported
    from ray import serve
    from ray.cluster_utils import Cluster
    from ray.serve.config import HTTPOptions, gRPCOptions

    common = {"node_ip_address": LOOPBACK, "object_store_memory": _OBJECT_STORE_BYTES}
    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": scratch}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head | common)
    # Before there is another node that it could connect to, and be lost with.
    ray.init(address=cluster.address, namespace="vitrine", log_to_driver=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray put its own there
    try:
        workers = [
            cluster.add_node(num_cpus=1, env_vars=variables, **common)
            for variables in plan["workers"]
        ]
        options = gRPCOptions(port=plan["port"], grpc_servicer_functions=SERVICER_FUNCTIONS)
        serve.start(
            proxy_location="Disabled", http_options=HTTPOptions(host=None), grpc_options=options
        )
        module, _, function = plan["application"].partition(":")
        build = getattr(importlib.import_module(module), function)
        serve.run(build(plan["arguments"]), name=APPLICATION, route_prefix="/")
        raylets = [node.all_processes["raylet"][0].process.pid for node in workers]
        part = folder / "running.part"
        part.write_text(json.dumps(raylets))
        os.replace(part, folder / "running.json")
        while True:
            time.sleep(0.5)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # stopping has begun, and is nearly over
        ray.shutdown()  # what is left of the nodes ends with the scratch folder


if __name__ == "__main__":
    sys.exit(main())
