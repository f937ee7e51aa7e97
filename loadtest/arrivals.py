"""Arrivals: when calls are meant to be sent. Decided before the test, never by how it goes.

A closed loop (send, wait, send) slows down with the server and hides its queues; these schedules do
not. A shape says how the rate moves in the course of the test, arrivals how calls are spread around
it. Shapes of arrays: n calls, m moments.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_STEPS = 4
_GRID_S = 0.05  # rates are taken to be even within so much
# Shoppers of each hour, relative to the day's mean: as the world's, the evening the busiest.
_HOURS = np.array(
    [8, 5, 3, 2, 2, 3, 6, 12, 20, 26, 30, 32, 36, 34, 30, 30, 33, 38, 46, 56, 62, 58, 40, 20]
)


class Arrivals(StrEnum):
    """How calls are spread around the rate."""

    POISSON = "poisson"  # independent shoppers: bursts and gaps
    CONSTANT = "constant"


class Shape(StrEnum):
    """How the rate moves in the course of a test."""

    CONSTANT = "constant"
    STEP = "step"  # four even steps up to the rate: where does it begin to hurt?
    SPIKE = (
        "spike"  # the middle sixth at `peak` times the rate: what does a sale do, and for how long?
    )
    SOAK = "soak"  # a gentle start, then the rate for as long as the test lasts
    DAILY = "daily"  # a day of 24 hours, pressed into the test; the rate is the day's mean


def factors_at(
    shape: Shape, share: NDArray[np.float64], *, peak: float = 3.0
) -> NDArray[np.float64]:
    """[m] by how much the rate is multiplied when `share` [m], 0 to 1, of the test is over."""
    match shape:
        case Shape.CONSTANT:
            return np.ones(share.shape)
        case Shape.STEP:
            return (np.clip(np.floor(share * _STEPS), 0, _STEPS - 1) + 1) / _STEPS
        case Shape.SPIKE:
            return np.where((share >= 5 / 12) & (share < 7 / 12), peak, 1.0)
        case Shape.SOAK:
            return np.clip(share / 0.02, 0.05, 1.0)
        case Shape.DAILY:
            hour = np.mod(share * 24.0 - 0.5, 24.0)  # an hour's figure stands for its middle
            around = np.append(_HOURS, _HOURS[0]) / _HOURS.mean()
            return np.interp(hour, np.arange(25.0), around)


def schedule(
    arrivals: Arrivals,
    *,
    rate_per_s: float,
    duration_s: float,
    rng: np.random.Generator,
    shape: Shape = Shape.CONSTANT,
    peak: float = 3.0,
) -> NDArray[np.float64]:
    """[n] send times in seconds from the start, not decreasing, all below `duration_s`.

    Raises ValueError unless rate, duration and peak are positive.
    """
    if not (rate_per_s > 0 and duration_s > 0 and peak > 0):
        raise ValueError(
            f"rate {rate_per_s}, duration {duration_s} and peak {peak} must be positive"
        )
    edges_s, due = _expected(shape, rate_per_s, duration_s, peak)
    if arrivals is Arrivals.CONSTANT:
        numbers = np.arange(round(float(due[-1])), dtype=np.float64)
    else:
        # Given their number, a Poisson process' arrivals are even over the expected ones so far
        # (Devroye 1986, VI.1: inversion of the integrated rate).
        count = int(rng.poisson(due[-1]))
        numbers = np.sort(rng.uniform(0.0, due[-1], count))
    return np.minimum(np.interp(numbers, due, edges_s), np.nextafter(duration_s, 0.0))


def _expected(
    shape: Shape, rate_per_s: float, duration_s: float, peak: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[m] moments, and [m] how many calls are expected until then."""
    if shape is Shape.CONSTANT:
        return np.array([0.0, duration_s]), np.array([0.0, rate_per_s * duration_s])
    cells = max(24, int(np.ceil(duration_s / _GRID_S)))
    edges_s = np.linspace(0.0, duration_s, cells + 1)
    middles = (np.arange(cells) + 0.5) / cells
    rates = rate_per_s * factors_at(shape, middles, peak=peak)
    return edges_s, np.concatenate([[0.0], np.cumsum(rates * duration_s / cells)])
