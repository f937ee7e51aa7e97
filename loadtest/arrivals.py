"""Arrivals: when calls are meant to be sent. Decided before the test, never by how it goes.

A closed loop (send, wait, send) slows down with the server and hides its queues; these schedules do
not. Shapes: n calls.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Arrivals(StrEnum):
    """How calls are spread over time."""

    POISSON = "poisson"  # independent shoppers: bursts and gaps
    CONSTANT = "constant"


def schedule(
    arrivals: Arrivals, *, rate_per_s: float, duration_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """[n] send times in seconds from the start, not decreasing, all below `duration_s`.

    Raises ValueError unless rate and duration are positive.
    """
    if not (rate_per_s > 0 and duration_s > 0):
        raise ValueError(f"rate {rate_per_s} and duration {duration_s} must be positive")
    if arrivals is Arrivals.CONSTANT:
        return np.arange(round(rate_per_s * duration_s)) / rate_per_s
    # Given their number, the arrivals of a Poisson process are uniform over the interval.
    count = int(rng.poisson(rate_per_s * duration_s))
    return np.sort(rng.uniform(0.0, duration_s, count))
