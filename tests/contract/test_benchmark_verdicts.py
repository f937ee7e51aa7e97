"""Benchmarks that could pass, or wait for ever, without having seen what they are about."""

import math
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.benchmarks import nodes
from loadtest.benchmarks.faults import outcome_of
from loadtest.benchmarks.result import Result
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.benchmarks.start import make_run
from loadtest.openloop import OK, CallLog
from tests.unit.test_histogram import a_log

CALLS, KILLED_S = 200, 0.5  # a call every 10 ms


def a_run(*, degraded: range = range(52, 60), **changes: object) -> CallLog:
    reasons = [("ranking NO_RANKING",) if at in degraded else () for at in range(CALLS)]
    return a_log([5.0] * CALLS, degraded=tuple(reasons), **changes)


def test_a_kill_that_was_noticed_and_got_over_holds() -> None:
    outcome = outcome_of(a_run(), killed_s=KILLED_S, killed_pid=7, pid_after=8)
    assert outcome.holds
    assert outcome.figures["degraded"] == 8
    assert outcome.figures["full_quality_after_s"] == pytest.approx(0.1)


@pytest.mark.parametrize("pid_after", [7, 0])
def test_a_server_that_nobody_started_again_does_not_hold(pid_after: int) -> None:
    assert not outcome_of(a_run(), killed_s=KILLED_S, killed_pid=7, pid_after=pid_after).holds


@pytest.mark.parametrize("degraded", [range(0), range(10)])
def test_a_kill_without_effect_does_not_hold(degraded: range) -> None:
    log = a_run(degraded=degraded)
    assert not outcome_of(log, killed_s=KILLED_S, killed_pid=7, pid_after=8).holds


def test_a_stray_degraded_call_long_after_is_counted_but_moves_no_recovery() -> None:
    log = a_run()
    later = (*log.degraded[:150], ("lookups STALE_STOCK",), *log.degraded[151:])
    outcome = outcome_of(replace(log, degraded=later), killed_s=KILLED_S, killed_pid=7, pid_after=8)
    assert outcome.figures["full_quality_after_s"] == pytest.approx(0.1)
    assert outcome.figures["degraded"] == 9


def test_a_row_of_good_calls_that_is_too_short_is_no_recovery() -> None:
    log = a_run()
    again = (*log.degraded[:100], *((("ranking NO_RANKING",),) * 100))
    outcome = outcome_of(replace(log, degraded=again), killed_s=KILLED_S, killed_pid=7, pid_after=8)
    assert not outcome.holds


def test_events_that_were_lost_count_as_failed_calls() -> None:
    log = a_run(event_errors=2, event_latency_ms=np.ones(5))
    outcome = outcome_of(log, killed_s=KILLED_S, killed_pid=7, pid_after=8)
    assert outcome.figures["failed"] == 2
    assert not outcome.holds


def a_project(folder: Path, recipe: str) -> Path:
    (folder / "Makefile").write_text(f"run:\n\t@{recipe}\n")
    return folder


UP = "echo 500 candidates scored by x; echo gRPC door: here"
SERVES = f"trap 'exit 0' INT; {UP}; while :; do sleep 0.1; done"


def test_a_start_that_hangs_in_silence_is_given_up(tmp_path: Path) -> None:
    hangs = a_project(tmp_path, "echo one; sleep 30")
    with pytest.raises(BenchmarkFailed, match=r"not up after 0\.5 s"):
        make_run(hangs, give_up_s=0.5)


def test_a_stop_that_hangs_is_given_up(tmp_path: Path) -> None:
    hangs = a_project(tmp_path, f"trap '' INT; {UP}; sleep 30; sleep 30")
    with pytest.raises(BenchmarkFailed, match="did not stop"):
        make_run(hangs, give_up_s=10.0, stop_s=0.5)


def test_a_start_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match="ended with 2 before it served"):
        make_run(a_project(tmp_path, "exit 3"), give_up_s=10.0)


def test_a_start_is_timed_up_to_its_stop(tmp_path: Path) -> None:
    start = make_run(a_project(tmp_path, SERVES), give_up_s=10.0)
    assert 0.0 < start.answer_s <= start.up_s < 10.0
    assert start.stop_s < 10.0
    assert math.isfinite(start.stop_s)


def test_a_run_in_the_background_stops_its_start_all_the_same(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell's `&` does
    try:
        start = make_run(a_project(tmp_path, SERVES), give_up_s=10.0, stop_s=10.0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert start.stop_s < 10.0


def a_lost_node(
    *, raw: list[str] | None = None, retrying: list[str] | None = None, replaced_s: float = 6.0
) -> Result:
    well = [5.0] * CALLS
    course = nodes.Course(a_log(well, raw), a_log(well, retrying), replaced_s)
    return nodes.result_of(course)


def test_a_node_is_lost_in_good_order_if_who_asks_again_lost_nothing() -> None:
    some = ["UNAVAILABLE"] * 9 + [OK] * (CALLS - 9)
    result = a_lost_node(raw=some)
    assert result.holds
    assert (result.figures["raw_failed"], result.figures["retrying_failed"]) == (9, 0)
    assert result.figures["calls"] == 2 * CALLS
    assert not a_lost_node(retrying=some).holds


def test_a_lost_node_that_shows_a_bug_or_is_not_replaced_does_not_hold() -> None:
    assert not a_lost_node(raw=["INTERNAL"] + [OK] * (CALLS - 1)).holds
    assert not a_lost_node(replaced_s=60.0).holds
