"""A door with memory twins behind it, started for a test, and how its refusals are read."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.settings import DoorSettings
from serving.stack.folder import StateFolder

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0
HOME = {"placement": "home"}
STREAMS = DoorSettings().streams
SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass
class Door:
    """A running door."""

    process: subprocess.Popen[bytes]
    state: Path
    address: str
    metrics: str
    channel: grpc.Channel

    @property
    def recommendations(self) -> rpc.RecommendationsStub:
        return rpc.RecommendationsStub(self.channel)

    @property
    def health(self) -> health_pb2_grpc.HealthStub:
        return health_pb2_grpc.HealthStub(self.channel)

    def recommend(self, timeout: float | None = 10.0, **fields: Any) -> pb.RecommendResponse:
        request = pb.RecommendRequest(**(HOME | fields))
        return self.recommendations.Recommend(request, timeout=timeout)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    @contextmanager
    def switched(self, name: str) -> Iterator[None]:
        switch = self.state / name
        switch.touch()
        try:
            yield
        finally:
            switch.unlink()


def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(0.05)


def start_door(state: Path) -> subprocess.Popen[bytes]:
    with (state / "door.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.contract.twin_door", str(state), str(state / "ports")],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


@contextmanager
def open_door(state: Path) -> Iterator[Door]:
    process = start_door(state)
    try:
        eventually(
            lambda: (state / "ports").exists() or process.poll() is not None, within_s=START_S
        )
        assert process.poll() is None, (state / "door.log").read_text()
        ports = json.loads((state / "ports").read_text())
        with grpc.insecure_channel(ports["door"]) as channel:
            yield Door(
                process,
                state,
                ports["door"],
                StateFolder(state).metrics_address(rank=0).read_text(),
                channel,
            )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def violations(error: grpc.RpcError) -> dict[str, str]:
    status = rpc_status.from_call(error)
    assert status is not None, "no google.rpc.Status in the trailers"
    found = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(found)
    return {violation.field: violation.description for violation in found.field_violations}
