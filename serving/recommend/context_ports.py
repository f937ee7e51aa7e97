"""Context ports: what is asked about the world around the shop, in the background.

`serving/adapters/context_feeds.py` implements them on real feeds, `memory_feeds.py` in memory for
tests. All raise `DependencyTimeout` or `DependencyUnavailable`, never a foreign error. Ages count
from the answer, so that the feeds' clocks need not agree with ours. Values are as they came:
`serving.recommend.surroundings` says what they are worth.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CountryWeather:
    """What a weather feed tells of one country."""

    country: str  # ISO 3166-1 alpha-2
    condition: str  # one of shop.surroundings.WEATHERS
    temperature_c: float
    age_ms: float


@dataclass(frozen=True, slots=True)
class WeatherReport:
    """Answer of the weather feed: all that it knows."""

    countries: tuple[CountryWeather, ...]


@dataclass(frozen=True, slots=True)
class TrendingTerm:
    """A search term and how many times its usual share of all searches it has now."""

    term: str
    lift: float


@dataclass(frozen=True, slots=True)
class Trends:
    """Answer of the trend feed."""

    terms: tuple[TrendingTerm, ...]
    age_ms: float


class WeatherFeed(Protocol):
    """The weather where shoppers are."""

    async def weather(self, *, timeout_s: float) -> WeatherReport:
        """One call for all countries."""
        ...


class TrendFeed(Protocol):
    """What people look for."""

    async def trends(self, *, timeout_s: float) -> Trends:
        """One call."""
        ...
