"""Price suggestions over the real servers of the simulator: right figures, and every fault."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest

from serving.adapters.business import open_business_systems
from serving.adapters.feeds import GrpcCalendar, GrpcCompetitors, GrpcDemand
from serving.deadline import Deadline
from serving.price_reply import encode_prices
from serving.proto import business_pb2, business_pb2_grpc, feeds_pb2, feeds_pb2_grpc
from serving.proto import recommendations_pb2 as pb
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import LOST_BY, OfferCache
from serving.recommend.price_settings import PricingSettings
from serving.recommend.prices import PriceAnswer, PriceAsk, suggest
from shop.catalogue import Catalogue
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.price_limits import PriceLimits
from shop.pricing import Outcome
from simulator.backends import Backends, _forecast_or_none, open_stock_room
from simulator.campaigns import percent_off, product_keys
from simulator.faults import FEEDS
from simulator.forecast import Forecast
from simulator.sales_log import forecast_beside
from simulator.stockroom import StockRoom
from simulator.world import WorldSettings, generate
from tests.unit.small_shop import a_shop

NOON_MS = 1_780_000_000_000
DAY_MS = 86_400_000
DEADLINE_S = 20.0
COUNT = 300


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world's products, with its events beside them."""
    folder = tmp_path_factory.mktemp("shop")
    generate(folder, WorldSettings(product_count=COUNT, shopper_count=300, days=30))
    (folder / "manifest.json").write_text(json.dumps({"currency": "EUR"}))
    return folder / "products.parquet"


@pytest.fixture(scope="module")
def forecast(products: Path) -> Forecast:
    return forecast_beside(products, open_stock_room(products, currency=None, seed=7).row_of)


@dataclass
class Market:
    """The running servers, clients of them, and the cache and catalogue behind a suggestion."""

    backends: Backends
    ids: list[str]
    deps: Deps
    competitors: GrpcCompetitors
    demand: GrpcDemand
    calendar: GrpcCalendar

    async def suggest(self, *ids: str, total_s: float = 5.0) -> PriceAnswer:
        ask = PriceAsk("r1", ids or tuple(self.ids), NOON_MS)
        deadline = Deadline(
            time.monotonic, start_s=time.monotonic(), total_s=total_s, reserve_s=0.005
        )
        return await suggest(ask, self.deps, deadline)

    async def ail(self, system: str, **faults: Any) -> None:
        async with self._control() as channel:
            settings = business_pb2.FaultSettings(system=system, **faults)
            await business_pb2_grpc.FaultsStub(channel).SetFaults(settings, timeout=5.0)

    async def set_competitors(self, ids: list[str], price: list[int], age_ms: list[int]) -> Any:
        async with self._control() as channel:
            request = feeds_pb2.SetCompetitorPricesRequest(
                product_ids=ids, price_minor=price, age_ms=age_ms
            )
            return await feeds_pb2_grpc.MarketRoomStub(channel).SetCompetitorPrices(
                request, timeout=5.0
            )

    async def set_price(self, product_id: str, price_minor: int) -> None:
        async with self._control() as channel:
            request = business_pb2.SetPricesRequest(
                product_ids=[product_id], price_minor=[price_minor]
            )
            await business_pb2_grpc.StockRoomStub(channel).SetPrices(request, timeout=5.0)

    def _control(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.backends.ports['control']}")


def in_market(
    products: Path,
    forecast: Forecast,
    check: Callable[[Market], Awaitable[None]],
    *,
    limits: PriceLimits | None = None,
) -> None:
    """Run the servers, and a check against them."""

    async def run() -> None:
        room = open_stock_room(products, currency=None, seed=7)
        async with AsyncExitStack() as stack:
            backends = await stack.enter_async_context(
                Backends(room, clock=lambda: NOON_MS, make_forecast=lambda: forecast)
            )
            market = _market(stack, backends, products, limits or PriceLimits())
            await asyncio.wait_for(check(market), DEADLINE_S)

    asyncio.run(run())


