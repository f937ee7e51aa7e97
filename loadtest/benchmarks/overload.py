"""Overload: three times as many calls as can be answered, and how soon all is well again.

Shapes: n calls.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import Audience, audience_of
from loadtest.benchmarks.result import Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.openloop import OK, CallLog, LoadPlan, run_apart
from loadtest.traffic import SCENARIOS, make_calls

CALM_PER_S = 60.0
STEPS_PER_S = (100.0, 150.0, 200.0, 250.0, 300.0, 400.0)
STEP_S = 8.0
OVERLOAD = 3.0
OVERLOAD_S = 20.0
CALM_S = 15.0
WARM_UP_S = 5.0
GOODPUT_SHARE = 0.9
BACK_WITHIN_S = 5.0
P99_MS = 100.0
_PATIENCE_S = 2.0  # of a client


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one rate."""

    offered_per_s: float
    answered_per_s: float
    p50_ms: float
    p99_ms: float  # of those answered
    shed_share: float
    late_share: float  # not answered in time, and not shed: each kept a client waiting in vain


def measure(state_dir: Path, images: Path) -> Result:
    """Goodput, latency of those admitted, and the time until no call is refused any more."""
    rng = np.random.default_rng(1)
    audience = audience_of(state_dir)
    with a_stack(state_dir) as stack:
        steps = []
        for rate in STEPS_PER_S:
            log = _sent(stack.door, _poisson(rate, STEP_S + WARM_UP_S, rng), audience, rng)
            steps.append(_answered(log, rate, STEP_S))
        peak = max(steps, key=lambda step: step.answered_per_s)
        heavy_per_s = OVERLOAD * peak.answered_per_s
        at_s = np.concatenate(
            [
                _poisson(CALM_PER_S, WARM_UP_S, rng),
                WARM_UP_S + _poisson(heavy_per_s, OVERLOAD_S, rng),
                WARM_UP_S + OVERLOAD_S + _poisson(CALM_PER_S, CALM_S, rng),
            ]
        )
        log = _sent(stack.door, at_s, audience, rng)
    heavy = _answered(log, heavy_per_s, OVERLOAD_S)
    back_s = _back_after_s(log)
    return Result(
        name="overload",
        figures={
            "peak_per_s": round(peak.answered_per_s, 1),
            "overload_offered_per_s": round(heavy_per_s, 1),
            "overload_answered_per_s": round(heavy.answered_per_s, 1),
            "overload_p50_ms": round(heavy.p50_ms, 1),
            "overload_p99_ms": round(heavy.p99_ms, 1),
            "overload_shed_share": round(heavy.shed_share, 3),
            "overload_late_share": round(heavy.late_share, 4),
            "back_after_s": round(back_s, 1),
        },
        checks=(
            at_least(
                f"goodput at {OVERLOAD:g} × overload, of the peak",
                heavy.answered_per_s / peak.answered_per_s,
                GOODPUT_SHARE,
                "",
            ),
            at_most("p99 of the calls that were let in", heavy.p99_ms, 2.0 * P99_MS, " ms"),
            at_most("until nothing is refused or late any more", back_s, BACK_WITHIN_S, " s"),
        ),
        grids=(Grid("Every rate", _HEADER, tuple(_row(each) for each in (*steps, heavy))),),
        notes=(
            "Goodput is what was answered within 2 s, the client's patience; the generator runs on"
            " the same cores, so a rate that the machine cannot even send shows as late.",
        ),
    )


_HEADER = ("offered/s", "answered/s", "p50", "p99", "shed", "late")


def _row(each: Answered) -> tuple[str, ...]:
    return (
        f"{each.offered_per_s:.0f}",
        f"{each.answered_per_s:.0f}",
        f"{each.p50_ms:.0f} ms",
        f"{each.p99_ms:.0f} ms",
        f"{each.shed_share:.1%}",
        f"{each.late_share:.1%}",
    )


def _poisson(rate_per_s: float, duration_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return schedule(Arrivals.POISSON, rate_per_s=rate_per_s, duration_s=duration_s, rng=rng)


def _sent(
    door: str, at_s: NDArray[np.float64], audience: Audience, rng: np.random.Generator
) -> CallLog:
    """The calls [n] at these times, of which the first seconds warm up."""
    calls = make_calls(SCENARIOS["browse"], audience, at_s.size, rng)
    plan = LoadPlan(door, at_s - WARM_UP_S, calls, timeout_s=_PATIENCE_S)
    return run_apart(plan).result()


def _answered(log: CallLog, offered_per_s: float, duration_s: float) -> Answered:
    """Of the first so many seconds of a log."""
    inside = log.at_s < duration_s
    ok = (log.codes == OK)[inside]
    shed = (log.codes == "RESOURCE_EXHAUSTED")[inside]
    latency_ms = log.latency_ms[inside][ok] if ok.any() else np.array([np.nan])
    return Answered(
        offered_per_s=offered_per_s,
        answered_per_s=float(ok.sum()) / duration_s,
        p50_ms=float(np.percentile(latency_ms, 50)),
        p99_ms=float(np.percentile(latency_ms, 99)),
        shed_share=float(shed.mean()) if shed.size else 0.0,
        late_share=float((~ok & ~shed).mean()) if ok.size else 0.0,
    )


def _back_after_s(log: CallLog) -> float:
    """Seconds from the end of the overload to the end of the last second that was not normal.

    Normal: nothing refused or late, and the slowest tenth within the promise.
    """
    back_s = 0.0
    for second in range(int(CALM_S)):
        inside = (log.at_s >= OVERLOAD_S + second) & (log.at_s < OVERLOAD_S + second + 1)
        failed = bool((log.codes[inside] != OK).any())
        if inside.any() and (failed or np.percentile(log.latency_ms[inside], 90) > P99_MS):
            back_s = second + 1.0
    return back_s
