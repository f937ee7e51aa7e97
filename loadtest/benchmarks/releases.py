"""Releases: twenty of them roll under load, forwards and back, bad ones too; nobody fails."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.openloop import OK, CallLog, LoadPlan, run_apart
from loadtest.patience import as_our_client
from loadtest.rolling import Change, Roller, a_roller
from loadtest.traffic import SCENARIOS, make_calls

RELEASES = 20
CALLS = 100_000
RATE_PER_S = 70
WARM_UP_S = 5.0
_TIMEOUT_S = 5.0
_LAST_S = 20.0  # before the end of the load, at least, the last change begins


def measure(
    state_dir: Path,
    images: Path,
    releases: int = RELEASES,
    calls: int = CALLS,
    rate: int = RATE_PER_S,
) -> Result:
    """Failed calls while releases roll, and how soon every replica served each."""
    # Poisson's number of calls varies: four of its deviations more than asked for.
    duration_s = (calls + 4.0 * calls**0.5) / rate
    rng = np.random.default_rng(20)
    at_s = schedule(
        Arrivals.POISSON,
        rate_per_s=rate,
        duration_s=duration_s + WARM_UP_S,
        rng=rng,
    )
    with a_stack(state_dir) as stack, a_roller(state_dir) as roller:
        sent = make_calls(SCENARIOS["browse"], audience_of(state_dir), at_s.size, rng)
        running = run_apart(
            LoadPlan(stack.door, at_s - WARM_UP_S, sent, _TIMEOUT_S, door=as_our_client)
        )
        time.sleep(WARM_UP_S)
        changes = _rolled(roller, releases, duration_s)
        under_load = not running.done()
        log = running.result()
    return result_of(log, changes, asked=calls, under_load=under_load)


def _rolled(roller: Roller, releases: int, duration_s: float) -> list[Change]:
    """The changes, spread evenly over the load; the bad ones in the middle of it."""
    # One after the other goes forwards and back again.
    steps: list[Callable[[], Change]] = [
        partial(roller.rollback, roller.first)
        if number % 2
        else partial(roller.promote, roller.other)
        for number in range(releases)
    ]
    steps[releases // 2 : releases // 2] = [
        partial(roller.refused, roller.damaged),
        partial(roller.refused, roller.sick),
        partial(roller.taken_back, roller.sick),
    ]
    spread_s = max(0.0, duration_s - _LAST_S)
    began, found = time.monotonic(), []
    for number, step in enumerate(steps):
        time.sleep(max(0.0, began + spread_s * number / len(steps) - time.monotonic()))
        found.append(step())
        sys.stderr.write(f"  {found[-1].what}: {_told(found[-1])}\n")
    return found


def result_of(log: CallLog, changes: list[Change], *, asked: int, under_load: bool) -> Result:
    """Holds if nobody failed and every change, and every refusal, was as it should."""
    failed = int(np.count_nonzero(log.codes != OK)) + log.event_errors
    good = [each for each in changes if each.is_good]
    bad = [each for each in changes if not each.is_good]
    slowest_s = max((each.everywhere_after_s for each in good), default=float("nan"))
    return Result(
        name="releases",
        figures={
            "calls": len(log),
            "events": int(log.event_latency_ms.size) + log.event_errors,
            "failed": failed,
            "asked_again": int(np.count_nonzero(log.asked_again)),
            "degraded": sum(bool(reasons) for reasons in log.degraded),
            "releases": len(good),
            "everywhere_after_s": round(slowest_s, 2) if np.isfinite(slowest_s) else None,
            "p50_ms": round(float(np.percentile(log.latency_ms, 50)), 1),
            "p99_ms": round(float(np.percentile(log.latency_ms, 99)), 1),
        },
        checks=(
            at_most("failed calls while releases roll, events included", failed, 0, ""),
            at_least("calls", len(log), asked, ""),
            _all_of("releases that every replica took up", good),
            _all_of("bad releases that were refused or taken back", bad),
            Check(
                "the last change",
                "under load",
                "under load" if under_load else "after it",
                under_load,
            ),
        ),
        grids=(
            Grid(
                f"{len(log) / max(float(log.at_s.max(initial=0.0)), 1e-9):.0f} calls/s meanwhile",
                ("change", "served afterwards", "by every replica after", ""),
                tuple((each.what, each.release, _seconds(each), _told(each)) for each in changes),
            ),
        ),
        notes=(
            f"Failed: {_codes(log)}. Asked again once, as our client does where it is turned away:"
            f" {np.count_nonzero(log.asked_again)}.",
            "Every list is worked out where the benchmark starts the stack itself. The releases"
            " are copies of the one being served, each with a version and a signature of its own:"
            " Triton loads their models, replicas their tables and index.",
        ),
    )


def _codes(log: CallLog) -> str:
    """Which statuses, and when first and last; events beside them."""
    told = [
        f"{code} {at_s.size} ({at_s.min():.0f} to {at_s.max():.0f} s)"
        for code in sorted(set(log.codes.tolist()) - {OK})
        for at_s in [log.at_s[log.codes == code]]
    ]
    return (
        ", ".join([*told, *([f"events {log.event_errors}"] if log.event_errors else [])]) or "none"
    )


def _all_of(what: str, changes: list[Change]) -> Check:
    right = sum(each.as_it_should for each in changes)
    count = len(changes)
    return Check(what, f"{count} of {count}", f"{right} of {count}", right == count)


def _seconds(change: Change) -> str:
    return f"{change.everywhere_after_s:.1f} s"


def _told(change: Change) -> str:
    outcome = "done" if change.is_good else "refused, the one before stays"
    return outcome if change.as_it_should else f"NOT AS IT SHOULD: {change.told}"