def _market(
    stack: AsyncExitStack, backends: Backends, products: Path, limits: PriceLimits
) -> Market:
    at = {name: f"127.0.0.1:{port}" for name, port in backends.ports.items()}
    competitors = GrpcCompetitors(at["competitors"], currency="EUR")
    demand, calendar = GrpcDemand(at["demand"]), GrpcCalendar(at["calendar"], currency="EUR")
    systems = open_business_systems(stack, at, currency="EUR")
    shop = a_shop(COUNT)
    catalogue = _catalogue(shop.deps.release.tables.catalogue, products)
    # The shop's own systems are asked for the first time, beside other tests; the feeds ail here.
    pricing = PricingSettings(limits=limits, lookups_ms=1_000.0)
    own = shop.deps.settings.offers
    patient = {name: replace(getattr(own, name), ask_ms=1_000.0) for name in LOST_BY}
    settings = replace(shop.deps.settings, pricing=pricing, offers=replace(own, **patient))
    offers = OfferCache(catalogue, systems, settings.offers, time.monotonic)
    feeds = FeedCache(catalogue, PriceFeeds(competitors, demand, calendar), pricing, time.monotonic)
    for each in (competitors, demand, calendar, offers, feeds):
        stack.push_async_callback(each.close)
    tables = replace(shop.deps.release.tables, catalogue=catalogue)
    deps = replace(
        shop.deps,
        release=replace(shop.deps.release, tables=tables),
        offers=offers,
        feeds=feeds,
        settings=settings,
        clock=time.monotonic,
    )
    ids = catalogue.product_ids[1:].tolist()
    return Market(backends, ids, deps, competitors, demand, calendar)


def _catalogue(like: Catalogue, products: Path) -> Catalogue:
    """The world's products, in the columns of a release."""
    table = pq.read_table(products, columns=["product_id", "price_minor", "cost_minor"])
    return replace(
        like,
        product_ids=np.array(["", *table["product_id"].to_pylist()], dtype=np.str_),
        list_price_minor=np.array([0, *table["price_minor"].to_pylist()]),
        cost_minor=np.array([0, *table["cost_minor"].to_pylist()]),
    )


def test_a_whole_catalogue_gets_suggestions_that_keep_every_limit(
    products: Path, forecast: Forecast
) -> None:
    async def check(market: Market) -> None:
        answer = await market.suggest()
        assert (answer.degraded, answer.failures) == ((), {})
        inputs, found, limits = answer.inputs, answer.suggestions, PriceLimits()
        changed = found.price_minor != inputs.current_minor
        assert 0.3 < changed.mean() < 0.9
        new, current = found.price_minor[changed], inputs.current_minor[changed]
        assert (np.abs(new - current) <= current * limits.step_share).all()
        assert (new * (1.0 - limits.min_margin) >= inputs.cost_minor[changed]).all()
        assert set((new % 10).tolist()) == {9}
        states = found.driver_states
        assert (states[:, 0] == 0).mean() > 0.8  # most products have a competitor
        frozen = np.array([each is Outcome.FROZEN for each in found.outcomes])
        soon = inputs.promotion_in_ms <= limits.freeze_before_ms
        np.testing.assert_array_equal(frozen, inputs.promotion_runs | soon)
        assert 0.1 < frozen.mean() < 0.5  # two weeks in which one product in ten is reduced

    in_market(products, forecast, check)


