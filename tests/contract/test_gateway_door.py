"""How the door holds up: deadlines, shedding, health, reflection, its own life and end."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.scratch import users_of
from shop.errors import Overloaded
from tests.contract.open_doors import (
    HOME,
    SERVING,
    START_S,
    STREAMS,
    Door,
    eventually,
    open_door,
    refusal,
    start_door,
    violations,
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


# Time


def test_a_millisecond_is_enough_for_a_fallback(door: Door) -> None:
    reply = door.recommend(deadline_ms=1, page_size=5)
    assert len(reply.items) == 5
    assert {"FALLBACK_CANDIDATES", "NO_RANKING"} <= {d.reason for d in reply.degraded}


def test_the_clients_own_deadline_is_kept_without_being_told(door: Door) -> None:
    with door.switched("stall-ranker"):
        reply = door.recommend(timeout=0.5)  # a later answer is the client's own DEADLINE_EXCEEDED
        assert [d.reason for d in reply.degraded] == ["NO_RANKING"]


def test_a_deadline_in_the_metadata_is_kept(door: Door) -> None:
    request = pb.RecommendRequest(**HOME)
    with door.switched("stall-ranker"):
        reply = door.recommendations.Recommend(
            request, metadata=[("vitrine-deadline-ms", "50")], timeout=20
        )
        assert [d.reason for d in reply.degraded] == ["NO_RANKING"]
    error = refusal(
        lambda: door.recommendations.Recommend(
            request, metadata=[("vitrine-deadline-ms", "soon")], timeout=20
        )
    )
    assert "vitrine-deadline-ms" in violations(error)


def test_without_any_deadline_the_settings_have_one(door: Door) -> None:
    with door.switched("stall-ranker"):
        assert [d.reason for d in door.recommend(timeout=None).degraded] == ["NO_RANKING"]


def test_a_call_that_was_cancelled_ends_at_once(door: Door) -> None:
    with door.switched("stall-ranker"):
        call = door.recommendations.Recommend.future(
            pb.RecommendRequest(**HOME, deadline_ms=60_000), timeout=60
        )
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 1)
        call.cancel()
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 0)
    assert door.metric('vitrine_requests_total{code="CANCELLED",method="Recommend"}') >= 1


def test_calls_that_find_no_room_are_shed_and_the_others_answered(door: Door) -> None:
    with door.switched("stall-ranker"), ThreadPoolExecutor(40) as callers:

        def code(_: int) -> grpc.StatusCode:
            try:
                door.recommend(placement="product", deadline_ms=1_500, timeout=20)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        codes = list(callers.map(code, range(40)))
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.OK) == 20  # 16 at work, 4 waiting


def test_who_is_shed_is_told_when_to_come_back(door: Door) -> None:
    with door.switched("stall-ranker"), ThreadPoolExecutor(20) as callers:
        for _ in range(20):
            callers.submit(
                lambda: door.recommend(placement="product", deadline_ms=1_000, timeout=20)
            )
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 20)
        error = refusal(door.recommend)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(error)
        assert status is not None
        retry = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(retry)
        assert 150 <= retry.retry_delay.ToMilliseconds() <= 300


@pytest.mark.parametrize(("retries", "attempts"), [(False, 1), (True, 2)])
def test_a_shed_client_asks_again_by_itself(door: Door, retries: bool, attempts: int) -> None:
    shed = 'vitrine_requests_total{code="RESOURCE_EXHAUSTED",method="Recommend"}'
    with door.switched("stall-ranker"), ThreadPoolExecutor(20) as callers:
        for _ in range(20):
            callers.submit(
                lambda: door.recommend(placement="product", deadline_ms=2_000, timeout=20)
            )
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 20)
        before = door.metric(shed)
        with VitrineClient(door.address, retries=retries) as shop, pytest.raises(Overloaded):
            shop.recommend(placement="home")
        assert door.metric(shed) == before + attempts


@pytest.mark.parametrize(("client_waits_s", "told"), [(20.0, "5000"), (3.0, "-1")])
def test_who_cannot_wait_for_so_long_is_told_not_to_come_back(
    door: Door, client_waits_s: float, told: str
) -> None:
    many = pb.RecommendManyRequest(requests=[pb.RecommendRequest(**HOME, deadline_ms=60_000)])
    with door.switched("stall-ranker"):
        under_way = [door.recommendations.RecommendMany(many, timeout=60) for _ in range(STREAMS)]
        eventually(lambda: door.metric("vitrine_calls_in_flight") == STREAMS)
        error = refusal(
            lambda: list(door.recommendations.RecommendMany(many, timeout=client_waits_s))
        )
        for batch in under_way:
            batch.cancel()
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 0)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == told


# What others need of a door


def test_a_bug_is_an_internal_error_without_our_insides(door: Door) -> None:
    with door.switched("break-pipeline"):
        error = refusal(door.recommend)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "bug" not in error.details()
    log = (door.state / "logs" / "gateway-0.jsonl").read_text()
    assert "nobody's fault but ours" in log


def test_health_is_told_to_any_client_that_checks(door: Door) -> None:
    for service in ("", "vitrine.v1.Recommendations"):
        request = health_pb2.HealthCheckRequest(service=service)
        reply = door.health.Check(request, timeout=10)
        assert reply.status == SERVING
    unknown = health_pb2.HealthCheckRequest(service="vitrine.v1.Attic")
    error = refusal(lambda: door.health.Check(unknown, timeout=10))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_whoever_watches_is_told_and_may_leave(door: Door) -> None:
    for _ in range(70):  # more than may watch at once
        stream = door.health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(stream).status == SERVING
        stream.cancel()


def test_a_door_with_too_much_to_do_is_alive(door: Door) -> None:
    with door.switched("stall-ranker"), ThreadPoolExecutor(20) as callers:
        calls = [
            callers.submit(
                lambda: door.recommend(placement="product", deadline_ms=1_500, timeout=20)
            )
            for _ in range(20)
        ]
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 20)
        began = time.monotonic()
        assert door.health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
        assert time.monotonic() - began < 1.0
        assert all(len(call.result().items) == 20 for call in calls)


def test_batches_leave_room_for_single_calls(door: Door) -> None:
    def batch() -> int:
        requests = [pb.RecommendRequest(**HOME)] * 300
        many = pb.RecommendManyRequest(requests=requests)
        return sum(1 for _ in door.recommendations.RecommendMany(many, timeout=60))

    with ThreadPoolExecutor(2) as callers:
        batches = [callers.submit(batch) for _ in range(2)]
        eventually(lambda: door.metric("vitrine_calls_in_flight") == 2)
        for _ in range(10):
            assert not door.recommend(timeout=10).degraded
        assert [batch.result() for batch in batches] == [300, 300]


def test_generic_clients_find_their_way_by_reflection(door: Door) -> None:
    database = ProtoReflectionDescriptorDatabase(door.channel)
    assert {"vitrine.v1.Recommendations", "grpc.health.v1.Health"} <= set(database.get_services())
    file = database.FindFileContainingSymbol("vitrine.v1.Recommendations")
    assert [method.name for method in file.service[0].method] == [
        "Recommend",
        "RecommendMany",
        "Rerank",
        "LogEvents",
        "SuggestPrice",
        "Ask",
    ]


def test_a_generic_client_asks_for_a_list_without_generated_code(door: Door) -> None:
    """As grpcurl does: all that it knows of the API is what the door tells."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(door.channel))
    service = pool.FindServiceByName("vitrine.v1.Recommendations")
    method = service.FindMethodByName("Recommend")
    request_type = GetMessageClass(method.input_type)
    reply_type = GetMessageClass(method.output_type)
    assert request_type is not pb.RecommendRequest
    recommend = door.channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=request_type.SerializeToString,
        response_deserializer=reply_type.FromString,
    )
    request = ParseDict({"placement": "home", "user_id": "ada", "page_size": 3}, request_type())
    reply = MessageToDict(recommend(request, timeout=10), preserving_proto_field_name=True)
    assert [item["product_id"] for item in reply["items"]] == ["p1", "p2", "p3"]
    assert {item["reason"] for item in reply["items"]} == {"PERSONALISED"}


