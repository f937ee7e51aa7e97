"""The door through real gRPC on a real Ray Serve; behind it memory twins, so that all is known."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

import vitrine
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.scratch import users_of
from serving.settings import DoorSettings
from serving.stack.folder import StateFolder
from shop.errors import InvalidRequest, Overloaded

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


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


def test_prices_are_suggested_through_the_door(door: Door) -> None:
    ids = ["p1", "nobody", "p2"]
    with VitrineClient(door.address) as client:
        reply = client.suggest_prices(ids)
        with pytest.raises(InvalidRequest, match=r"product_ids\[1\]: is named before"):
            client.suggest_prices(["p1", "p1"])
    assert [each.product_id for each in reply.suggestions] == ids
    assert reply.suggestions[0].current_price_minor == 1_100
    assert reply.suggestions[1].failure.code == "NOT_FOUND"


def test_a_price_is_shown_on_the_command_line(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vitrine.main(["price", "p1", "nobody", "--address", door.address]) == vitrine.DONE
    shown = capsys.readouterr().out
    assert "p1: 11.00 → 11.00 EUR  (no change; nothing was applied)" in shown
    assert "nobody: the release knows no such product" in shown
    assert "competitors" in shown
    assert "min_margin" in shown
    assert vitrine.main(["price", "nobody", "--json", "--address", door.address]) == vitrine.FAILED
    reply = json.loads(capsys.readouterr().out)
    assert reply["suggestions"][0]["failure"]["code"] == "NOT_FOUND"


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


# What a storefront asks


def test_a_list_comes_back_with_everything_a_storefront_shows(door: Door) -> None:
    reply = door.recommend(user_id="ada", page_size=3)
    assert [item.product_id for item in reply.items] == ["p1", "p2", "p3"]
    first = reply.items[0]
    assert (first.title, first.price_minor, first.stock) == ("Product 1", 1_100, 9)
    assert first.price_as_of_ms > 0
    assert (reply.currency, reply.release, reply.scored_count) == ("EUR", "release-1", 60)
    assert reply.attribution_token
    assert reply.request_id
    assert reply.stage_ms["total"] > 0
    assert not reply.degraded
    assert not first.HasField("explanation")


def test_an_unknown_shopper_is_a_normal_answer(door: Door) -> None:
    reply = door.recommend(user_id="nobody has ever seen me")
    assert len(reply.items) == 20


def test_an_explanation_is_there_when_asked_for(door: Door) -> None:
    item = door.recommend(explain=True, page_size=1).items[0]
    assert item.explanation.purchase == pytest.approx(0.25)
    assert item.explanation.propensity == 1.0
    assert "two_tower" in item.explanation.source_scores


def test_a_list_brought_along_comes_back_in_order_with_what_is_not_in_it(door: Door) -> None:
    with VitrineClient(door.address) as client:
        reply = client.rerank(["p9", "p3", "nobody"], placement="search", user_id="ada")
        assert [item.product_id for item in reply.items] == ["p3", "p9"]
        assert list(reply.missing_product_ids) == ["nobody"]
        with pytest.raises(InvalidRequest, match=r"scores: has 1 elements, needs 2"):
            client.rerank(["p9", "p3"], placement="search", scores=[1.0])


def test_a_list_is_reranked_on_the_command_line(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rerank", "--user", "ada", "--address", door.address, "p9", "p3", "nobody"]
    assert vitrine.main(words) == 0
    shown = capsys.readouterr().out
    assert shown.index("p3") < shown.index("p9")
    assert "unknown: nobody" in shown


def test_pages_follow_each_other_and_cannot_be_forged(door: Door) -> None:
    first = door.recommend(user_id="ada", page_size=5)
    second = door.recommend(user_id="ada", page_size=5, page_token=first.next_page_token)
    assert [item.product_id for item in second.items] == ["p6", "p7", "p8", "p9", "p10"]
    forged = first.next_page_token[:-2] + "AA"
    error = refusal(lambda: door.recommend(user_id="ada", page_token=forged))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "page_token" in violations(error)
    error = refusal(lambda: door.recommend(user_id="bob", page_token=first.next_page_token))
    assert "shopper" in violations(error)["page_token"]


def test_checking_a_request_returns_no_products(door: Door) -> None:
    reply = door.recommend(validate_only=True, filter="price < 20")
    assert (len(reply.items), reply.release) == (0, "release-1")
    error = refusal(lambda: door.recommend(validate_only=True, filter="price <"))
    assert "filter" in violations(error)


def test_every_wrong_field_is_named_with_what_is_allowed(door: Door) -> None:
    error = refusal(
        lambda: door.recommend(
            placement="attic",
            page_size=-3,
            diversity=float("nan"),
            currency="GBP",
            user_id="x" * 200,
            cart=[pb.CartItem(product_id="p1"), pb.CartItem(product_id="p2", quantity=-1)],
        )
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(error)) == {
        "placement",
        "page_size",
        "diversity",
        "currency",
        "user_id",
        "cart[1].quantity",
    }
    assert violations(error)["page_size"] == "is -3, must be 0 to 500"
    assert "home, product, cart" in error.details()


@pytest.mark.parametrize("method", ["Recommend", "LogEvents"])
def test_what_is_no_message_is_refused_as_such(door: Door, method: str) -> None:
    ask = door.channel.unary_unary(f"/vitrine.v1.Recommendations/{method}")
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"\xff" * 40, timeout=10.0)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no message" in refused.value.details()


def test_a_batch_that_is_no_message_is_refused_as_such(door: Door) -> None:
    ask = door.channel.unary_stream("/vitrine.v1.Recommendations/RecommendMany")
    with pytest.raises(grpc.RpcError) as refused:
        list(ask(b"\xff" * 40, timeout=10.0))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_event_counts_in_the_very_next_call(door: Door) -> None:
    def log() -> pb.LogEventsResponse:
        event = pb.Event(idempotency_key="once", type="click", user_id="eve", product_id="p40")
        unknown = pb.Event(idempotency_key="two", type="click", user_id="eve", product_id="zz")
        request = pb.LogEventsRequest(events=[event, unknown])
        return door.recommendations.LogEvents(request, timeout=10)

    receipt = log()
    assert (receipt.accepted, receipt.duplicates) == (2, 0)
    assert list(receipt.unknown_product_ids) == ["zz"]
    item = next(
        item
        for item in door.recommend(user_id="eve", page_size=60).items
        if item.product_id == "p40"
    )
    assert "history" in item.sources
    assert log().duplicates == 2


def test_one_bad_event_refuses_the_batch_and_names_it(door: Door) -> None:
    good = pb.Event(idempotency_key="g", type="click", user_id="sam", product_id="p1")
    bad = pb.Event(type="stare", user_id="sam", time_ms=12)
    request = pb.LogEventsRequest(events=[good, bad])
    error = refusal(lambda: door.recommendations.LogEvents(request, timeout=10))
    assert set(violations(error)) == {
        "events[1].type",
        "events[1].idempotency_key",
        "events[1].product_id",
        "events[1].time_ms",
    }
    request = pb.LogEventsRequest(events=[good])
    assert door.recommendations.LogEvents(request, timeout=10).accepted == 1  # it was not logged


def test_log_that_cannot_be_written_is_said(door: Door) -> None:
    event = pb.Event(idempotency_key="lost", type="click", user_id="sam", product_id="p1")
    with door.switched("fail-log"):
        request = pb.LogEventsRequest(events=[event])
        error = refusal(lambda: door.recommendations.LogEvents(request, timeout=10))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "no space left" in error.details()
        assert len(door.recommend().items) == 20  # lists do not suffer from it


def test_many_are_answered_in_order_and_fail_one_by_one(door: Door) -> None:
    requests = [pb.RecommendRequest(**HOME, page_size=n + 1) for n in range(12)]
    requests[5] = pb.RecommendRequest(placement="attic")
    stream = door.recommendations.RecommendMany(
        pb.RecommendManyRequest(requests=requests), timeout=20
    )
    replies = list(stream)
    assert [reply.index for reply in replies] == list(range(12))
    assert replies[5].failure.code == "INVALID_ARGUMENT"
    assert "attic" in replies[5].failure.message
    assert [len(reply.response.items) for reply in replies] == [
        0 if n == 5 else n + 1 for n in range(12)
    ]


def test_too_many_at_once_are_refused(door: Door) -> None:
    request = pb.RecommendManyRequest(requests=[pb.RecommendRequest()] * 1_001)
    error = refusal(lambda: list(door.recommendations.RecommendMany(request, timeout=20)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "requests" in violations(error)


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
