"""Supply: the chance that whoever orders now has to wait, from stock and the days until more comes.

Shapes: N products.
"""

from functools import cache
from math import lgamma

import numpy as np
from numpy.typing import NDArray

UNITS_PER_DAY = 0.2  # of one product: the default world sells 71,253 of 6,000 products in 60 days
_MOST_DAYS = 365
_MOST_UNITS = 256  # whoever has more never runs out: 365 days take 73 on average


def backorder_risk(stock: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.float32]:
    """[N] chance that Poisson demand takes `stock` units before more come in `days` days."""
    reached = _chances_of_selling()
    return reached[np.clip(days, 0, _MOST_DAYS), np.clip(stock, 0, _MOST_UNITS)]


@cache
def _chances_of_selling() -> NDArray[np.float32]:
    """[days, units] chance that at least so many units are sold within so many days."""
    units = np.arange(_MOST_UNITS + 1)
    log_factorials = np.array([lgamma(count + 1) for count in units])
    means = UNITS_PER_DAY * np.arange(1, _MOST_DAYS + 1)[:, None]
    exactly = np.exp(units * np.log(means) - means - log_factorials)
    fewer = np.cumsum(exactly, axis=1) - exactly
    none_sold = (units == 0)[None].astype(np.float64)  # within no days
    return np.concatenate([none_sold, np.clip(1.0 - fewer, 0.0, 1.0)]).astype(np.float32)
