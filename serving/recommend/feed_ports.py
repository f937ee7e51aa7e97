"""Feed ports: what a price suggestion needs from outside the shop's own systems.

`serving/adapters/feeds.py` implements them on real feeds, `memory_feeds.py` in memory for tests.
All raise `DependencyTimeout` or `DependencyUnavailable`, never a foreign error. Ages count from the
answer, so that the feeds' clocks need not agree with ours.

Shapes: N products asked for, M competitors' prices of all of them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CompetitorPrices:
    """Answer of the competitor feed, aligned with the question."""

    counts: NDArray[np.int64]  # [N] competitors of each product; together M
    price_minor: NDArray[np.float64]  # [M] product after product
    age_ms: NDArray[np.float64]  # [M]


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Answer of the demand forecast, aligned with the question."""

    units_per_day: NDArray[np.float64]  # [N]
    elasticity: NDArray[np.float64]  # [N] NaN = unknown
    found: NDArray[np.bool_]  # [N]
    age_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Plans:
    """Answer of the price calendar, aligned with the question."""

    promotion_runs: NDArray[np.bool_]  # [N]
    promotion_in_ms: NDArray[np.float64]  # [N] inf = none planned
    lowest_minor: NDArray[np.float64]  # [N] list price within the last 24 hours
    highest_minor: NDArray[np.float64]  # [N]
    found: NDArray[np.bool_]  # [N]


class CompetitorFeed(Protocol):
    """What others sell the same product for."""

    async def competitor_prices(
        self, product_ids: Sequence[str], *, timeout_s: float
    ) -> CompetitorPrices:
        """One bulk call."""
        ...


class DemandFeed(Protocol):
    """What will be sold."""

    async def demand(self, product_ids: Sequence[str], *, timeout_s: float) -> Demand:
        """One bulk call."""
        ...


class CalendarFeed(Protocol):
    """What was and what is planned."""

    async def plans(self, product_ids: Sequence[str], *, timeout_s: float) -> Plans:
        """One bulk call."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PriceFeeds:
    """All feeds of a price suggestion."""

    competitors: CompetitorFeed
    demand: DemandFeed
    calendar: CalendarFeed
