"""A stack whose door asks for tokens, and every port of it as a stranger finds it."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pyarrow.parquet as pq
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import VitrineClient
from serving.client_calls import read_token
from serving.console.invitation import ADDRESS as CONSOLE
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.stack.folder import StackState, StateFolder
from serving.stack.local import BUSINESS_SYSTEMS, FEEDS
from serving.stack.processes import descendants, marked
from shop.errors import Forbidden, Unauthenticated
from shop.release import CATALOGUE_FILE
from tests.e2e.port_sweep import Listening, listening
from tests.e2e.running_stack import RunningStack, eventually, vitrine

LEARNT = ("world-quick", "snapshots", "models", "releases", "keys", "model_repository")
# What answers whoever asks, with the reason. All of it on the loopback: whoever is on this machine
# as another user can read prices and load models' inputs, and change neither release nor model.
OPEN_ON_THE_LOOPBACK = {
    "metrics": "figures without ids, for the machine's own Prometheus",
    "metrics 2": "the same, of the second replica",
    "triton": "inference for the gateway; administration asks for a secret made at each start",
    "triton grpc": "the same, for the supervisor",
    "triton metrics": "figures",
    CONSOLE: "its log-in page; all else asks for its token (tests/contract/test_console_guard.py)",
    "control": "the simulated shop, which is not there in a real one",
    **dict.fromkeys((*BUSINESS_SYSTEMS, *FEEDS), "simulated here; a real shop has its own"),
}
RAY_METRICS = (44_217, 44_227)  # Ray's own figures: autoscaler and head, read by nobody here


def refused_start(settings: Path, state_dir: Path) -> str:
    """What a door says that has nobody to open to."""
    words = [sys.executable, "-m", "serving.app", "--settings", str(settings)]
    environment = os.environ | {"VITRINE_STATE_DIR": str(state_dir)}
    ran = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 1
    return ran.stderr


@pytest.fixture(scope="module")
def guarded(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackState]:
    folder = tmp_path_factory.mktemp("guarded")
    state_dir, settings = folder / "state", folder / "settings.toml"
    for name in LEARNT:
        shutil.copytree(stack.state_dir / name, state_dir / name)
    settings.write_text('[door]\ncallers = "tokens"\n[index]\nshards = 2\n')
    assert "vitrine token create" in refused_start(settings, state_dir)
    for who in ("shop", "operator"):
        words = ("token", "create", who, "--scope", who, "--out", str(folder / who))
        assert vitrine(*words, state_dir=state_dir).returncode == 0
    up = vitrine("up", "--quick", "--detach", "--settings", str(settings), state_dir=state_dir)
    assert up.returncode == 0, up.stdout + up.stderr
    yield StateFolder(state_dir).running()
    vitrine("down", state_dir=state_dir)


@pytest.fixture(scope="module")
def sockets(guarded: StackState) -> list[Listening]:
    processes = {*descendants(guarded.supervisor_pid), *marked(guarded.run)}
    processes.add(psutil.Process(guarded.supervisor_pid))
    return listening(processes)


def files_of(guarded: StackState) -> Path:
    (log, *_) = (Path(service.log) for service in guarded.services)
    return log.parents[2]


def test_every_port_is_on_the_loopback_or_asks_who_calls(
    guarded: StackState, sockets: list[Listening]
) -> None:
    ports = {
        int(re.findall(r":(\d+)", address)[-1]): name for name, address in guarded.addresses.items()
    }
    found = {each.port for each in sockets}
    assert {port for port, name in ports.items() if name in OPEN_ON_THE_LOOPBACK} <= found
    for each in sockets:
        known = ports.get(each.port, "") in OPEN_ON_THE_LOOPBACK or each.port in RAY_METRICS
        if not (known and each.is_local):
            assert each.answers() == [], each


@pytest.mark.parametrize(
    ("program", "question"),
    [
        ("gcs_server", "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"),
        ("raylet", "/ray.rpc.NodeManagerService/GetSystemConfig"),
        ("ray::ServeReplica", "/ray.serve.ASGIService/HandleRequest"),
        ("ray::ServeReplica", "/ray.rpc.CoreWorkerService/PushTask"),
    ],
)
def test_the_sweep_asks_what_ray_would_answer_to_who_has_its_token(
    sockets: list[Listening], program: str, question: str
) -> None:
    found = [each.code(question) for each in sockets if each.program.startswith(program)]
    assert grpc.StatusCode.UNAUTHENTICATED in found


def test_the_door_tells_a_stranger_its_health_and_nothing_else(guarded: StackState) -> None:
    with grpc.insecure_channel(guarded.door) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        reply = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        stub = rpc.RecommendationsStub(channel)
        for method, request in (
            (stub.Recommend, pb.RecommendRequest(placement="home")),
            (stub.Rerank, pb.RerankRequest(product_ids=["P000001"])),
            (stub.LogEvents, pb.LogEventsRequest()),
            (stub.SuggestPrice, pb.SuggestPriceRequest(product_ids=["P000001"])),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(request, timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        for stream, request in (
            (stub.RecommendMany, pb.RecommendManyRequest()),
            (stub.Ask, pb.AskRequest(question="which lamps are there?")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                list(stream(request, timeout=10))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_texts_are_for_who_has_a_token_and_the_command_line_shows_one(guarded: StackState) -> None:
    folder = files_of(guarded)
    address = ("--address", guarded.addresses["descriptions"])
    # It opens after the door of the lists.
    assert eventually(lambda: reviews(folder, *address)[1] != "", within_s=120.0)
    code, told = reviews(folder, *address)
    assert code != 0
    assert "token" in told
    assert reviews(folder, *address, "--token-file", str(folder / "operator"))[0] == 0
    assert reviews(folder, *address, "--token-file", str(folder / "shop"))[0] != 0


def reviews(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code and last words; "" while nobody answers there."""
    ran = vitrine("review", "list", *words, state_dir=folder / "state")
    return ran.returncode, "" if "nobody answers" in ran.stderr else ran.stderr or "listed"


