"""Merchandising: what one request wants of certain products in its list.

A boost changes what matching products are worth; a promotion gives the best of them places on the
first page. Which products match is judged on the final offers, as the request's own filter is.

Shapes: N offers, P promotions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import Catalogue
from shop.filters import Filter
from shop.offers import Offers

LEAST_FACTOR, MOST_FACTOR = 0.01, 100.0
_ROUNDING = 1e-9  # a third of three places is one place, however its percent is written


@dataclass(frozen=True, slots=True)
class Boost:
    """Matching products count `factor` times their value."""

    filter: Filter
    factor: float  # LEAST_FACTOR to MOST_FACTOR


@dataclass(frozen=True, slots=True)
class Promotion:
    """Matching products get this share of the first page."""

    filter: Filter
    percent: float  # 0 to 100

    def slots(self, page_size: int) -> int:
        """Places of a page, rounded down: a promotion never takes more than was asked for."""
        return math.floor(page_size * self.percent / 100.0 + _ROUNDING)


def boost_factors(
    boosts: Sequence[Boost], offers: Offers, catalogue: Catalogue
) -> NDArray[np.float64]:
    """[N] what each offer's value is multiplied by; of several boosts that match, the product."""
    factors = np.ones(len(offers))
    for boost in boosts:
        factors[boost.filter.admits(offers, catalogue)] *= boost.factor
    return factors


def boosted(values: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] values times factors. A loss is divided instead: a boost never puts a product lower."""
    return np.where(values > 0.0, values * factors, values / factors)


def promotable(
    promotions: Sequence[Promotion], offers: Offers, catalogue: Catalogue
) -> NDArray[np.bool_]:
    """[P, N] which offers each promotion is for."""
    matches = np.zeros((len(promotions), len(offers)), dtype=np.bool_)
    for at, promotion in enumerate(promotions):
        matches[at] = promotion.filter.admits(offers, catalogue)
    return matches
