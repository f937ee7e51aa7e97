"""Weather and search trends: known while young, lost without harm, asked for by rules."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.adapters.memory_feeds import MemoryTrends, MemoryWeather
from serving.recommend.context_ports import CountryWeather, TrendingTerm, Trends, WeatherReport
from serving.recommend.request import Answer
from serving.recommend.rules import FittedBook
from serving.recommend.surroundings import Surroundings
from serving.recommend.surroundings_settings import SurroundingsSettings
from shop.compiled_rules import compile_book
from shop.errors import DependencyUnavailable
from shop.surroundings import TitleWords, Trending, Weather, term_key, words_of
from tests.unit.rule_books import a_book, enforce
from tests.unit.small_shop import SmallShop, a_catalogue, a_context, a_shop, an_ask
from tests.unit.time_travel import Time

SETTINGS = SurroundingsSettings()
GONE = DependencyUnavailable("twin", "switched off")
RAINY = 'kind = "pin"\nproduct = "p40"\nposition = 1\nwhen = { weather = "rain" }'
AWAITED = 'kind = "pin"\nproduct = "p50"\nposition = 1\nwhen = { trending = ["Tents", "mugs"] }'
WANTED = 'kind = "boost"\nfactor = 100\ntrending = true'


def a_report(*told: tuple[str, str, float], age_ms: float = 0.0) -> WeatherReport:
    return WeatherReport(tuple(CountryWeather(*each, age_ms) for each in told))


def trends_of(age_ms: float = 0.0, **lifts: float) -> Trends:
    return Trends(tuple(TrendingTerm(*each) for each in lifts.items()), age_ms)


def known(
    time: Time, report: WeatherReport | None = None, trends: Trends | None = None
) -> Surroundings:
    surroundings = Surroundings(time)
    if report is not None:
        surroundings.take_weather(report)
    if trends is not None:
        surroundings.take_trends(trends)
    return surroundings


def with_surroundings(shop: SmallShop, surroundings: Surroundings) -> SmallShop:
    shop.deps = replace(shop.deps, surroundings=surroundings, rules=shop.deps.rules)
    return shop


def top(shop: SmallShop, country: str = "DE", **asked: Any) -> str:
    return shop.shown(answer_in(shop, country, **asked))[0]


def answer_in(shop: SmallShop, country: str = "DE", **asked: Any) -> Answer:
    return shop.answer(an_ask(context=a_context(country=country), **asked))


def losses(answer: Answer) -> list[tuple[str, str]]:
    return [(stage, reason.value) for stage, reason in answer.degraded]


# What is known


def test_weather_is_known_until_it_is_too_old_by_its_own_age() -> None:
    time = Time()
    around = known(time, a_report(("DE", "rain", 9.5), age_ms=3_600_000.0))
    assert around.weather_in("DE") == around.weather_in("de") == Weather("rain", 9.5)
    assert around.weather_in("FR") is around.weather_in("") is None
    time.pass_ms(1_000 * SETTINGS.weather_max_age_s - 3_600_000)
    assert around.weather_in("DE") is not None
    time.pass_ms(1)
    assert around.weather_in("DE") is None
    assert not around.weather_is_known


def test_an_old_report_of_one_country_takes_nothing_from_the_others() -> None:
    report = WeatherReport(
        (CountryWeather("DE", "rain", 9.0, 0.0), CountryWeather("FR", "heat", 31.0, 1e9))
    )
    around = known(Time(), report)
    assert around.weather_in("FR") is None
    assert around.weather_in("DE") is not None
    assert around.weather_is_known


def test_trends_are_the_highest_lifts_and_count_for_hours() -> None:
    time = Time()
    around = known(time, trends=trends_of(boots=2.0, Tents=5.0, tent=3.0, mugs=1.9))
    assert around.trending_terms == ("tent", "boot")  # alike but for case and plural: one
    time.pass_ms(1_000 * SETTINGS.trends_max_age_s + 1)
    assert around.trending_terms == ()
    many = known(time, trends=trends_of(**{f"t{n}": 3.0 + n for n in range(40)}))
    assert many.trending_terms == tuple(f"t{n}" for n in range(39, 19, -1))


@pytest.mark.parametrize(
    "report",
    [
        a_report(),
        a_report(("DE", "rain", math.nan), ("FR", "rain", 9.0), ("IT", "rain", -999.0)),
        a_report(("Germany", "rain", 9.0)),
        a_report(("DE", "frogs", 9.0)),
        a_report(("DE", "rain", 9.0), age_ms=-1.0),
        a_report(("DE", "rain", 9.0), age_ms=math.nan),
    ],
)
def test_a_senseless_report_is_none_and_what_was_known_stays(report: WeatherReport) -> None:
    around = known(Time(), a_report(("DE", "snow", -2.0)))
    with pytest.raises(DependencyUnavailable):
        around.take_weather(report)
    assert around.weather_in("DE") == Weather("snow", -2.0)


@pytest.mark.parametrize(
    "trends",
    [
        trends_of(boots=math.nan, tents=3.0, mugs=-1.0),
        trends_of(boots=math.inf),
        trends_of(age_ms=-5.0, boots=3.0),
        trends_of(age_ms=math.nan, boots=3.0),
        trends_of(**{"x" * 61: 3.0}),
    ],
)
def test_senseless_trends_are_none_and_what_was_known_stays(trends: Trends) -> None:
    around = known(Time(), trends=trends_of(rugs=4.0))
    with pytest.raises(DependencyUnavailable):
        around.take_trends(trends)
    assert around.trending_terms == ("rug",)


def test_a_single_senseless_country_is_passed_over() -> None:
    around = known(Time(), a_report(("DE", "rain", 9.0), ("FR", "rain", math.nan)))
    assert around.weather_in("DE") is not None
    assert around.weather_in("FR") is None


# Who asks


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.5)
    raise AssertionError("never")


def following(follow: Callable[[Time, Surroundings], Awaitable[None]]) -> None:
    time = Time()
    time.run(follow(time, Surroundings(time)))  # type: ignore[arg-type]


def test_a_feed_is_asked_now_and_then_again_soon_after_a_failure_and_stops_no_one() -> None:
    async def follow(time: Time, around: Surroundings) -> None:
        feed = MemoryWeather(by_country={"DE": ("rain", 9.0)})
        task = asyncio.create_task(around.follow_weather(feed))
        await until(lambda: around.weather_is_known)
        assert (feed.ask_count, time.now_s < 1.0) == (1, True)
        feed.failure = GONE
        await asyncio.sleep(SETTINGS.weather_every_s + 1.0)
        assert feed.ask_count == 2
        await asyncio.sleep(SETTINGS.again_after_s)
        assert feed.ask_count == 3
        assert around.weather_in("DE") is not None  # last known
        await asyncio.sleep(SETTINGS.weather_max_age_s)
        assert around.weather_in("DE") is None
        feed.failure = None
        await until(lambda: around.weather_is_known)
        task.cancel()

    following(follow)


def test_a_stalled_or_senseless_feed_is_a_failed_one() -> None:
    async def follow(time: Time, around: Surroundings) -> None:
        feed = MemoryTrends(lifts={"boots": math.nan})
        task = asyncio.create_task(around.follow_trends(feed))
        await asyncio.sleep(1.0)
        assert (feed.ask_count, around.trends_are_known) == (1, False)
        feed.stalls = True
        await asyncio.sleep(2.0 * (SETTINGS.again_after_s + SETTINGS.ask_ms / 1_000))
        assert feed.ask_count >= 2
        feed.stalls, feed.lifts = False, {"boots": 3.0}
        await until(lambda: around.trends_are_known)
        task.cancel()

    following(follow)


# What a term means


def test_words_are_alike_but_for_case_and_plural() -> None:
    assert words_of("Wool Coats, 2-seat") == ("wool", "coat", "2", "seat")
    assert term_key(" DRESS  shoes!") == term_key("dress Shoe") == "dress shoe"


def test_a_term_means_products_with_all_its_words_in_title_or_category() -> None:
    words = TitleWords(a_catalogue(8))  # "Product 1" …; rows 1, 5: chairs
    assert np.flatnonzero(words.matches(["chair"])).tolist() == [1, 5]
    assert np.flatnonzero(words.matches(["product chairs", "7"])).tolist() == [1, 5, 7]
    assert not words.matches(["chairs of gold", "!", ""]).any()


# Rules


def test_a_rule_holds_in_its_weather_only() -> None:
    shop = a_shop()
    enforce(shop, RAINY)
    with_surroundings(shop, known(shop.time, a_report(("DE", "rain", 9.0), ("FR", "heat", 30.0))))
    assert (top(shop, "DE"), top(shop, "de"), top(shop, "FR")) == ("p40", "p40", "p1")
    for country in ("DE", "FR", "US", ""):
        assert losses(answer_in(shop, country)) == []  # another weather, or none told: no loss


def test_a_rule_waits_for_a_term_to_trend() -> None:
    shop = a_shop()
    catalogue = shop.deps.release.tables.catalogue
    for terms, first in (("tent",), "p50"), (("mug", "boot"), "p50"), (("boot",), "p1"):
        trending = Trending(frozenset(terms))
        shop.deps.rules.enforce(FittedBook(compile_book(a_book(AWAITED), catalogue, trending)))
        assert top(shop) == first


def test_products_that_a_trending_term_means_are_boosted_and_say_so() -> None:
    shop = a_shop()
    catalogue = shop.deps.release.tables.catalogue
    products = TitleWords(catalogue).matches(["rug"])  # p2, p6, …
    trending = Trending(frozenset(["rug"]), products)
    with_surroundings(shop, known(shop.time, trends=trends_of(rugs=5.0)))
    shop.deps.rules.enforce(FittedBook(compile_book(a_book(WANTED), catalogue, trending)))
    answer = answer_in(shop, page_size=60, explain=True)
    told = dict(zip(shop.shown(answer), answer.slate.rules, strict=True))
    assert shop.shown(answer)[:3] == ["p2", "p6", "p10"]
    assert "boost:r1" in told["p2"]
    assert "boost:r1" not in told["p1"]
    shop.deps.rules.enforce(FittedBook(compile_book(a_book(WANTED), catalogue)))
    assert top(shop) == "p1"


def test_trending_products_are_those_of_the_rule_alone() -> None:
    shop = a_shop()
    catalogue = shop.deps.release.tables.catalogue
    trending = Trending(frozenset(["product"]), TitleWords(catalogue).matches(["product"]))  # all
    book = a_book(f'{WANTED}\ncategories = ["mugs"]\ncondition = "price < 20"')  # p3, p7
    shop.deps.rules.enforce(FittedBook(compile_book(book, catalogue, trending)))
    assert shop.shown(answer_in(shop))[:3] == ["p3", "p7", "p1"]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [(RAINY, "STALE_WEATHER"), (AWAITED, "STALE_TRENDS"), (WANTED, "STALE_TRENDS")],
)
def test_only_a_call_whose_rules_ask_for_it_names_a_lost_feed(rule: str, reason: str) -> None:
    shop = a_shop()
    enforce(shop, rule + '\nplacements = ["home", "cart"]')
    answer = answer_in(shop)
    assert losses(answer) == [("feeds", reason)]
    assert shop.shown(answer)[0] == "p1"
    elsewhere = shop.answer(an_ask(context=a_context(placement="email")))
    assert losses(elsewhere) == []
    enforce(shop, 'kind = "exclude"\nproducts = ["p1"]')
    assert losses(answer_in(shop)) == []


def test_a_feed_that_grew_too_old_is_a_lost_one() -> None:
    shop = a_shop()
    enforce(shop, RAINY)
    with_surroundings(shop, known(shop.time, a_report(("DE", "rain", 9.0))))
    assert top(shop) == "p40"
    shop.time.pass_ms(1_000 * SETTINGS.weather_max_age_s + 1)
    answer = answer_in(shop)
    assert ("feeds", "STALE_WEATHER") in losses(answer)
    assert shop.shown(answer)[0] == "p1"


def test_what_an_order_was_made_without_is_said_on_its_further_pages_too() -> None:
    shop = a_shop()
    enforce(shop, RAINY)
    page = answer_in(shop).next_page
    shop = with_surroundings(shop, known(shop.time, a_report(("DE", "rain", 9.0))))
    assert losses(answer_in(shop, page=page)) == [("feeds", "STALE_WEATHER")]


def test_two_pins_of_one_place_in_different_weathers_are_no_contradiction() -> None:
    pin = 'kind = "pin"\nproduct = "p{}"\nposition = 1\nwhen = {{ weather = "{}" }}'
    assert len(a_book(pin.format(1, "rain"), pin.format(2, "snow")).rules) == 2


# Logs


def test_a_logged_list_says_what_the_weather_and_the_trends_were() -> None:
    shop = a_shop()
    answer_in(shop)
    around = known(shop.time, a_report(("DE", "frost", -4.5)), trends_of(boots=3.0))
    with_surroundings(shop, around)
    answer_in(shop)
    unknown, seen = shop.log.impressions
    assert (unknown.weather, unknown.temperature_c, unknown.trending) == ("", None, ())
    assert (seen.weather, seen.temperature_c, seen.trending) == ("frost", -4.5, ("boot",))
