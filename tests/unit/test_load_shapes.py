"""Shapes: the rate moves as it was asked to, whoever sends."""

import numpy as np
import pytest

from loadtest.arrivals import Arrivals, Shape, factors_at, schedule

SHARES = np.linspace(0.0, 1.0, 2_001)[:-1]


def calls_by_part(shape: Shape, parts: int, *, peak: float = 3.0) -> np.ndarray:
    at_s = schedule(
        Arrivals.POISSON,
        rate_per_s=500.0,
        duration_s=60.0,
        rng=np.random.default_rng(4),
        shape=shape,
        peak=peak,
    )
    assert np.all(np.diff(at_s) >= 0)
    assert 0 <= at_s.min() <= at_s.max() < 60.0
    return np.bincount((at_s / 60.0 * parts).astype(int), minlength=parts) * parts / 60.0


def test_a_step_rises_in_four_even_steps_to_the_rate() -> None:
    assert calls_by_part(Shape.STEP, 4) == pytest.approx([125, 250, 375, 500], rel=0.06)


def test_a_spike_is_the_middle_sixth_at_its_peak() -> None:
    parts = calls_by_part(Shape.SPIKE, 12, peak=4.0)
    assert parts[5:7] == pytest.approx([2_000, 2_000], rel=0.06)
    assert [*parts[:5], *parts[7:]] == pytest.approx([500] * 10, rel=0.12)


def test_a_soak_begins_gently_and_then_keeps_the_rate() -> None:
    factors = factors_at(Shape.SOAK, SHARES)
    assert factors[0] < 0.1
    assert np.all(np.diff(factors) >= 0)
    assert np.all(factors[SHARES > 0.03] == 1.0)


def test_a_day_has_the_rate_as_its_mean_its_peak_in_the_evening_and_ends_where_it_began() -> None:
    factors = factors_at(Shape.DAILY, SHARES)
    assert factors.mean() == pytest.approx(1.0, abs=0.01)
    assert 19 < SHARES[factors.argmax()] * 24 < 22
    assert 2 < SHARES[factors.argmin()] * 24 < 6
    assert factors[0] == pytest.approx(factors[-1], abs=0.02)


@pytest.mark.parametrize("shape", list(Shape))
def test_even_arrivals_follow_the_shape_too(shape: Shape) -> None:
    at_s = schedule(
        Arrivals.CONSTANT,
        rate_per_s=100.0,
        duration_s=24.0,
        rng=np.random.default_rng(1),
        shape=shape,
    )
    expected = 100.0 * 24.0 * factors_at(shape, SHARES).mean()
    assert at_s.size == pytest.approx(expected, rel=0.02)
    assert np.all(np.diff(at_s) >= 0)


def test_a_peak_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        schedule(
            Arrivals.POISSON,
            rate_per_s=1.0,
            duration_s=1.0,
            rng=np.random.default_rng(1),
            shape=Shape.SPIKE,
            peak=0.0,
        )
