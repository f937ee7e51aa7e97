"""Contestants: how each peer is started and spoken to, and how the product is."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from loadtest.doors import Call, Door, GrpcDoor
from loadtest.peers.doors import HttpDoor
from loadtest.peers.task import PAGE_SIZE
from serving.proto import recommendations_pb2 as pb

_ROOT = Path(__file__).resolve().parents[2]
PEERS_PYTHON = _ROOT / ".peers" / "bin" / "python"
_START_S, _STOP_S = 180.0, 20.0
OpenDoor = Callable[[str, int], AbstractAsyncContextManager[Door]]


def _as_is(answer: Any) -> Any:
    return answer


def _first_prediction(answer: Any) -> Any:
    return answer["predictions"][0]


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them. `path` is empty for gRPC."""

    name: str
    module: str
    path: str = ""
    is_kserve: bool = False

    @property
    def door(self) -> OpenDoor:
        """How calls reach it."""
        if not self.path:
            return GrpcDoor
        read = _first_prediction if self.is_kserve else _as_is
        return partial(HttpDoor, path=self.path, read=read)

    def call(self, shopper: str) -> Call:
        """One shopper's request, serialised."""
        if not self.path:
            request = pb.RecommendRequest(user_id=shopper, placement="home", page_size=PAGE_SIZE)
            return Call(request.SerializeToString(), kind=self.name)
        wanted: dict[str, Any] = {"user_id": shopper, "page_size": PAGE_SIZE}
        body = {"instances": [wanted]} if self.is_kserve else wanted
        return Call(json.dumps(body).encode(), kind=self.name)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("grpc-aio", "loadtest.peers.grpc_aio"),
        Peer("fastapi", "loadtest.peers.fastapi_onnx", "/recommend"),
        Peer("ray-serve", "loadtest.peers.ray_serve"),
        Peer("litserve", "loadtest.peers.litserve_batched", "/recommend"),
        Peer("bentoml", "loadtest.peers.bentoml_service", "/recommend"),
        Peer("kserve", "loadtest.peers.kserve_model", "/v1/models/vitrine:predict", True),
    )
}


@contextmanager
def running(peer: Peer, folder: Path, processes: int) -> Iterator[tuple[str, int]]:
    """Its server with this task: address and process id. At the end nothing of it is left."""
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        port = int(finder.getsockname()[1])
    words = ["--folder", str(folder), "--port", str(port), "--processes", str(processes)]
    with (folder / f"{peer.name}.log").open("wb") as said:
        server = subprocess.Popen(
            [str(PEERS_PYTHON), "-m", peer.module, *words],
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for_port(server, port)
            yield f"127.0.0.1:{port}", server.pid
        finally:
            _stop(server)


def _wait_for_port(server: subprocess.Popen[bytes], port: int) -> None:
    """Until somebody listens there, the server has ended, or patience has."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)


def _stop(server: subprocess.Popen[bytes]) -> None:
    family = family_of(server.pid)
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for process in family:  # workers whose parent did not see to them
        if process.is_running():
            process.kill()
    psutil.wait_procs(family, timeout=_STOP_S)


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that came of it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(pids: list[int]) -> float:
    """CPU time of these processes and of what came of them."""
    total = 0.0
    for process in {each for pid in pids for each in family_of(pid)}:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
