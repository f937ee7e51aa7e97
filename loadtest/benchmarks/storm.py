"""Storm: clients that ask again at once, up to five times, for every call that was shed.

The peak is found first. Then the same overload comes three times: from clients that take a refusal
for an answer, from clients such as ours, that wait as they are told, and from hasty ones. What is
answered in time must hold whoever they are.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.adversity import TYPED
from loadtest.benchmarks.overload import GOOD_MS, GOODPUT_SHARE, good, ladder
from loadtest.benchmarks.result import Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.benchmarks.warmth import warm_up
from loadtest.call_log import OK, CallLog
from loadtest.doors import Door, GrpcDoor
from loadtest.openloop import LoadPlan, run_apart
from loadtest.patience import HASTY, as_our_client, hastily
from loadtest.traffic import SCENARIOS, Audience, make_calls

TIMES_PEAK = 1.5
DURING_S = 12.0
_SETTLED_S = 2.0  # of it: the limit has found its place
_TIMEOUT_S = 5.0
CLIENTS: dict[str, Callable[[str, int], AbstractAsyncContextManager[Door]]] = {
    "do not ask again": GrpcDoor,
    "wait as told, once": as_our_client,
    f"ask again at once, {HASTY.times} times": hastily,
}


@dataclass(frozen=True, slots=True)
class Weather:
    """What became of the calls of one kind of client."""

    clients: str
    goodput_per_s: float
    answered_share: float
    sends_per_call: float
    untyped: int


def measure(state_dir: Path, images: Path) -> Result:
    """Goodput under the same overload by the manners of the clients."""
    audience, rng = audience_of(state_dir), np.random.default_rng(41)
    with a_stack(state_dir) as stack:
        warm_up(state_dir, stack.door)
        peak = max(goodput for _, goodput in ladder(stack.door, audience, rng))
        found = [
            weather_of(clients, _sent(stack.door, audience, peak, door, rng))
            for clients, door in CLIENTS.items()
        ]
    return result_of(peak, found)


def _sent(
    address: str,
    audience: Audience,
    peak: float,
    door: Callable[[str, int], AbstractAsyncContextManager[Door]],
    rng: np.random.Generator,
) -> CallLog:
    rate = max(1.0, TIMES_PEAK * peak)
    at_s = schedule(Arrivals.POISSON, rate_per_s=rate, duration_s=DURING_S, rng=rng)
    calls = make_calls(SCENARIOS["browse"], audience, at_s.size, rng)
    return run_apart(LoadPlan(address, at_s, calls, _TIMEOUT_S, door=door)).result()


def weather_of(clients: str, log: CallLog) -> Weather:
    """Of one run, after it has settled."""
    settled = log.at_s >= _SETTLED_S
    seconds = DURING_S - _SETTLED_S
    return Weather(
        clients,
        goodput_per_s=float(np.count_nonzero(good(log) & settled)) / seconds,
        answered_share=float(np.mean(log.codes == OK)) if len(log) else 0.0,
        sends_per_call=1.0 + float(log.asked_again.mean()) if len(log) else 0.0,
        untyped=sum(str(code) not in TYPED for code in log.codes),
    )


def result_of(peak: float, found: list[Weather]) -> Result:
    """Holds if the hasty ones get no less than the peak's share out of the door."""
    worst = min(each.goodput_per_s for each in found)
    hasty = found[-1]
    return Result(
        name="storm",
        figures={
            "peak_goodput_per_s": round(peak, 1),
            "storm_goodput_per_s": round(hasty.goodput_per_s, 1),
            "storm_sends_per_call": round(hasty.sends_per_call, 2),
            "goodput_share": round(worst / peak, 4) if peak else 0.0,
            "untyped": sum(each.untyped for each in found),
        },
        checks=(
            at_least(
                f"goodput at {TIMES_PEAK:g} × the peak, whoever asks, of the peak",
                worst / peak if peak else 0.0,
                GOODPUT_SHARE,
                "",
            ),
            at_most("errors without a type", sum(each.untyped for each in found), 0, ""),
        ),
        grids=(
            Grid(
                f"{TIMES_PEAK * peak:.0f} calls/s for {DURING_S:g} s from clients that …",
                ("", f"answered within {GOOD_MS:g} ms", "answered at all", "sends a call"),
                tuple(
                    (
                        each.clients,
                        f"{each.goodput_per_s:.0f}/s",
                        f"{each.answered_share:.1%}",
                        f"{each.sends_per_call:.2f}",
                    )
                    for each in found
                ),
            ),
        ),
        notes=(
            "A latency counts from the first attempt's intended time: an answer that had to be"
            " asked for again after a wait is seldom within the promise.",
        ),
    )
