"""Latencies, kept exactly: at these counts every value fits, so no percentile is rounded.

Shapes: n calls.
"""

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)


def percentile(values: NDArray[np.floating], at: float) -> float:
    """The smallest value that at least `at` per cent of all do not exceed; NaN of nothing.

    No interpolation: what is reported is a latency that somebody had.
    """
    if values.size == 0:
        return float("nan")
    return float(np.percentile(values, at, method="inverted_cdf"))


def percentiles(values: NDArray[np.floating]) -> dict[str, float]:
    """The usual ones by name: p50, p90, p95, p99, p99.9, max."""
    return {percentile_name(at): percentile(values, at) for at in PERCENTILES}


def percentile_name(at: float) -> str:
    """p50, p99.9, max."""
    return "max" if at == 100.0 else f"p{at:g}"


def curve(values: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latency by percentile, for a plot whose axis shows the tail.

    Returns (nines, values): nines is -log10(1 - share), so 1 = p90, 2 = p99, 3 = p99.9.
    """
    ordered = np.sort(values).astype(np.float64)
    share = np.arange(1, ordered.size + 1) / (ordered.size + 1)
    return -np.log10(1.0 - share), ordered
