"""The generator against a real, tiny gRPC server."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import grpc
import numpy as np
import pytest

from loadtest.openloop import OK, Call, LoadPlan, generate, run_apart
from loadtest.patience import HASTY, OURS, Patience, PatientDoor
from loadtest.verdict import summary_of
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc


@dataclass
class Door(rpc.RecommendationsServicer):
    """Answers slowly, badly, or well, as told."""

    takes_s: float = 0.0
    fails_every: int = 0
    address: str = ""
    turns_away: int = 0  # so many calls, the first ones
    pushback_ms: int | None = None
    seen: list[pb.RecommendRequest] = field(default_factory=list)
    events: list[pb.Event] = field(default_factory=list)

    def Recommend(
        self, request: pb.RecommendRequest, context: grpc.ServicerContext
    ) -> pb.RecommendResponse:
        self.seen.append(request)
        if len(self.seen) <= self.turns_away:
            if self.pushback_ms is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", str(self.pushback_ms)),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "as told")
        threading.Event().wait(self.takes_s)
        if self.fails_every and len(self.seen) % self.fails_every == 0:
            context.abort(grpc.StatusCode.INTERNAL, "as told")
        return pb.RecommendResponse(
            items=[pb.RecommendedProduct(product_id="p1")],
            degraded=[pb.Degradation(stage="ranking", reason="NO_RANKING")],
            stage_ms={"ranking": 1.5, "total": 2.0},
            scored_count=500,
            request_id=request.request_id,
            attribution_token="token",
        )

    def RecommendMany(
        self, request: pb.RecommendManyRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.RecommendManyResponse]:
        for index, each in enumerate(request.requests):
            if each.user_id == "nobody":
                failure = pb.Failure(code="NOT_FOUND", message="as told")
                yield pb.RecommendManyResponse(index=index, failure=failure)
            else:
                answer = self.Recommend(each, context)
                yield pb.RecommendManyResponse(index=index, response=answer)

    def LogEvents(
        self, request: pb.LogEventsRequest, context: grpc.ServicerContext
    ) -> pb.LogEventsResponse:
        self.events.extend(request.events)
        return pb.LogEventsResponse(accepted=len(request.events))


@pytest.fixture
def door() -> Iterator[Door]:
    answering = Door()
    server = grpc.server(ThreadPoolExecutor(max_workers=1))  # one at a time: calls queue
    rpc.add_RecommendationsServicer_to_server(answering, server)
    answering.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield answering
    server.stop(None).wait()


def a_plan(door: Door, at_s: list[float], *, clicks: bool = False) -> LoadPlan:
    calls = [
        Call(
            pb.RecommendRequest(user_id=f"u{n}", request_id=f"r{n}").SerializeToString(),
            clicks=clicks,
        )
        for n in range(len(at_s))
    ]
    return LoadPlan(door.address, np.array(at_s), calls, timeout_s=5.0, channels=2)


def test_a_machines_proxy_does_not_stand_before_the_door(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with VitrineClient(door.address) as client:
        assert len(client.recommend(placement="home").items) == 1
    assert set(generate(a_plan(door, [0.0])).codes) == {OK}


def test_a_plan_without_a_call_is_a_run_without_one(door: Door) -> None:
    assert len(generate(a_plan(door, []))) == 0


def test_every_call_is_sent_once_and_recorded_with_what_the_reply_says(door: Door) -> None:
    log = generate(a_plan(door, [n / 200 for n in range(40)]))
    assert sorted(r.user_id for r in door.seen) == sorted(f"u{n}" for n in range(40))
    assert len(log) == 40
    assert set(log.codes) == {OK}
    assert set(log.scored) == {500}
    assert log.degraded[0] == ("ranking NO_RANKING",)
    assert set(log.stages) == {"ranking", "total"}
    assert np.all(log.stage_ms[:, log.stages.index("ranking")] == 1.5)


def test_a_slow_server_shows_its_queue_because_latency_counts_from_the_intended_time(
    door: Door,
) -> None:
    door.takes_s = 0.05
    log = generate(a_plan(door, [n / 100 for n in range(10)]))
    # ten calls within 0.1 s, one at a time of 50 ms each: the last one waited for the others
    assert log.latency_ms[-1] > 350
    assert np.all(log.late_ms < 200)


def test_failed_calls_are_recorded_by_code(door: Door) -> None:
    door.fails_every = 4
    log = generate(a_plan(door, [n / 200 for n in range(12)]))
    assert np.count_nonzero(log.codes == "INTERNAL") == 3


def test_calls_that_warm_up_are_sent_but_not_recorded(door: Door) -> None:
    log = generate(a_plan(door, [-0.2, -0.1, 0.0, 0.1], clicks=True))
    assert len(door.seen) == 4
    assert len(log) == 2
    assert log.event_latency_ms.size == 2


def test_a_click_follows_with_the_token_of_the_list_it_was_on(door: Door) -> None:
    log = generate(a_plan(door, [0.0], clicks=True))
    (event,) = door.events
    assert (event.type, event.product_id, event.attribution_token) == ("click", "p1", "token")
    assert event.user_id == "u0"
    assert event.idempotency_key
    assert log.event_latency_ms.size == 1
    assert log.event_errors == 0


def test_the_generator_runs_in_a_process_of_its_own(door: Door) -> None:
    cpu_before = time.process_time()
    log = run_apart(a_plan(door, [n / 100 for n in range(20)])).result(timeout=60)
    assert len(log) == 20
    assert log.generator_cpu_s > 0
    assert time.process_time() - cpu_before < 5


def a_batch(*shoppers: str) -> Call:
    requests = [pb.RecommendRequest(user_id=shopper) for shopper in shoppers]
    body = pb.RecommendManyRequest(requests=requests).SerializeToString()
    return Call(body, kind="email", many=True)


def test_a_batch_is_one_call_that_ends_with_its_last_list(door: Door) -> None:
    door.takes_s = 0.05
    calls = [a_batch("u1", "u2", "u3"), a_batch("u1", "nobody")]
    log = generate(LoadPlan(door.address, np.array([0.0, 0.0]), calls, timeout_s=5.0))
    assert sorted(log.codes) == ["NOT_FOUND", OK]
    whole = int(np.flatnonzero(log.codes == OK)[0])
    assert log.latency_ms[whole] > 150
    assert (log.items[whole], log.scored[whole]) == (3, 500)
    assert log.degraded[whole] == ("ranking NO_RANKING",)
    assert set(log.kinds) == {"email"}


def test_several_processes_send_every_call_once_from_one_common_start(door: Door) -> None:
    plan = a_plan(door, [n / 50 - 0.2 for n in range(60)])
    log = run_apart(plan, processes=3).result(timeout=120)
    assert sorted(r.user_id for r in door.seen) == sorted(f"u{n}" for n in range(60))
    assert len(log) == 50
    assert np.allclose(log.at_s, np.arange(50) / 50)
    # a start of its own would put a process's calls behind the others by its start-up
    order = [int(request.user_id.removeprefix("u")) for request in door.seen]
    assert np.abs(np.array(order) - np.arange(60)).mean() < 12


def test_a_generator_that_finds_nobody_says_so_in_every_process() -> None:
    plan = LoadPlan("127.0.0.1:1", np.array([0.0]), [Call(b"")], timeout_s=1.0, door=_NobodyHome)
    with pytest.raises(TimeoutError):
        run_apart(plan).result(timeout=120)


def a_patient_plan(door: Door, patience: Patience) -> LoadPlan:
    return replace(a_plan(door, [0.0]), door=partial(PatientDoor, patience=patience))


def test_a_client_that_asks_again_is_answered_and_told_separately(door: Door) -> None:
    door.turns_away, door.pushback_ms = 1, 150
    log = generate(a_patient_plan(door, OURS))
    assert (log.codes.tolist(), log.asked_again.tolist()) == ([OK], [1])
    assert log.latency_ms[0] >= 150.0  # it waited as the door had told it
    assert summary_of(log).asked_again == 1


@pytest.mark.parametrize(("pushback_ms", "turned_away"), [(-1, 1), (60_000, 1), (10, 2)])
def test_who_is_told_not_to_come_back_or_was_turned_away_twice_gives_up(
    door: Door, pushback_ms: int, turned_away: int
) -> None:
    door.turns_away, door.pushback_ms = turned_away, pushback_ms
    log = generate(a_patient_plan(door, OURS))
    assert log.codes.tolist() == ["RESOURCE_EXHAUSTED"]
    assert len(door.seen) == turned_away


def test_a_hasty_client_waits_for_nothing(door: Door) -> None:
    door.turns_away, door.pushback_ms = 4, 60_000
    log = generate(a_patient_plan(door, HASTY))
    assert (log.codes.tolist(), log.asked_again.tolist()) == ([OK], [4])


def test_without_patience_a_call_is_sent_once(door: Door) -> None:
    door.turns_away = 1
    log = generate(a_plan(door, [0.0]))
    assert (log.codes.tolist(), log.asked_again.tolist()) == (["RESOURCE_EXHAUSTED"], [0])


class _NobodyHome:
    def __init__(self, address: str, channels: int) -> None:
        pass

    async def __aenter__(self) -> "_NobodyHome":
        raise TimeoutError

    async def __aexit__(self, *_: object) -> None:
        pass
