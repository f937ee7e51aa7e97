"""Adversity: an outcome that says whether everybody was answered, and whether the harm was felt."""

from dataclasses import replace

import numpy as np
import pytest

from loadtest.adversity import ADVERSITIES, Adversity
from loadtest.benchmarks.adversity import Outcome, outcome_of, result_of
from loadtest.openloop import CallLog
from loadtest.victims import Tally
from tests.unit.test_histogram import a_log

CALLS, HARMED_S = 200, 0.5  # a call every 10 ms
FELT: Adversity = next(each for each in ADVERSITIES if each.is_felt)
UNFELT: Adversity = next(each for each in ADVERSITIES if each.name == "hostile clients")
KILLED: Adversity = next(each for each in ADVERSITIES if each.asks_again)
FULL: Adversity = next(each for each in ADVERSITIES if each.refuses_events)


def a_run(
    *, degraded: range = range(52, 60), failed: int = 0, code: str = "UNAVAILABLE"
) -> CallLog:
    reasons = [("ranking NO_RANKING",) if at in degraded else () for at in range(CALLS)]
    log = a_log([5.0] * CALLS, degraded=tuple(reasons))
    codes = np.array([code] * failed + ["OK"] * (CALLS - failed))
    return replace(log, codes=codes)


def outcome(log: CallLog, *, adversity: Adversity = FELT, **told: int) -> Outcome:
    return outcome_of(adversity, log, Tally(told), harmed_s=HARMED_S)


def test_harm_that_was_felt_marked_and_got_over_holds() -> None:
    found = outcome(a_run())
    assert (found.answered_percent, found.degraded, found.untyped) == (100.0, 8, 0)
    assert found.full_quality_after_s == pytest.approx(0.1)
    assert result_of([found]).holds


def test_callers_without_an_answer_do_not_hold() -> None:
    assert not result_of([outcome(a_run(failed=1))]).holds


def test_harm_that_nobody_felt_does_not_hold_where_it_must_be_felt() -> None:
    unharmed = a_run(degraded=range(0))
    assert not result_of([outcome(unharmed)]).holds
    assert result_of([outcome(unharmed, adversity=UNFELT)]).holds


@pytest.mark.parametrize(("code", "holds"), [("INVALID_ARGUMENT", True), ("UNKNOWN", False)])
def test_an_attacker_too_is_told_an_error_with_a_type(code: str, holds: bool) -> None:
    found = outcome(a_run(degraded=range(0)), adversity=UNFELT, **{code: 3})
    assert result_of([found]).holds == holds
    assert result_of([found]).notes == (f"{UNFELT.name} were told: {code} 3",)


def test_plainer_lists_to_the_end_of_the_run_are_no_recovery() -> None:
    assert not result_of([outcome(a_run(degraded=range(52, CALLS)))]).holds


def test_a_killed_replica_counts_only_if_somebody_had_to_ask_again() -> None:
    log = a_run(degraded=range(0))
    again = replace(log, asked_again=np.eye(1, CALLS, 60, dtype=np.int64)[0])
    assert not result_of([outcome(log, adversity=KILLED)]).holds
    assert result_of([outcome(again, adversity=KILLED)]).holds


def test_a_full_disk_counts_only_if_events_were_refused() -> None:
    log = a_run(degraded=range(0))
    assert not result_of([outcome(log, adversity=FULL, OK=20)]).holds
    assert result_of([outcome(log, adversity=FULL, OK=3, UNAVAILABLE=17)]).holds
