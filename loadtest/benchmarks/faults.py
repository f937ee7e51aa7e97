"""Faults: Triton is killed under load. Nobody may notice more than a marked, plainer list."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.openloop import OK, CallLog, LoadPlan, run_apart
from loadtest.traffic import SCENARIOS, make_calls
from serving.stack.folder import StateFolder
from serving.triton.status import STATUS_FILE, read_status

RATE_PER_S = 50.0
DURATION_S = 30.0
KILL_AT_S = 8.0
WARM_UP_S = 3.0
RECOVERY_S = 10.0
_STEADY_CALLS = 50  # so many undegraded calls in a row count as full quality


def measure(state_dir: Path, images: Path) -> Result:
    """Failed calls, degraded calls, and seconds from the kill to full quality."""
    rng = np.random.default_rng(3)
    at_s = schedule(
        Arrivals.POISSON, rate_per_s=RATE_PER_S, duration_s=DURATION_S + WARM_UP_S, rng=rng
    )
    calls = make_calls(SCENARIOS["browse"], audience_of(state_dir), at_s.size, rng)
    with a_stack(state_dir) as stack:
        running = run_apart(LoadPlan(stack.door, at_s - WARM_UP_S, calls, timeout_s=5.0))
        time.sleep(WARM_UP_S + KILL_AT_S)
        pid = _server_pid(state_dir)
        if not pid:
            raise BenchmarkFailed("Triton's status file names no server to kill")
        killed_at = time.time()
        os.kill(pid, signal.SIGKILL)
        log = running.result()
        pid_after = _server_pid(state_dir)
    killed_s = killed_at - log.began_unix_s
    return outcome_of(log, killed_s=killed_s, killed_pid=pid, pid_after=pid_after)


def outcome_of(log: CallLog, *, killed_s: float, killed_pid: int, pid_after: int) -> Result:
    """What the run came to. It only holds if the kill was felt: another process, degraded calls."""
    recovered_s = full_quality_after(log, killed_s)
    since = [reasons for at, reasons in zip(log.at_s, log.degraded, strict=True) if at >= killed_s]
    degraded = sum(1 for reasons in since if reasons)
    failed = int(np.count_nonzero(log.codes != OK)) + log.event_errors
    marked = sorted({reason for reasons in since for reason in reasons})
    was_restarted = pid_after not in (0, killed_pid)
    return Result(
        name="faults",
        figures={
            "calls": len(log),
            "failed": failed,
            "degraded": degraded,
            "full_quality_after_s": round(recovered_s, 2),
        },
        checks=(
            Check(
                "Triton after the kill",
                "another process",
                "another process" if was_restarted else "none, or the same",
                was_restarted,
            ),
            at_least("calls that felt the kill, marked as degraded", degraded, 1, ""),
            at_most("failed calls when Triton is killed (kill -9), events included", failed, 0, ""),
            at_most("full quality again after", recovered_s, RECOVERY_S, " s"),
        ),
        grids=(
            Grid(
                f"{RATE_PER_S:g} calls/s, Triton killed after {killed_s:.1f} s",
                ("calls", "failed", "degraded, and marked so", "reasons"),
                ((str(len(log)), str(failed), str(degraded), ", ".join(marked)),),
            ),
        ),
    )


def _server_pid(state_dir: Path) -> int:
    """0 while there is none."""
    status = read_status(StateFolder(state_dir).run / STATUS_FILE)
    return 0 if status is None else status.server_pid


def full_quality_after(log: CallLog, killed_s: float) -> float:
    """Seconds from a harm until the first of a long row of undegraded, ranked calls."""
    good: NDArray[np.bool_] = np.array([not reasons for reasons in log.degraded]) & (log.scored > 0)
    after = np.flatnonzero(log.at_s >= killed_s)
    bad = after[~good[after]]
    if bad.size == 0:
        return 0.0
    # The first gap in the bad calls that is long enough; the last one ends with the run.
    gaps = np.diff(np.append(bad, len(log))) - 1
    long_enough = np.flatnonzero(gaps >= _STEADY_CALLS)
    if long_enough.size == 0:
        return float("inf")
    return float(log.at_s[int(bad[long_enough[0]]) + 1] - killed_s)
