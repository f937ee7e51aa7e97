"""Locust's users against a small real gRPC server: alone, and spread over workers."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from loadtest.arrivals import Shape
from loadtest.call_log import OK
from loadtest.locust_engine import (
    LOCUSTFILE,
    USER_CLASSES,
    LocustFailed,
    LocustPlan,
    run_locust,
)
from loadtest.traffic import SCENARIOS
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc


@dataclass
class Door(rpc.RecommendationsServicer):
    """Answers on an event loop of its own; one call in `fails_every` fails."""

    takes_s: float = 0.0
    fails_every: int = 0
    address: str = ""
    seen: list[pb.RecommendRequest] = field(default_factory=list)
    events: list[pb.Event] = field(default_factory=list)

    async def Recommend(
        self, request: pb.RecommendRequest, context: grpc.aio.ServicerContext
    ) -> pb.RecommendResponse:
        self.seen.append(request)
        await asyncio.sleep(self.takes_s)
        if self.fails_every and len(self.seen) % self.fails_every == 0:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "as told")
        return _list()

    async def RecommendMany(
        self, request: pb.RecommendManyRequest, context: grpc.aio.ServicerContext
    ) -> None:
        self.seen.extend(request.requests)
        for index in range(len(request.requests)):
            await context.write(pb.RecommendManyResponse(index=index, response=_list()))

    async def LogEvents(
        self, request: pb.LogEventsRequest, context: grpc.aio.ServicerContext
    ) -> pb.LogEventsResponse:
        self.events.extend(request.events)
        return pb.LogEventsResponse(accepted=len(request.events))


def _list() -> pb.RecommendResponse:
    return pb.RecommendResponse(
        items=[pb.RecommendedProduct(product_id="p1")],
        stage_ms={"ranking": 1.5},
        scored_count=500,
        attribution_token="token",
    )


@pytest.fixture
def door() -> Iterator[Door]:
    answering = Door()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> grpc.aio.Server:
        server = grpc.aio.server()
        rpc.add_RecommendationsServicer_to_server(answering, server)
        answering.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(20)
    yield answering
    asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def a_plan(door: Door, folder: Path, **changes: object) -> LocustPlan:
    fields: dict[str, object] = {
        "scenario": "browse",
        "address": door.address,
        "state_dir": folder,  # no release there: all callers are new
        "rate_per_s": 40.0,
        "duration_s": 3.0,
        "warm_up_s": 1.0,
        "timeout_s": 2.0,
    }
    return LocustPlan(**(fields | changes))  # type: ignore[arg-type]


def test_workers_send_the_rate_together_and_the_master_has_every_call(
    door: Door, tmp_path: Path
) -> None:
    log = run_locust(a_plan(door, tmp_path, workers=2, duration_s=4.0))
    assert set(log.codes) == {OK}
    assert 0.5 * 160 < len(log) < 2.0 * 160  # Poisson, and a second more or less at either end
    assert len(log) < len(door.seen)  # what warmed up was sent and is not recorded
    assert len({request.session_id for request in door.seen}) > 5
    assert len({request.request_id for request in door.seen}) == len(door.seen)
    assert log.stages == ("ranking",)
    assert set(log.scored) == {500}
    assert log.generator_cpu_s > 0


def test_a_slow_server_does_not_slow_the_users_down(door: Door, tmp_path: Path) -> None:
    door.takes_s = 0.5
    log = run_locust(a_plan(door, tmp_path, rate_per_s=20.0))
    # a closed loop of ten users, each waiting for its answers, could send no more than they get
    assert len(log) > 0.5 * 20.0 * 3.0
    assert np.median(log.latency_ms) > 500
    assert np.median(log.late_ms) < 250


def test_failed_calls_are_recorded_by_their_status(door: Door, tmp_path: Path) -> None:
    door.fails_every = 5
    log = run_locust(a_plan(door, tmp_path))
    failed = np.count_nonzero(log.codes == "RESOURCE_EXHAUSTED")
    assert failed / len(log) == pytest.approx(0.2, abs=0.1)


def test_batches_go_by_recommend_many_and_count_once(door: Door, tmp_path: Path) -> None:
    log = run_locust(a_plan(door, tmp_path, scenario="email", rate_per_s=8.0))
    assert set(log.kinds) == {"email"}
    assert set(log.items) == {25}
    assert len(door.seen) >= 25 * len(log)


def test_a_spike_is_one(door: Door, tmp_path: Path) -> None:
    plan = a_plan(door, tmp_path, shape=Shape.SPIKE, peak=6.0, duration_s=12.0, rate_per_s=20.0)
    log = run_locust(plan)
    rates = np.bincount(log.at_s.astype(int), minlength=12)[:12]
    assert rates[5:8].max() > 2.0 * np.median(rates)


def test_every_scenario_has_a_class_and_every_class_a_scenario(tmp_path: Path) -> None:
    assert set(USER_CLASSES) == set(SCENARIOS)
    words = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--list"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert set(USER_CLASSES.values()) == set(listed.stdout.split()[-len(USER_CLASSES) :])


def test_what_locust_says_when_it_fails_is_passed_on(door: Door, tmp_path: Path) -> None:
    with pytest.raises(LocustFailed, match="calls-per-user"):
        run_locust(a_plan(door, tmp_path, calls_per_user="none"))
