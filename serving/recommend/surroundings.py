"""Surroundings: the last known weather and search trends, asked for in the background.

No call ever waits for these feeds: it reads what was told last, as long as that is young enough. A
feed that fails is asked again soon; a senseless or misshapen answer counts as none. One per
replica: what it knows is no release's.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from serving.deadline import Clock
from serving.recommend.context_ports import (
    TrendFeed,
    Trends,
    WeatherFeed,
    WeatherReport,
)
from serving.recommend.surroundings_settings import SurroundingsSettings
from shop.countries import COUNTRIES, country_of
from shop.errors import DependencyError, DependencyUnavailable
from shop.surroundings import MAX_TERM_CHARS, WEATHERS, Weather, term_key

logger = logging.getLogger(__name__)

_COLDEST_C, _HOTTEST_C = -90.0, 60.0  # beyond what was ever measured (WMO): no temperature


@dataclass(slots=True, eq=False)
class Surroundings:
    """What is known now. Without a feed nothing is, ever."""

    clock: Clock
    settings: SurroundingsSettings = field(default_factory=SurroundingsSettings)
    # By country: the weather, and until when (of `clock`) it counts.
    _weather: Mapping[str, tuple[Weather, float]] = field(init=False, default_factory=dict)
    _weather_until_s: float = field(init=False, default=-math.inf)
    _terms: tuple[str, ...] = field(init=False, default=())
    _trends_until_s: float = field(init=False, default=-math.inf)

    def weather_in(self, country: str) -> Weather | None:
        """None where nobody has told, or too long ago."""
        told = self._weather.get(country) or self._weather.get(country_of(country))
        if told is None or self.clock() > told[1]:
            return None
        return told[0]

    @property
    def weather_is_known(self) -> bool:
        """False: the feed has told nothing, or too long ago."""
        return self.clock() <= self._weather_until_s

    @property
    def trends_are_known(self) -> bool:
        """False: the feed has told nothing, or too long ago."""
        return self.clock() <= self._trends_until_s

    @property
    def trending_terms(self) -> tuple[str, ...]:
        """What people look for most now, each by `term_key`; none if that is not known."""
        return self._terms if self.trends_are_known else ()

    async def follow_weather(self, feed: WeatherFeed) -> NoReturn:
        """Asks for ever."""

        async def ask() -> None:
            timeout_s = self.settings.ask_ms / 1000.0
            self.take_weather(await feed.weather(timeout_s=timeout_s))

        await self._for_ever("weather", ask, self.settings.weather_every_s)

    async def follow_trends(self, feed: TrendFeed) -> NoReturn:
        """Asks for ever."""

        async def ask() -> None:
            timeout_s = self.settings.ask_ms / 1000.0
            self.take_trends(await feed.trends(timeout_s=timeout_s))

        await self._for_ever("trends", ask, self.settings.trends_every_s)

    async def _for_ever(
        self, feed: str, ask: Callable[[], Awaitable[None]], every_s: float
    ) -> NoReturn:
        fails = False
        while True:
            try:
                async with asyncio.timeout(self.settings.ask_ms / 1000.0):
                    await ask()
                wait_s, failed = every_s, False
            except (DependencyError, TimeoutError) as error:
                wait_s, failed = min(every_s, self.settings.again_after_s), True
                if not fails:  # once, however long it lasts
                    told = str(error) or "no answer in time"
                    logger.warning("the %s feed is lost: %s", feed, told)
            if fails and not failed:
                logger.info("the %s feed is back", feed)
            fails = failed
            await asyncio.sleep(wait_s)

    def take_weather(self, report: WeatherReport) -> None:
        """Keeps what was told just now. Raises DependencyUnavailable if it is none."""
        now_s, most_s = self.clock(), self.settings.weather_max_age_s
        sensible = {
            told.country: (
                Weather(told.condition, told.temperature_c),
                _until(now_s, age_ms, most_s),
            )
            for told in report.countries
            if (age_ms := told.age_ms) >= 0.0
            and told.country in COUNTRIES
            and told.condition in WEATHERS
            and _COLDEST_C <= told.temperature_c <= _HOTTEST_C  # False for NaN
        }
        _check_sense("weather", len(sensible), len(report.countries))
        self._weather = sensible
        self._weather_until_s = max(
            (until_s for _, until_s in sensible.values()), default=-math.inf
        )

    def take_trends(self, trends: Trends) -> None:
        """Keeps what was told just now. Raises DependencyUnavailable if it is none."""
        sensible = [
            told
            for told in trends.terms
            if 0.0 <= told.lift < math.inf and len(told.term) <= MAX_TERM_CHARS  # False for NaN
        ]
        _check_sense("trends", len(sensible), len(trends.terms))
        if not trends.age_ms >= 0.0:
            raise DependencyUnavailable("trends", f"is {trends.age_ms} ms old")
        rising = [told for told in sensible if told.lift >= self.settings.trending_lift]
        rising.sort(key=lambda told: (-told.lift, told.term))
        keys = dict.fromkeys(filter(None, (term_key(told.term) for told in rising)))
        self._terms = tuple(keys)[: self.settings.trending_terms]
        self._trends_until_s = _until(self.clock(), trends.age_ms, self.settings.trends_max_age_s)


def _until(now_s: float, age_ms: float, max_age_s: float) -> float:
    return now_s - age_ms / 1000.0 + max_age_s


def _check_sense(feed: str, sensible: int, told: int) -> None:
    if 2 * sensible < told:
        raise DependencyUnavailable(feed, "answered mostly what makes no sense")
    if feed == "weather" and told == 0:
        raise DependencyUnavailable(feed, "answered nothing")