def test_tokens_open_what_they_are_for_until_they_are_revoked(guarded: StackState) -> None:
    folder = files_of(guarded)
    state_dir = folder / "state"
    shop, operator = (read_token(folder / who) for who in ("shop", "operator"))
    with (
        VitrineClient(guarded.door, token=shop, timeout_s=10.0) as storefront,
        VitrineClient(guarded.door, token=operator, timeout_s=10.0) as office,
    ):
        assert storefront.recommend(placement="home").items
        with pytest.raises(Forbidden):
            storefront.suggest_prices(["P000001"])
        assert office.suggest_prices(["P000001"]).suggestions
        words = ("recommend", "--user", "ada", "--token-file", str(folder / "shop"))
        assert vitrine(*words, state_dir=state_dir).returncode == 0
        assert vitrine(*words[:3], state_dir=state_dir).returncode != 0
        assert vitrine("token", "revoke", "shop", state_dir=state_dir).returncode == 0

        def is_refused() -> bool:
            try:
                storefront.recommend(placement="home")
            except Unauthenticated:
                return True
            return False

        assert eventually(is_refused, within_s=10.0)
        assert office.recommend(placement="home").items
    log = state_dir / "audit.jsonl"
    assert eventually(lambda: '"what": "SuggestPrice"' in log.read_text(), within_s=10.0)
    audited = log.read_text()
    assert '"who": "operator"' in audited
    assert "vitrine token revoke shop" in audited
    assert shop not in audited
    assert stat.S_IMODE(os.stat(log).st_mode) == 0o600


def test_the_index_lies_in_parts_that_status_shows_and_a_killed_one_comes_back(
    guarded: StackState,
) -> None:
    state_dir = files_of(guarded) / "state"

    def parts() -> list[dict[str, Any]]:
        ran = vitrine("status", "--json", state_dir=state_dir)
        found: list[dict[str, Any]] = json.loads(ran.stdout)["shards"]
        return found

    def all_hold() -> bool:
        return all(part["products"] > 0 for part in parts())

    assert len(parts()) == 2
    assert all_hold()
    catalogue = pq.read_metadata(state_dir / "releases" / guarded.release / CATALOGUE_FILE)
    assert sum(part["products"] for part in parts()) == catalogue.num_rows
    (pid,) = [each.pid for each in guarded.services if each.name == "shard-1"]
    assert pid is not None
    token = read_token(files_of(guarded) / "operator")
    with VitrineClient(guarded.door, token=token, timeout_s=10.0) as shop:
        psutil.Process(pid).kill()
        for _ in range(10):
            assert shop.recommend(placement="home").items
        assert eventually(lambda: pid not in service_pids(state_dir) and all_hold())

        def is_whole() -> bool:
            reply = shop.recommend(placement="home", explain=True)  # not from the cache
            return all(each.reason != "PARTIAL_INDEX" for each in reply.degraded)

        assert eventually(is_whole)


def service_pids(state_dir: Path) -> set[int | None]:
    return {each.pid for each in StateFolder(state_dir).running().services}
