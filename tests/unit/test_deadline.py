"""Deadline and stage times, with a clock in the test's hand."""

from contextlib import suppress

import pytest

from serving.deadline import Deadline, StageTimes
from serving.recommend.request import Stage
from tests.unit.time_travel import Time


def test_a_share_is_the_whole_share_while_there_is_time() -> None:
    time = Time()
    deadline = Deadline(time, start_s=0.0, total_s=0.1, reserve_s=0.01)
    assert deadline.within(0.02) == 0.02


def test_a_share_is_what_is_left_less_the_reserve() -> None:
    time = Time()
    deadline = Deadline(time, start_s=0.0, total_s=0.1, reserve_s=0.01)
    time.pass_ms(75)
    assert deadline.remaining_s() == pytest.approx(0.015)
    assert deadline.within(0.02) == pytest.approx(0.015)


def test_nothing_is_left_after_the_end() -> None:
    time = Time()
    deadline = Deadline(time, start_s=0.0, total_s=0.1, reserve_s=0.0)
    time.pass_ms(500)
    assert deadline.remaining_s() == 0.0
    assert deadline.within(0.02) == 0.0


def test_time_before_the_deadline_was_made_counts() -> None:
    time = Time()
    time.pass_ms(60)
    deadline = Deadline(time, start_s=0.0, total_s=0.1, reserve_s=0.0)
    assert deadline.remaining_s() == pytest.approx(0.04)


def test_a_reserve_longer_than_the_deadline_leaves_nothing_to_share() -> None:
    assert Deadline(Time(), start_s=0.0, total_s=0.003, reserve_s=0.005).within(1.0) == 0.0


@pytest.mark.parametrize(("total_s", "reserve_s"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -0.1)])
def test_a_senseless_deadline_is_refused(total_s: float, reserve_s: float) -> None:
    with pytest.raises(ValueError, match="deadline"):
        Deadline(Time(), start_s=0.0, total_s=total_s, reserve_s=reserve_s)


def test_stages_are_timed_even_when_they_fail() -> None:
    time = Time()
    times = StageTimes(time)
    with times.timed("history"):
        time.pass_ms(2)
    with suppress(KeyError), times.timed("ranking"):
        time.pass_ms(3)
        raise KeyError
    time.pass_ms(1)
    assert times.by_stage() == {"history": pytest.approx(2.0), "ranking": pytest.approx(3.0)}
    assert times.total_ms() == pytest.approx(6.0)


def test_a_stage_timed_twice_adds_up() -> None:
    time = Time()
    times = StageTimes(time)
    for _ in range(2):
        with times.timed("tower"):
            time.pass_ms(2)
    assert times.by_stage() == {"tower": pytest.approx(4.0)}


def test_stages_are_listed_as_a_request_comes_by_them() -> None:
    assert Stage.ordered(["total", "slate", "history", "slate"]) == ("history", "slate", "total")