def test_the_reply_says_what_the_feeds_say(products: Path, forecast: Forecast) -> None:
    async def check(market: Market) -> None:
        product_id = next(
            each
            for each, percent in zip(market.ids, _soonest(market.ids), strict=True)
            if percent == 0.0
        )
        current = int(market.backends.room.price_minor[market.backends.room.row_of[product_id]])
        await market.set_competitors([product_id], [round(current * 1.2)], [3_600_000])
        answer = await market.suggest(product_id, "nobody")
        reply = encode_prices(
            answer, market.deps.release.tables.catalogue, market.deps.settings.pricing
        )
        suggestion, failed = reply.suggestions
        assert suggestion.outcome == pb.PRICE_CHANGE
        assert suggestion.price_minor > current == suggestion.current_price_minor
        assert suggestion.reasons[0].wish_minor == round(current * 1.2)
        competitors = next(each for each in suggestion.inputs if each.name == "competitors")
        assert competitors.as_of_ms == NOON_MS - 3_600_000
        assert failed.failure.code == "NOT_FOUND"

    in_market(products, forecast, check)


def _soonest(ids: list[str]) -> list[float]:
    """The most that is taken off now or within the freeze."""
    keys = product_keys(ids)
    weeks = [percent_off(keys, NOON_MS + days * DAY_MS, seed=7) for days in range(8)]
    return list(np.max(weeks, axis=0))


def test_the_calendar_remembers_the_prices_of_a_day(products: Path, forecast: Forecast) -> None:
    async def check(market: Market) -> None:
        product_id = market.ids[0]
        before = int(market.backends.room.price_minor[1])
        await market.set_price(product_id, before - 100)
        await market.set_price(product_id, before - 40)
        plans = await market.calendar.plans([product_id], timeout_s=5.0)
        assert plans.lowest_minor.tolist() == [before - 100]
        assert plans.highest_minor.tolist() == [before]

    in_market(products, forecast, check)


def test_the_calendar_plans_the_campaigns_that_will_run(products: Path, forecast: Forecast) -> None:
    async def check(market: Market) -> None:
        plans = await market.calendar.plans([*market.ids, "nobody"], timeout_s=5.0)
        keys = product_keys(market.ids)
        running = percent_off(keys, NOON_MS, seed=7) > 0.0
        np.testing.assert_array_equal(plans.promotion_runs, [*running, False])
        planned = np.isfinite(plans.promotion_in_ms[:-1])
        assert planned.mean() > 0.3
        starts_ms = NOON_MS + plans.promotion_in_ms[:-1][planned].astype(np.int64)
        assert (percent_off(keys[planned], starts_ms, seed=7) > 0.0).all()
        assert (percent_off(keys[planned], starts_ms - 1, seed=7) == 0.0).mean() > 0.8
        assert plans.found.tolist() == [*[True] * COUNT, False]

    in_market(products, forecast, check)


def test_the_forecast_is_that_of_the_log(products: Path, forecast: Forecast) -> None:
    async def check(market: Market) -> None:
        demand = await market.demand.demand([*market.ids, "nobody"], timeout_s=5.0)
        np.testing.assert_allclose(demand.units_per_day, [*forecast.units_per_day[1:], 0.0])
        assert demand.found[-1] == np.False_
        assert demand.found[:-1].mean() > 0.3
        assert demand.age_ms == 0.0

    in_market(products, forecast, check)


