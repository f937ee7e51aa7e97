"""Several replicas behind one port: all of them answer, and a killed one is not missed."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.stack.folder import StateFolder
from tests.contract.open_doors import HOME, ROOT, START_S, eventually

REPLICAS = 2
CONNECTIONS = 24  # all at one replica: once in eight million


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("door")
    words = ["tests.contract.twin_door", str(folder), str(folder / "ports"), "", str(REPLICAS)]
    with (folder / "door.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=log, stderr=log)
    try:
        ports = folder / "ports"
        eventually(lambda: ports.exists() or process.poll() is not None, within_s=START_S)
        assert process.poll() is None, (folder / "door.log").read_text()
        yield folder
    finally:
        process.terminate()
        process.wait(60)


def door_of(state: Path) -> str:
    address = json.loads((state / "ports").read_text())["door"]
    assert isinstance(address, str)
    return address


def answered_by(state: Path, rank: int) -> float:
    address = StateFolder(state).metrics_address(rank).read_text()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    counts = [line for line in lines if line.startswith('vitrine_requests_total{code="OK"')]
    return sum(float(line.split()[-1]) for line in counts)


def test_connections_are_spread_over_the_replicas(state: Path) -> None:
    before = [answered_by(state, rank) for rank in range(REPLICAS)]
    for _ in range(CONNECTIONS):
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(door_of(state), options=options) as channel:
            request = pb.RecommendRequest(**HOME)
            assert rpc.RecommendationsStub(channel).Recommend(request, timeout=10.0).items
    gained = [answered_by(state, rank) - before[rank] for rank in range(REPLICAS)]
    assert sum(gained) == CONNECTIONS
    assert all(gain > 0 for gain in gained), gained


def test_a_killed_replica_is_not_missed_by_clients_that_ask_again(state: Path) -> None:
    replicas = [
        process for process in psutil.process_iter() if is_replica_of(process, door_of(state))
    ]
    assert len(replicas) == REPLICAS
    with VitrineClient(door_of(state)) as client:
        assert client.recommend(**HOME).items
        for replica in replicas[:1]:
            replica.kill()
        for _ in range(50):
            assert client.recommend(**HOME).items


def is_replica_of(process: psutil.Process, door: str) -> bool:
    """Whether the process listens on the door's port."""
    port = int(door.rpartition(":")[2])
    try:
        listening = [each for each in process.net_connections("tcp") if each.status == "LISTEN"]
    except psutil.Error:
        return False
    return any(each.laddr.port == port for each in listening)
