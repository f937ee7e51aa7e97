"""Open-loop generator: sends each call when it is due, whatever became of the ones before.

Runs in processes of its own (`run_apart`), so that its work never waits for the caller's. Latency
counts from the *intended* send time: a call that the generator sent late was late for the shopper.

Shapes: n calls.
"""

import asyncio
import gc
import multiprocessing
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.call_log import OK, CallLog, Outcome, Sending, log_of, merged
from loadtest.doors import Call, Door, GrpcDoor, Reply
from serving.proto import recommendations_pb2 as pb

__all__ = ["OK", "Call", "CallLog", "LoadPlan", "generate", "run_apart"]

_LEAD_S = 0.5  # between the generators' being ready and the first call
_START_S = 60.0  # for all processes of a generator to be ready


@dataclass(frozen=True, slots=True, eq=False)
class LoadPlan:
    """What is sent where and when. Calls due before 0 warm up and are not recorded."""

    address: str
    at_s: NDArray[np.float64]  # [n] not decreasing
    calls: Sequence[Call]  # [n]
    timeout_s: float
    # Connections: the kernel gives each to one replica, and of 8 it gave one replica 6.
    channels: int = 32
    door: Callable[[str, int], AbstractAsyncContextManager[Door]] = GrpcDoor
    first_s: float | None = None  # when the first call is due; None: the least of `at_s`, or 0

    @property
    def begins_s(self) -> float:
        """When the first call is due, in the seconds of `at_s`."""
        return float(self.at_s.min(initial=0.0)) if self.first_s is None else self.first_s

    def part(self, number: int, parts: int) -> "LoadPlan":
        """Every `parts`-th call from `number` on; all parts together are the plan."""
        return replace(
            self,
            at_s=self.at_s[number::parts],
            calls=self.calls[number::parts],
            first_s=self.begins_s,
        )


def run_apart(plan: LoadPlan, processes: int = 1) -> "Future[CallLog]":
    """Starts the generator in fresh processes; the log of all comes as the future's result.

    One process of Python sends some 2,000 calls a second; where it is late, more are needed.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit gRPC's threads
    origin = context.Value("d", 0.0)
    ready = context.Barrier(processes)
    pool = ProcessPoolExecutor(processes, context, _share, (ready, origin))
    parts = [pool.submit(_generate_part, plan.part(at, processes)) for at in range(processes)]
    pool.shutdown(wait=False)
    joining = ThreadPoolExecutor(1)
    whole = joining.submit(_joined, parts, (ready, origin))
    joining.shutdown(wait=False)
    return whole


def _joined(parts: Sequence[Future[CallLog]], shared: tuple[Barrier, Any]) -> CallLog:
    """Holds `shared` until the end: a semaphore that nobody holds is gone before they start."""
    return merged([part.result() for part in parts])


_shared: tuple[Barrier, Any] | None = None  # set once in each process of a generator


def _share(ready: Barrier, origin: Any) -> None:
    global _shared
    _shared = (ready, origin)


def _generate_part(plan: LoadPlan) -> CallLog:
    """One process's part: all of them count from the same moment."""
    if _shared is None:
        raise ValueError("not a process of a generator")
    ready, origin = _shared

    def starts_at() -> float:
        if ready.wait(_START_S) == 0:  # the same clock in every process of a machine
            origin.value = time.monotonic() + _LEAD_S
        ready.wait(_START_S)
        return float(origin.value)

    return _quietly(plan, starts_at)


def generate(plan: LoadPlan) -> CallLog:
    """Runs the plan here, to its end."""
    return _quietly(plan, lambda: time.monotonic() + _LEAD_S)


def _quietly(plan: LoadPlan, starts_at: Callable[[], float]) -> CallLog:
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would show up as the server's latency
    try:
        return asyncio.run(_Generator(plan).run(starts_at))
    finally:
        gc.enable()


class _Generator:
    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._outcomes: list[Outcome] = []
        self._event_latency_ms: list[float] = []
        self._event_errors = 0

    async def run(self, starts_at: Callable[[], float]) -> CallLog:
        async with self._plan.door(self._plan.address, self._plan.channels) as door:
            first = starts_at()  # may wait for the other processes: nothing else runs here yet
            return await self._send_all(door, first)

    async def _send_all(self, door: Door, first: float) -> CallLog:
        loop = asyncio.get_running_loop()
        cpu_before, wall_before = time.process_time(), time.monotonic()
        origin = first - self._plan.begins_s
        began_unix_s = time.time() + origin - loop.time()
        pending: set[asyncio.Task[None]] = set()
        due = zip(self._plan.at_s.tolist(), self._plan.calls, strict=True)
        for number, (at_s, call) in enumerate(due):
            wait_s = origin + at_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            task = loop.create_task(self._one(door, number, call, at_s, origin))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)
        sending = Sending(
            began_unix_s,
            self._event_latency_ms,
            self._event_errors,
            time.process_time() - cpu_before,
            time.monotonic() - wall_before,
        )
        return log_of(self._outcomes, sending)

    async def _one(self, door: Door, number: int, call: Call, at_s: float, origin: float) -> None:
        loop = asyncio.get_running_loop()
        due = origin + at_s
        late_ms = (loop.time() - due) * 1e3
        reply = await door.ask(number, call, self._plan.timeout_s)
        latency_ms = (loop.time() - due) * 1e3
        self._outcomes.append(reply.outcome(call.kind, at_s, latency_ms, late_ms))
        if call.clicks and reply.products:
            await self._click(door, number, call, reply, counts=at_s >= 0)

    async def _click(
        self, door: Door, number: int, call: Call, reply: Reply, *, counts: bool
    ) -> None:
        body = click_on_first(call, reply)
        began = time.monotonic()
        if not await door.tell(number, body, self._plan.timeout_s):
            self._event_errors += counts
        elif counts:
            self._event_latency_ms.append((time.monotonic() - began) * 1e3)


def click_on_first(call: Call, reply: Reply) -> bytes:
    """A LogEventsRequest: this call's shopper clicked on the first product of the reply."""
    request = pb.RecommendRequest.FromString(call.body)
    click = pb.Event(
        idempotency_key=uuid.uuid4().hex,
        type="click",
        user_id=request.user_id,
        visitor_id=request.visitor_id,
        session_id=request.session_id,
        product_id=reply.products[0],
        attribution_token=reply.token,
        position=1,
        placement=request.placement,
    )
    return pb.LogEventsRequest(events=[click]).SerializeToString()
