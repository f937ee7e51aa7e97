"""Overload: what becomes of the calls at three times the peak, and how soon all is well again.

Goodput is what was answered within the promise. The peak is found first, by rising rates; then one
open-loop run goes from half the peak to three times it and back.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.benchmarks.warmth import warm_up
from loadtest.call_log import OK, CallLog
from loadtest.openloop import LoadPlan, run_apart
from loadtest.traffic import SCENARIOS, Audience, make_calls
from loadtest.verdict import summary_of

GOOD_MS = 100.0
TIMES_PEAK = 3.0
GOODPUT_SHARE = 0.9
RECOVERY_S = 5.0
_FIRST_RATE, _STEP, _WINDOW_S = 60.0, 1.25, 5.0
_BEFORE_S, _DURING_S, _AFTER_S = 5.0, 15.0, 20.0
_NORMAL = 0.98  # of the calls of a second are good
_TIMEOUT_S = 5.0


def measure(state_dir: Path, images: Path) -> Result:
    """Peak goodput, goodput at three times that rate, seconds until normal."""
    audience = audience_of(state_dir)
    rng = np.random.default_rng(31)
    with a_stack(state_dir) as stack:
        warm_up(state_dir, stack.door)
        rungs = ladder(stack.door, audience, rng)
        peak = max(goodput for _, goodput in rungs)
        log = _sent(stack.door, audience, _overload(peak, rng), rng)
    during = (log.at_s >= _BEFORE_S) & (log.at_s < _BEFORE_S + _DURING_S)
    goodput = float(np.count_nonzero(good(log) & during)) / _DURING_S
    recovery_s = seconds_until_normal(log, _BEFORE_S + _DURING_S)
    summary = summary_of(log)
    codes = dict(sorted(summary.errors.items()))
    return Result(
        name="overload",
        figures={
            "peak_goodput_per_s": round(peak, 1),
            "overload_rate_per_s": round(peak * TIMES_PEAK, 1),
            "overload_goodput_per_s": round(goodput, 1),
            "goodput_share": round(goodput / peak, 4) if peak else 0.0,
            "recovery_s": recovery_s if np.isfinite(recovery_s) else None,
            "failed": summary.failed,
            "degraded": summary.degraded_calls,
            "p99_ms": round(summary.latency_ms["p99"], 1),
        },
        checks=(
            at_least(
                f"goodput at {TIMES_PEAK:g} × the peak, of the peak",
                goodput / peak if peak else 0.0,
                GOODPUT_SHARE,
                "",
            ),
            at_most("back to normal after it", recovery_s, RECOVERY_S, " s"),
        ),
        grids=(
            Grid(
                f"Goodput: calls answered within {GOOD_MS:g} ms",
                ("sent", "good"),
                (
                    *((f"{rate:.0f}/s", f"{found:.0f}/s") for rate, found in rungs),
                    (f"{peak * TIMES_PEAK:.0f}/s for {_DURING_S:g} s", f"{goodput:.0f}/s"),
                ),
            ),
        ),
        notes=(
            f"Failed calls: {codes or 'none'}; degraded {summary.degraded_calls} of"
            f" {summary.calls}. Normal is a second in which {_NORMAL:.0%} of the calls are good,"
            " and all seconds after it.",
        ),
    )


def ladder(door: str, audience: Audience, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Rates and their goodput, until more load brings clearly less."""
    found: list[tuple[float, float]] = []
    rate = _FIRST_RATE
    while not found or found[-1][1] > 0.8 * max(goodput for _, goodput in found):
        at_s = schedule(Arrivals.POISSON, rate_per_s=rate, duration_s=_WINDOW_S, rng=rng)
        log = _sent(door, audience, at_s, rng)
        found.append((rate, float(np.count_nonzero(good(log))) / _WINDOW_S))
        rate *= _STEP
    return found


def _overload(peak: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Half the peak, three times it, half of it again."""
    begins, parts = 0.0, []
    spans = ((0.5, _BEFORE_S), (TIMES_PEAK, _DURING_S), (0.5, _AFTER_S))
    for times, seconds in spans:
        rate = max(1.0, times * peak)
        part = schedule(Arrivals.POISSON, rate_per_s=rate, duration_s=seconds, rng=rng)
        parts.append(begins + part)
        begins += seconds
    return np.concatenate(parts)


def _sent(
    door: str, audience: Audience, at_s: NDArray[np.float64], rng: np.random.Generator
) -> CallLog:
    calls = make_calls(SCENARIOS["browse"], audience, at_s.size, rng)
    return run_apart(LoadPlan(door, at_s, calls, _TIMEOUT_S)).result()


def good(log: CallLog) -> NDArray[np.bool_]:
    """[n] calls answered within the promise."""
    return np.asarray((log.codes == OK) & (log.latency_ms <= GOOD_MS))


def seconds_until_normal(log: CallLog, after_s: float) -> float:
    """From `after_s` to the first second from which all are normal; infinite if none is."""
    number = np.floor(log.at_s - after_s).astype(np.int64)
    is_good = good(log)
    last = int(number.max(initial=-1))
    normal = [
        bool(is_good[number == second].mean() >= _NORMAL) if (number == second).any() else True
        for second in range(last + 1)
    ]
    bad = [second for second, well in enumerate(normal) if not well]
    if not normal or (bad and bad[-1] == last):  # nobody came any more, or it was never well
        return float("inf")
    return float(bad[-1] + 1) if bad else 0.0
