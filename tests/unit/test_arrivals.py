"""Arrival schedules: decided beforehand, by seed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.arrivals import Arrivals, schedule


def a_schedule(
    arrivals: Arrivals, *, seed: int = 1, rate: float = 150.0, duration: float = 60.0
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return schedule(arrivals, rate_per_s=rate, duration_s=duration, rng=rng)


def test_poisson_arrivals_are_ordered_and_inside_the_duration() -> None:
    at_s = a_schedule(Arrivals.POISSON)
    assert np.all(np.diff(at_s) >= 0)
    assert at_s.min() >= 0
    assert at_s.max() < 60.0


def test_poisson_arrivals_come_at_the_rate() -> None:
    # 9,000 expected, standard deviation 95
    assert abs(a_schedule(Arrivals.POISSON).size - 9_000) < 5 * 95


def test_pauses_between_poisson_arrivals_are_exponential() -> None:
    pauses = np.diff(a_schedule(Arrivals.POISSON, duration=600.0))
    assert np.mean(pauses) == pytest.approx(1 / 150, rel=0.02)
    assert np.std(pauses) == pytest.approx(np.mean(pauses), rel=0.03)
    assert np.mean(pauses > 3 / 150) == pytest.approx(np.exp(-3), rel=0.1)


def test_constant_arrivals_are_evenly_spaced() -> None:
    at_s = a_schedule(Arrivals.CONSTANT, rate=10.0, duration=2.0)
    assert at_s.size == 20
    assert np.allclose(np.diff(at_s), 0.1)


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    one, same = a_schedule(Arrivals.POISSON, seed=7), a_schedule(Arrivals.POISSON, seed=7)
    other = a_schedule(Arrivals.POISSON, seed=8)
    assert np.array_equal(one, same)
    assert not np.array_equal(one[:100], other[:100])


@pytest.mark.parametrize(("rate", "duration"), [(0.0, 1.0), (1.0, 0.0), (-5.0, 1.0)])
def test_a_rate_or_duration_that_is_not_positive_is_refused(rate: float, duration: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        a_schedule(Arrivals.POISSON, rate=rate, duration=duration)