def test_competitors_are_near_the_market_and_each_seen_at_its_own_time(
    products: Path, forecast: Forecast
) -> None:
    async def check(market: Market) -> None:
        answer = await market.competitors.competitor_prices([*market.ids, "x"], timeout_s=5.0)
        assert answer.counts[-1] == 0
        assert set(answer.counts.tolist()) == {0, 1, 2, 3}
        listed = np.repeat(market.backends.room.price_minor[1:], answer.counts[:-1])
        assert 0.9 < np.median(answer.price_minor / listed) < 1.1
        assert (np.abs(np.log(answer.price_minor / listed)) < 0.25).all()
        assert np.unique(answer.age_ms).size > COUNT
        again = await market.competitors.competitor_prices([*market.ids, "x"], timeout_s=5.0)
        np.testing.assert_array_equal(again.price_minor, answer.price_minor)

    in_market(products, forecast, check)


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(
    "fault",
    [
        {"dead": True},
        {"stall": True},
        {"error_rate": 1.0},
        {"wrong_values": business_pb2.WRONG_VALUES_SHORT},
        {"wrong_values": business_pb2.WRONG_VALUES_SWAPPED},
        {"wrong_values": business_pb2.WRONG_VALUES_ABSURD},
        {"wrong_values": business_pb2.WRONG_VALUES_NAN},
        {"wrong_values": business_pb2.WRONG_VALUES_NEGATIVE},
    ],
    ids=["dead", "stalled", "failing", "short", "swapped", "absurd", "no numbers", "negative"],
)
def test_an_ailing_feed_is_named_and_the_answer_is_whole(
    products: Path, forecast: Forecast, feed: str, fault: dict[str, Any]
) -> None:
    async def check(market: Market) -> None:
        await market.ail(feed, **fault)
        answer = await market.suggest(total_s=1.0)
        assert [reason.value for _, reason in answer.degraded] == [f"STALE_{feed.upper()}"]
        assert answer.suggestions.price_minor.size == COUNT
        if feed == "calendar":
            np.testing.assert_array_equal(
                answer.suggestions.price_minor, answer.inputs.current_minor
            )
        await market.ail(feed)

    in_market(products, forecast, check)


def test_adapters_refuse_what_is_not_an_answer_to_the_question(
    products: Path, forecast: Forecast
) -> None:
    async def check(market: Market) -> None:
        ids = market.ids[:20]
        asking = {
            "competitors": market.competitors.competitor_prices,
            "demand": market.demand.demand,
            "calendar": market.calendar.plans,
        }
        for feed, ask in asking.items():
            await market.ail(feed, wrong_values=business_pb2.WRONG_VALUES_SWAPPED)
            with pytest.raises(DependencyUnavailable, match=f"{feed}: ids_crc32"):
                await ask(ids, timeout_s=5.0)
            await market.ail(feed, wrong_values=business_pb2.WRONG_VALUES_SHORT)
            with pytest.raises(DependencyUnavailable, match=f"{feed}: (asked for 20|counts)"):
                await ask(ids, timeout_s=5.0)
            await market.ail(feed, stall=True)
            with pytest.raises(DependencyTimeout, match=f"{feed}: no answer within 30 ms"):
                await ask(ids, timeout_s=0.03)
            await market.ail(feed)

    in_market(products, forecast, check)


def test_another_currency_is_refused(products: Path, forecast: Forecast) -> None:
    async def check(market: Market) -> None:
        at = {name: f"127.0.0.1:{port}" for name, port in market.backends.ports.items()}
        competitors = GrpcCompetitors(at["competitors"], currency="USD")
        calendar = GrpcCalendar(at["calendar"], currency="USD")
        for feed, ask in (
            (competitors, competitors.competitor_prices),
            (calendar, calendar.plans),
        ):
            with pytest.raises(DependencyUnavailable, match="'EUR', the shop sells in 'USD'"):
                await ask(market.ids[:1], timeout_s=5.0)
            await feed.close()

    in_market(products, forecast, check)


def test_competitors_that_do_not_fit_together_are_refused(
    products: Path, forecast: Forecast
) -> None:
    async def check(market: Market) -> None:
        answer = await market.set_competitors(["nobody", market.ids[0]], [1, 2], [0, 0])
        assert list(answer.unknown_product_ids) == ["nobody"]
        with pytest.raises(grpc.aio.AioRpcError, match="2 products, 1 prices, 2 ages"):
            await market.set_competitors(["a", "b"], [1], [0, 0])

    in_market(products, forecast, check)


def test_a_forecast_that_cannot_be_made_leaves_the_other_feeds_alone(
    products: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "products.parquet"
    bad.write_bytes(products.read_bytes())
    (tmp_path / "events.parquet").write_bytes(b"not parquet")
    room = StockRoom.from_products(bad, currency="EUR", seed=7)
    assert not _forecast_or_none(bad, room).found.any()
