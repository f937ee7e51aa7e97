"""Weather and search trends from the simulated feeds, over real gRPC: right, ailing, and back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from serving.adapters.context_feeds import GrpcTrends, GrpcWeather
from serving.context_feeds import follow_surroundings
from serving.proto import business_pb2 as pb
from serving.recommend.settings import RecommendSettings
from serving.recommend.surroundings import Surroundings
from serving.recommend.surroundings_settings import SurroundingsSettings
from serving.settings import FeedSettings, Settings
from shop.errors import DataRejected, DependencyError
from shop.surroundings import WEATHERS, Weather
from simulator.backends import Backends, open_stock_room
from simulator.campaigns import product_keys
from simulator.faults import CONTEXT_FEEDS
from simulator.settings import WorldSettings
from simulator.tables import products_table
from simulator.trends import lifts_at, search_terms_of
from simulator.weather import CLIMATES, weather_at
from simulator.world import build_world

NOW_MS = 1_780_000_200_000  # a moment at which both feeds have just looked
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SEED = 7


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shop") / "products.parquet"
    settings = WorldSettings(product_count=300, shopper_count=50, days=2, sessions_per_shopper=1.0)
    pq.write_table(products_table(build_world(settings).products), file)
    return file


def with_feeds(products: Path, use: Callable[[Backends], Awaitable[None]]) -> None:
    async def run() -> None:
        room = open_stock_room(products, currency="EUR", seed=SEED)
        async with Backends(
            room, clock=lambda: NOW_MS, search_terms=search_terms_of(products)
        ) as backends:
            await use(backends)

    asyncio.run(run())


def settings_for(backends: Backends, **around: Any) -> Settings:
    """Asked so often that a test need not wait."""
    feeds = {name: f"127.0.0.1:{backends.ports[name]}" for name in CONTEXT_FEEDS}
    often = {"weather_every_s": 0.02, "trends_every_s": 0.02, "again_after_s": 0.02}
    asked = SurroundingsSettings(**(often | {"ask_ms": 100.0} | around))
    return Settings(
        feeds=replace(FeedSettings(), **feeds), recommend=RecommendSettings(surroundings=asked)
    )


async def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20.0
    while time.monotonic() < until:
        if holds():
            return True
        await asyncio.sleep(0.005)
    return holds()


def test_feeds_tell_what_the_simulated_world_is_like(products: Path) -> None:
    async def use(backends: Backends) -> None:
        async with follow_surroundings(settings_for(backends)) as around:
            assert await eventually(lambda: around.weather_is_known and around.trends_are_known)
            for country in CLIMATES:
                sky = weather_at(country, NOW_MS - NOW_MS % 600_000, SEED)
                assert around.weather_in(country) == Weather(sky.condition, sky.temperature_c)
            assert around.weather_in("US") is None
            terms = backends.search_terms
            lifts = lifts_at(product_keys(terms), NOW_MS - NOW_MS % 300_000, SEED)
            assert len(around.trending_terms) == min(20, int((lifts >= 2.0).sum()))

    with_feeds(products, use)


@pytest.mark.parametrize("feed", CONTEXT_FEEDS)
@pytest.mark.parametrize(
    "ailment",
    [
        {"dead": True},
        {"stall": True},
        {"error_rate": 1.0},
        {"wrong_values": pb.WRONG_VALUES_ABSURD},
        {"wrong_values": pb.WRONG_VALUES_NAN},
        {"wrong_values": pb.WRONG_VALUES_NEGATIVE},
    ],
    ids=["dead", "stalled", "failing", "absurd", "no numbers", "negative"],
)
def test_an_ailing_feed_is_lost_when_its_last_word_is_too_old_and_comes_back(
    products: Path, feed: str, ailment: dict[str, Any]
) -> None:
    def is_known(around: Surroundings) -> bool:
        return around.weather_is_known if feed == "weather" else around.trends_are_known

    async def use(backends: Backends) -> None:
        settings = settings_for(backends, weather_max_age_s=0.5, trends_max_age_s=0.5)
        async with follow_surroundings(settings) as around:
            assert await eventually(lambda: is_known(around))
            await backends.set_faults(pb.FaultSettings(system=feed, **ailment))
            assert await eventually(lambda: not is_known(around))
            await backends.set_faults(pb.FaultSettings(system=feed))
            assert await eventually(lambda: is_known(around))

    with_feeds(products, use)


def test_without_feeds_nothing_is_known_and_nobody_asked() -> None:
    async def use() -> None:
        async with follow_surroundings(Settings()) as around:
            await asyncio.sleep(0)
            assert not around.weather_is_known
            assert not around.trends_are_known
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(use())


def test_adapters_raise_our_errors_within_their_time(products: Path) -> None:
    async def use(backends: Backends) -> None:
        for name, make, ask in (
            ("weather", GrpcWeather, GrpcWeather.weather),
            ("trends", GrpcTrends, GrpcTrends.trends),
        ):
            await backends.set_faults(pb.FaultSettings(system=name, stall=True))
            feed = make(f"127.0.0.1:{backends.ports[name]}")
            with pytest.raises(DependencyError, match=name):
                await ask(feed, timeout_s=0.05)  # type: ignore[operator]
            await feed.close()

    with_feeds(products, use)


# The simulated world


def test_weather_follows_the_seasons_and_lasts_for_days() -> None:
    for country in CLIMATES:
        year = [weather_at(country, NOW_MS + day * DAY_MS, SEED) for day in range(365)]
        assert {sky.condition for sky in year} <= set(WEATHERS)
        celsius = np.array([sky.temperature_c for sky in year])
        assert celsius[45:75].mean() > celsius[230:260].mean() + 8.0  # July, January
        from_day_to_day = np.abs(np.diff(celsius)).mean()
        from_season_to_season = np.abs(celsius[90:] - celsius[:-90]).mean()
        assert from_day_to_day < 0.6 * from_season_to_season


def test_it_rains_in_britain_more_than_in_spain() -> None:
    def wet_hours(country: str) -> float:
        hours = range(0, 365 * 24, 5)
        skies = [weather_at(country, NOW_MS + hour * HOUR_MS, SEED) for hour in hours]
        return sum(sky.condition in ("rain", "storm", "snow") for sky in skies) / len(skies)

    assert 0.10 < wet_hours("GB") < 0.30
    assert wet_hours("ES") < 0.6 * wet_hours("GB")


def test_weather_is_the_seeds_and_changes_within_the_day() -> None:
    day = [weather_at("DE", NOW_MS + hour * HOUR_MS, SEED) for hour in range(24)]
    assert day == [weather_at("DE", NOW_MS + hour * HOUR_MS, SEED) for hour in range(24)]
    temperatures = [sky.temperature_c for sky in day]
    assert max(temperatures) - min(temperatures) > 4.0
    other = [weather_at("DE", NOW_MS + hour * HOUR_MS, SEED + 1) for hour in range(24)]
    assert day != other


def test_terms_come_in_waves_that_rise_fast_and_fade_in_days() -> None:
    keys = product_keys(f"term {n}" for n in range(200))
    hours = [lifts_at(keys, NOW_MS + hour * HOUR_MS, SEED) for hour in range(24 * 28)]
    highest = max(range(len(hours)), key=lambda at: hours[at].max())
    term = int(hours[highest].argmax())
    course = [float(lifts[term]) for lifts in hours]
    assert course[highest] > 5.0
    assert course[max(0, highest - 24)] < 0.7 * course[highest]
    later = course[min(len(course) - 1, highest + 7 * 24)]
    assert later < 0.5 * course[highest]
    rising = [int((lifts >= 2.0).sum()) for lifts in hours]
    assert 3 <= max(rising) < 40


def test_terms_are_the_catalogues_own_words(products: Path, tmp_path: Path) -> None:
    terms = search_terms_of(products)
    assert {"lamps", "tents"} <= set(terms)
    assert len(terms) == len(set(terms)) <= 200
    (tmp_path / "none.parquet").write_text("no table")
    with pytest.raises(DataRejected, match="no products table"):
        search_terms_of(tmp_path / "none.parquet")
