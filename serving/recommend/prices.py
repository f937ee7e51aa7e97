"""Prices: the way of a price suggestion, from product ids to one suggestion or failure for each.

The shop's own systems and the feeds are asked side by side; the rest is `shop.pricing`.

Shapes: A products asked for, N of them with a price, D drivers.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.deadline import Deadline, StageTimes
from serving.recommend.call import Deps
from serving.recommend.feeds import MarketView
from serving.recommend.request import Degradation, Losses, Stage
from shop.catalogue import Catalogue
from shop.offers import Offers
from shop.price_drivers import PriceInputs
from shop.pricing import PriceSuggestions, suggest_prices

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class PriceAsk:
    """One checked request."""

    request_id: str
    product_ids: tuple[str, ...]  # [A] each once
    now_ms: int


class PriceFailure(StrEnum):
    """Why a product gets no suggestion."""

    UNKNOWN_PRODUCT = "unknown_product"
    NO_PRICE = "no_price"  # no current price that is young enough


@dataclass(frozen=True, slots=True, eq=False)
class PriceAnswer:
    """Everything the codec needs to write a reply."""

    ask: PriceAsk
    release: str
    failures: Mapping[int, PriceFailure]  # by place in the question
    places: NDArray[np.int64]  # [N] in the question, of what follows
    inputs: PriceInputs  # N
    price_as_of_ms: NDArray[np.int64]  # [N]
    cost_as_of_ms: NDArray[np.float64]  # [N] 0: the catalogue's; NaN: no cost is known
    suggestions: PriceSuggestions  # N
    degraded: tuple[tuple[str, Degradation], ...]
    stage_ms: Mapping[str, float]


async def suggest(ask: PriceAsk, deps: Deps, deadline: Deadline) -> PriceAnswer:
    """A suggestion for each product. What is lost on the way is named, never raised."""
    catalogue, settings = deps.release.tables.catalogue, deps.settings.pricing
    losses, times = Losses(), StageTimes(deps.clock)
    asked_rows = catalogue.rows_of(list(ask.product_ids))
    known = np.flatnonzero(asked_rows)
    rows = asked_rows[known]
    within_s = deadline.within(settings.lookups_ms / 1000.0)
    async with asyncio.TaskGroup() as both:
        offering = deps.offers.look_up(rows, now_ms=ask.now_ms, within_s=within_s, losses=losses)
        viewing = deps.feeds.look_up(
            rows, now_ms=ask.now_ms, within_s=deadline.remaining_s(), losses=losses
        )
        offered = both.create_task(_timed(times, Stage.LOOKUPS, offering))
        viewed = both.create_task(_timed(times, Stage.FEEDS, viewing))
    offers, market = offered.result(), viewed.result()
    with times.timed(Stage.PRICING.value):
        priced = np.flatnonzero(offers.price_known & (offers.list_price_minor > 0))
        offers = offers.taken(priced)
        cost_as_of_ms = deps.offers.cost_as_of_ms(offers.rows, ask.now_ms)
        inputs = _inputs(offers, cost_as_of_ms, _taken(market, priced), catalogue, ask.now_ms)
        suggestions = suggest_prices(inputs, settings.limits, settings.method)
    return PriceAnswer(
        ask=ask,
        release=deps.release.tables.release,
        failures=_failures(asked_rows, known[priced]),
        places=known[priced],
        inputs=inputs,
        price_as_of_ms=offers.price_as_of_ms,
        cost_as_of_ms=cost_as_of_ms,
        suggestions=suggestions,
        degraded=tuple(losses.found),
        stage_ms=times.by_stage() | {Stage.TOTAL.value: times.total_ms()},
    )


async def _timed(times: StageTimes, stage: Stage, work: Awaitable[_Found]) -> _Found:
    with times.timed(stage.value):
        return await work


def _failures(rows: NDArray[np.int64], answered: NDArray[np.int64]) -> dict[int, PriceFailure]:
    places = np.setdiff1d(np.arange(rows.size), answered).tolist()
    return {
        place: PriceFailure.NO_PRICE if rows[place] else PriceFailure.UNKNOWN_PRODUCT
        for place in places
    }


def _taken(market: MarketView, positions: NDArray[np.intp]) -> MarketView:
    return MarketView(**{name: getattr(market, name)[positions] for name in MarketView.__slots__})


def _inputs(
    offers: Offers,
    cost_as_of_ms: NDArray[np.float64],
    market: MarketView,
    catalogue: Catalogue,
    now_ms: int,
) -> PriceInputs:
    rows = offers.rows
    stock_told = offers.stock_known & offers.stock_tracked
    return PriceInputs(
        current_minor=offers.list_price_minor,
        # Without a list price to compare with, the relative limits leave no room: the price stays.
        list_minor=np.maximum(catalogue.list_price_minor[rows], 1),
        cost_minor=np.where(np.isnan(cost_as_of_ms), np.nan, offers.cost_minor),
        competitor_minor=market.competitor_minor,
        competitor_age_ms=now_ms - market.competitor_as_of_ms,
        units_per_day=market.units_per_day,
        elasticity=market.elasticity,
        demand_age_ms=now_ms - market.demand_as_of_ms,
        stock_units=np.where(stock_told, offers.stock, np.nan),
        stock_age_ms=np.where(stock_told, now_ms - offers.stock_as_of_ms, np.nan),
        promotion_runs=market.promotion_runs | (offers.discount > 0.0),
        promotion_in_ms=market.promotion_at_ms - now_ms,
        lowest_minor=market.lowest_minor,
        highest_minor=market.highest_minor,
        calendar_age_ms=now_ms - market.calendar_as_of_ms,
    )
