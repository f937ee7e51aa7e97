"""Contest: the product and its peers by turns on one machine, until the medians can be compared.

Every peer must first answer as the truth does, product by product. Then rounds: each contestant in
turn, in another order every time, with one call in flight and then at rising rates until p99 passes
the limit. The canary looks before every turn; a round on a noisy machine is void and run again.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.call_log import OK
from loadtest.canary import TOLERANCE, idle_p99_ms, p99_ms
from loadtest.doors import Call, Reply
from loadtest.histogram import percentile
from loadtest.openloop import LoadPlan, generate, run_apart
from loadtest.peers.contestants import OpenDoor, cpu_s
from loadtest.peers.core import Found
from loadtest.peers.doors import wait_for

P99_MS = 50.0
_FIRST_RATE = 40.0
_STEP = 1.2  # from one rate to the next
_WINDOW_S = 4.0
_WARM_S = 1.0  # of each window, unrecorded
_ONE_BY_ONE = 150
_TIMEOUT_S = 2.0
_DRAIN_S = 1.0
_LIST_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """One that is up."""

    name: str
    address: str
    door: OpenDoor
    calls: Sequence[Call]
    pids: list[int]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one contestant did in one round."""

    name: str
    p50_ms: float  # one in flight
    best_rate_per_s: float  # the highest at which p99 kept the limit
    cpu_ms: float  # of the server, a call, at the first rate
    round: int


async def equal_to_truth(
    contestant: Contestant, shoppers: Sequence[str], calls: Sequence[Call], expected: list[Found]
) -> str:
    """ "" if it answers every one of them as the truth does, else what differs."""
    try:
        return await _compared(contestant, shoppers, calls, expected)
    except TimeoutError:
        return "nobody answers at its address"


async def _compared(
    contestant: Contestant, shoppers: Sequence[str], calls: Sequence[Call], expected: list[Found]
) -> str:
    async with contestant.door(contestant.address, 1) as door:
        if not await wait_for(partial(door.ask, 0, calls[0], _LIST_TIMEOUT_S)):
            return "it did not come up"
        for at, (shopper, call, found) in enumerate(zip(shoppers, calls, expected, strict=True)):
            reply: Reply = await door.ask(at, call, _LIST_TIMEOUT_S)
            if list(reply.products) != found.product_ids or reply.scored != found.scored:
                return f"shopper {shopper}: {reply.code}, not the products of the truth"
    return ""


def turn(contestant: Contestant, number: int) -> Turn:
    """One contestant's part of a round."""
    p50_ms = asyncio.run(_one_in_flight(contestant))
    rng = np.random.default_rng(number)
    rate, best, cpu_ms = _FIRST_RATE, 0.0, float("nan")
    while True:
        before, p99, sent = cpu_s(contestant.pids), *_window(contestant, rate, rng)
        if np.isnan(cpu_ms):
            cpu_ms = 1e3 * (cpu_s(contestant.pids) - before) / sent
        if not p99 <= P99_MS:
            break
        best = rate
        rate *= _STEP
    time.sleep(_DRAIN_S)  # what is still queued there must not reach into the next turn
    return Turn(contestant.name, p50_ms, best, cpu_ms, number)


async def _one_in_flight(contestant: Contestant) -> float:
    times = []
    async with contestant.door(contestant.address, 1) as door:
        for at in range(_ONE_BY_ONE):
            began = time.perf_counter()
            reply = await door.ask(at, contestant.calls[at % len(contestant.calls)], _TIMEOUT_S)
            if reply.code == OK:
                times.append((time.perf_counter() - began) * 1e3)
    return percentile(np.array(times), 50.0)


def _window(contestant: Contestant, rate: float, rng: np.random.Generator) -> tuple[float, int]:
    """p99 at this rate (infinite if a call failed), and how many calls were sent."""
    span_s = _WINDOW_S + _WARM_S
    at_s = schedule(Arrivals.POISSON, rate_per_s=rate, duration_s=span_s, rng=rng) - _WARM_S
    calls = [contestant.calls[int(at)] for at in rng.integers(0, len(contestant.calls), at_s.size)]
    plan = LoadPlan(contestant.address, at_s, calls, _TIMEOUT_S, door=contestant.door)
    log = run_apart(plan).result()
    failed = bool(np.any(log.codes != OK)) or not len(log)
    return (float("inf") if failed else percentile(log.latency_ms, 99.0)), at_s.size


def rounds(
    contestants: Sequence[Contestant], count: int
) -> tuple[list[list[Turn]], list[list[Turn]]]:
    """`count` quiet rounds, and the void ones; twice as many are tried at most."""
    idle_ms = idle_p99_ms()
    quiet: list[list[Turn]] = []
    void: list[list[Turn]] = []
    for number in range(2 * count):
        if len(quiet) == count:
            break
        at = number % len(contestants)
        order = [*contestants[at:], *contestants[:at]][:: 1 if number % 2 else -1]
        found, looked = [], []
        for contestant in order:
            looked.append(p99_ms())
            idle_ms = min(idle_ms, looked[-1])
            found.append(turn(contestant, number))
        looked.append(p99_ms())
        (void if max(looked) > TOLERANCE * idle_ms else quiet).append(found)
    return quiet, void


def warm(contestant: Contestant, seconds: float) -> None:
    """Traffic at the first rate that nobody records."""
    rng = np.random.default_rng(0)
    at_s = schedule(Arrivals.POISSON, rate_per_s=_FIRST_RATE, duration_s=seconds, rng=rng)
    calls = [contestant.calls[at % len(contestant.calls)] for at in range(at_s.size)]
    generate(LoadPlan(contestant.address, at_s, calls, _TIMEOUT_S, door=contestant.door))