def test_metrics_can_be_read_from_outside(door: Door) -> None:
    before = door.metric('vitrine_requests_total{code="OK",method="Recommend"}')
    door.recommend()
    assert door.metric('vitrine_requests_total{code="OK",method="Recommend"}') == before + 1
    assert door.metric('vitrine_stage_seconds_count{stage="ranking"}') > 0


def test_each_request_leaves_one_line(door: Door) -> None:
    door.recommend(request_id="find-me")
    log = (door.state / "logs" / "gateway-0.jsonl").read_text().splitlines()
    (line,) = [json.loads(line) for line in log if "find-me" in line]
    assert (line["method"], line["code"], line["release"]) == ("Recommend", "OK", "release-1")
    assert (line["scored"], line["shown"]) == (60, 20)
    assert line["stage_ms"]["total"] <= line["ms"]


def test_the_door_listens_on_the_loopback_alone(door: Door) -> None:
    port = int(door.address.rpartition(":")[2])
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert listening


def replica_of(door: Door) -> psutil.Process:
    (replica,) = [
        process
        for process in psutil.Process(door.process.pid).children(recursive=True)
        if "ServeReplica" in " ".join(process.cmdline())
    ]
    return replica


def test_busy_neighbours_do_not_starve_the_door(door: Door) -> None:
    assert replica_of(door).nice() == psutil.Process().nice()


def test_the_door_loads_no_training_code(door: Door) -> None:
    loaded = {mapped.path for mapped in replica_of(door).memory_maps()}
    assert not [path for path in loaded if "/torch/" in path]
    assert replica_of(door).memory_info().rss < 400 << 20


def test_a_killed_replica_comes_back_at_the_same_address(door: Door) -> None:
    replica_of(door).kill()

    def answers() -> bool:
        try:
            return len(door.recommend(timeout=2.0).items) == 20
        except grpc.RpcError:
            return False

    eventually(answers, within_s=60.0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_door_is_gone(tmp_path: Path, how: signal.Signals) -> None:
    process = start_door(tmp_path)
    eventually((tmp_path / "ports").exists, within_s=START_S)
    started = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
    (scratch,) = {
        str(path)
        for path in Path(os.environ.get("TMPDIR", "/tmp")).glob("vitrine-*")
        if any(user.pid in started for user in users_of(str(path)))
    }
    assert len(started) > 5
    process.send_signal(how)
    process.wait(60)
    eventually(lambda: not any(map(psutil.pid_exists, started[1:])), within_s=30.0)
    eventually(lambda: not Path(scratch).exists())
