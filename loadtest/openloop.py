"""Open-loop generator: sends each call when it is due, whatever became of the ones before.

Runs in a process of its own (`run_apart`), so that its work never waits for the caller's. Latency
counts from the *intended* send time: a call that the generator sent late was late for the shopper.

Shapes: n calls, S stages.
"""

import asyncio
import gc
import multiprocessing
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Stage

_SERVICE = "/vitrine.v1.Recommendations"
_LEAD_S = 0.5  # between the generator's being ready and the first call
OK = "OK"
_Method = Callable[..., Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Call:
    """One `Recommend` call, serialised before the clock starts."""

    body: bytes
    clicks: bool = False  # when answered, log a click on the first product


@dataclass(frozen=True, slots=True, eq=False)
class LoadPlan:
    """What is sent where and when. Calls due before 0 warm up and are not recorded."""

    address: str
    at_s: NDArray[np.float64]  # [n] not decreasing
    calls: Sequence[Call]  # [n]
    timeout_s: float
    channels: int = 8  # connections: one would reach one replica only


@dataclass(frozen=True, slots=True, eq=False)
class CallLog:
    """What became of every recorded call, in the order of their intended times."""

    began_unix_s: float  # when 0 of `at_s` was, on the wall clock
    at_s: NDArray[np.float64]  # [n]
    latency_ms: NDArray[np.float64]  # [n] from the intended send time
    late_ms: NDArray[np.float64]  # [n] how late the generator itself sent it
    codes: NDArray[np.str_]  # [n] gRPC status names
    degraded: tuple[tuple[str, ...], ...]  # [n] "stage REASON"
    scored: NDArray[np.int64]  # [n] candidates the ranker scored
    items: NDArray[np.int64]  # [n] products in the reply
    stages: tuple[str, ...]  # [S]
    stage_ms: NDArray[np.float32]  # [n, S] NaN where a reply does not name the stage
    event_latency_ms: NDArray[np.float64]  # of the LogEvents calls that followed
    event_errors: int
    generator_cpu_s: float  # what measuring cost the machine
    wall_s: float

    def __len__(self) -> int:
        return int(self.at_s.size)


@dataclass(slots=True)
class _Row:
    at_s: float
    latency_ms: float
    late_ms: float
    code: str
    degraded: tuple[str, ...]
    scored: int
    items: int
    stage_ms: dict[str, float]


def run_apart(plan: LoadPlan) -> "Future[CallLog]":
    """Starts the generator in a fresh process; the log comes as the future's result."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit gRPC's threads
    pool = ProcessPoolExecutor(max_workers=1, mp_context=context)
    future = pool.submit(generate, plan)
    pool.shutdown(wait=False)
    return future


def generate(plan: LoadPlan) -> CallLog:
    """Runs the plan here, to its end."""
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would show up as the server's latency
    try:
        return asyncio.run(_Generator(plan).run())
    finally:
        gc.enable()


class _Generator:
    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._rows: list[_Row] = []
        self._event_latency_ms: list[float] = []
        self._event_errors = 0
        self._began_unix_s = 0.0

    async def run(self) -> CallLog:
        options = (
            ("grpc.use_local_subchannel_pool", 1),  # else channels share a connection
            ("grpc.enable_http_proxy", 0),  # a machine's proxy must not stand before its own door
        )
        channels = [
            grpc.aio.insecure_channel(self._plan.address, options=options)
            for _ in range(self._plan.channels)
        ]
        try:
            await asyncio.wait_for(
                asyncio.gather(*(channel.channel_ready() for channel in channels)), 20.0
            )
            return await self._send_all(channels)
        finally:
            for channel in channels:
                await channel.close(None)

    async def _send_all(self, channels: list[grpc.aio.Channel]) -> CallLog:
        loop = asyncio.get_running_loop()
        names = (f"{_SERVICE}/Recommend", f"{_SERVICE}/LogEvents")
        stubs = [
            tuple(channel.unary_unary(name, bytes, bytes) for name in names) for channel in channels
        ]
        cpu_before, wall_before = time.process_time(), time.monotonic()
        origin = loop.time() + _LEAD_S - float(self._plan.at_s.min(initial=0.0))
        self._began_unix_s = time.time() + origin - loop.time()
        pending: set[asyncio.Task[None]] = set()
        due = zip(self._plan.at_s.tolist(), self._plan.calls, strict=True)
        for number, (at, call) in enumerate(due):
            wait_s = origin + at - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            recommend, log_events = stubs[number % len(stubs)]
            task = loop.create_task(self._one(call, at, origin, recommend, log_events))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)
        return self._log(time.process_time() - cpu_before, time.monotonic() - wall_before)

    async def _one(
        self,
        call: Call,
        at_s: float,
        origin: float,
        recommend: _Method,
        log_events: _Method,
    ) -> None:
        loop = asyncio.get_running_loop()
        due = origin + at_s
        late_ms = (loop.time() - due) * 1e3
        try:
            raw = await recommend(call.body, timeout=self._plan.timeout_s)
        except grpc.aio.AioRpcError as error:
            latency_ms = (loop.time() - due) * 1e3
            if at_s >= 0:
                code = error.code().name
                self._rows.append(_Row(at_s, latency_ms, late_ms, code, (), 0, 0, {}))
            return
        latency_ms = (loop.time() - due) * 1e3
        reply = pb.RecommendResponse.FromString(raw)
        if at_s >= 0:
            self._rows.append(
                _Row(
                    at_s,
                    latency_ms,
                    late_ms,
                    OK,
                    tuple(f"{d.stage} {d.reason}" for d in reply.degraded),
                    reply.scored_count,
                    len(reply.items),
                    dict(reply.stage_ms),
                )
            )
        if call.clicks and reply.items:
            await self._click(call, reply, log_events, counts=at_s >= 0)

    async def _click(
        self,
        call: Call,
        reply: pb.RecommendResponse,
        log_events: _Method,
        *,
        counts: bool,
    ) -> None:
        request = pb.RecommendRequest.FromString(call.body)
        click = pb.Event(
            idempotency_key=uuid.uuid4().hex,
            type="click",
            user_id=request.user_id,
            visitor_id=request.visitor_id,
            session_id=request.session_id,
            product_id=reply.items[0].product_id,
            attribution_token=reply.attribution_token,
            position=1,
            placement=request.placement,
        )
        body = pb.LogEventsRequest(events=[click]).SerializeToString()
        began = time.monotonic()
        try:
            await log_events(body, timeout=self._plan.timeout_s)
        except grpc.aio.AioRpcError:
            self._event_errors += counts
            return
        if counts:
            self._event_latency_ms.append((time.monotonic() - began) * 1e3)

    def _log(self, cpu_s: float, wall_s: float) -> CallLog:
        rows = sorted(self._rows, key=lambda row: row.at_s)
        stages = Stage.ordered(name for row in rows for name in row.stage_ms)
        missing = float("nan")
        stage_ms = [[row.stage_ms.get(name, missing) for name in stages] for row in rows]
        return CallLog(
            began_unix_s=self._began_unix_s,
            at_s=np.array([row.at_s for row in rows], np.float64),
            latency_ms=np.array([row.latency_ms for row in rows], np.float64),
            late_ms=np.array([row.late_ms for row in rows], np.float64),
            codes=np.array([row.code for row in rows], np.str_),
            degraded=tuple(row.degraded for row in rows),
            scored=np.array([row.scored for row in rows], np.int64),
            items=np.array([row.items for row in rows], np.int64),
            stages=stages,
            stage_ms=np.array(stage_ms, np.float32).reshape(len(rows), len(stages)),
            event_latency_ms=np.array(self._event_latency_ms, np.float64),
            event_errors=self._event_errors,
            generator_cpu_s=cpu_s,
            wall_s=wall_s,
        )
