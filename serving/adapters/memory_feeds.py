"""Memory feeds: twins of the feeds of price suggestions and surroundings, for tests only.

Shapes: N products asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.adapters.memory import Temper
from serving.recommend.context_ports import CountryWeather, TrendingTerm, Trends, WeatherReport
from serving.recommend.feed_ports import CompetitorPrices, Demand, Plans


@dataclass(slots=True, eq=False)
class MemoryCompetitors(Temper):
    """Prices and their ages by product; missing = nobody sells it."""

    offers: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    async def competitor_prices(
        self, product_ids: Sequence[str], *, timeout_s: float
    ) -> CompetitorPrices:
        """One bulk call."""
        await self.act()
        found = [self.offers.get(product_id, []) for product_id in product_ids]
        told = np.array([offer for offers in found for offer in offers]).reshape(-1, 2)
        counts = np.array([len(offers) for offers in found], dtype=np.int64)
        return CompetitorPrices(counts, told[:, 0], told[:, 1])


@dataclass(slots=True, eq=False)
class MemoryDemand(Temper):
    """Units a day and elasticity by product; missing = not found."""

    forecasts: dict[str, tuple[float, float]] = field(default_factory=dict)
    age_ms: float = 0.0

    async def demand(self, product_ids: Sequence[str], *, timeout_s: float) -> Demand:
        """One bulk call."""
        await self.act()
        found = [product_id in self.forecasts for product_id in product_ids]
        told = [self.forecasts.get(product_id, (0.0, np.nan)) for product_id in product_ids]
        units, elasticity = np.array(told, dtype=np.float64).reshape(-1, 2).T
        return Demand(units, elasticity, np.array(found, dtype=np.bool_), self.age_ms)


@dataclass(slots=True, eq=False)
class MemoryCalendar(Temper):
    """Lowest and highest price by product, and when its next promotion begins (0: it runs)."""

    prices: dict[str, tuple[int, int]] = field(default_factory=dict)
    promotion_in_ms: dict[str, float] = field(default_factory=dict)

    async def plans(self, product_ids: Sequence[str], *, timeout_s: float) -> Plans:
        """One bulk call."""
        await self.act()
        starts = np.array([self.promotion_in_ms.get(each, np.inf) for each in product_ids])
        told = [self.prices.get(product_id, (0, 0)) for product_id in product_ids]
        lowest, highest = np.array(told, dtype=np.float64).reshape(-1, 2).T
        found = np.array([each in self.prices for each in product_ids], dtype=np.bool_)
        return Plans(starts == 0.0, starts, lowest, highest, found)


@dataclass(slots=True, eq=False)
class MemoryWeather(Temper):
    """Condition and temperature by country."""

    by_country: dict[str, tuple[str, float]] = field(default_factory=dict)
    age_ms: float = 0.0

    async def weather(self, *, timeout_s: float) -> WeatherReport:
        """One call."""
        await self.act()
        return WeatherReport(
            tuple(
                CountryWeather(country, condition, temperature_c, self.age_ms)
                for country, (condition, temperature_c) in self.by_country.items()
            )
        )


@dataclass(slots=True, eq=False)
class MemoryTrends(Temper):
    """Lift by search term."""

    lifts: dict[str, float] = field(default_factory=dict)
    age_ms: float = 0.0

    async def trends(self, *, timeout_s: float) -> Trends:
        """One call."""
        await self.act()
        return Trends(tuple(TrendingTerm(*each) for each in self.lifts.items()), self.age_ms)
