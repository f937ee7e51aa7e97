"""Feeds: competitors' prices, demand and the price calendar, as last known, within one budget.

`FeedCache` keeps the last good answer of each feed for every product of one release, asked and kept
current as `serving.recommend.lookups` does it: one bulk question per feed, all side by side, each
behind its own breaker. A misshapen or mostly senseless answer counts as a lost feed; a single
senseless figure is passed on, because `shop.price_drivers` drops and names it. How old a figure may
be is for the price method to say.

Shapes: R catalogue rows, N products of a call, M rows of one question, K competitors at most.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.deadline import Clock
from serving.recommend.breaker import CircuitBreaker
from serving.recommend.feed_ports import CompetitorPrices, Demand, Plans, PriceFeeds
from serving.recommend.freshness import Freshness
from serving.recommend.price_settings import PricingSettings
from serving.recommend.refresh import Refresh, Store
from serving.recommend.request import Degradation, Losses, Stage
from serving.recommend.second_calls import SecondCalls
from shop.catalogue import Catalogue
from shop.errors import DependencyUnavailable

_JUDGED_FROM = 8
_NO_PRICES = np.zeros((2, 0))
_Answer = TypeVar("_Answer", CompetitorPrices, Demand, Plans)


@dataclass(frozen=True, slots=True, eq=False)
class MarketView:
    """What the feeds know of the products of one call. NaN is unknown, in times too."""

    competitor_minor: NDArray[np.float64]  # [N, K]
    competitor_as_of_ms: NDArray[np.float64]  # [N, K]
    units_per_day: NDArray[np.float64]  # [N]
    elasticity: NDArray[np.float64]  # [N]
    demand_as_of_ms: NDArray[np.float64]  # [N]
    promotion_runs: NDArray[np.bool_]  # [N]
    promotion_at_ms: NDArray[np.float64]  # [N] when the next one begins; inf = none planned
    lowest_minor: NDArray[np.float64]  # [N]
    highest_minor: NDArray[np.float64]  # [N]
    calendar_as_of_ms: NDArray[np.float64]  # [N]


class FeedCache:
    """Last known answers of the feeds. One per release, because rows are the release's.

    Takes its memory (120 bytes a product) with the first look-up: most replicas never make one.
    """

    def __init__(
        self, catalogue: Catalogue, feeds: PriceFeeds, settings: PricingSettings, clock: Clock
    ) -> None:
        self._made_of = (catalogue, feeds, settings, clock)

    @cached_property
    def _columns(self) -> "_FeedColumns":
        return _FeedColumns(*self._made_of)

    async def look_up(
        self, rows: NDArray[np.int64], *, now_ms: int, within_s: float, losses: Losses
    ) -> MarketView:
        """What is known of `rows` [N] (no duplicates), aligned with them. Notes lost feeds."""
        return await self._columns.look_up(rows, now_ms=now_ms, within_s=within_s, losses=losses)

    async def close(self) -> None:
        """End the questions still under way. Call it when no request uses this release any more."""
        if "_columns" in vars(self):
            await self._columns.close()


class _FeedColumns:
    """The figures themselves, and who asks for them."""

    def __init__(
        self, catalogue: Catalogue, feeds: PriceFeeds, settings: PricingSettings, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._clock = clock
        # [2, …] prices and times by row, of the products that somebody asked for: these are few
        self._competitors: dict[int, NDArray[np.float64]] = {}
        self._units, self._elasticity, self._demand_as_of = self._unknown(3)
        self._starts_at, self._lowest, self._highest, self._calendar_as_of = self._unknown(4)
        self._runs = np.zeros(catalogue.product_count + 1, dtype=np.bool_)  # [R]
        self._freshness = Freshness(catalogue.product_count + 1)
        # Each feed with the reason that its loss has in the reply.
        self._refreshes: tuple[tuple[Refresh[Any], Degradation], ...] = (
            (
                self._refresh(
                    lambda ids: feeds.competitors.competitor_prices(
                        ids, timeout_s=settings.competitors_ask_ms / 1000.0
                    ),
                    self._store_competitors,
                    ask_ms=settings.competitors_ask_ms,
                    ttl_ms=settings.competitors_ttl_ms,
                ),
                Degradation.STALE_COMPETITORS,
            ),
            (
                self._refresh(
                    lambda ids: feeds.demand.demand(ids, timeout_s=settings.demand_ask_ms / 1000.0),
                    self._store_demand,
                    ask_ms=settings.demand_ask_ms,
                    ttl_ms=settings.demand_ttl_ms,
                ),
                Degradation.STALE_DEMAND,
            ),
            (
                self._refresh(
                    lambda ids: feeds.calendar.plans(
                        ids, timeout_s=settings.calendar_ask_ms / 1000.0
                    ),
                    self._store_plans,
                    ask_ms=settings.calendar_ask_ms,
                    ttl_ms=settings.calendar_ttl_ms,
                ),
                Degradation.STALE_CALENDAR,
            ),
        )

    def _unknown(self, count: int) -> NDArray[np.float64]:
        return np.full((count, self._catalogue.product_count + 1), np.nan)

    def _refresh(
        self,
        ask: Callable[[list[str]], Coroutine[Any, Any, _Answer]],
        store: Store[_Answer],
        *,
        ask_ms: float,
        ttl_ms: int,
    ) -> Refresh[_Answer]:
        breaker = CircuitBreaker(
            self._clock,
            failures=self._settings.breaker_failures,
            open_s=self._settings.breaker_open_ms / 1000.0,
        )
        return Refresh(
            lambda rows: ask(self._catalogue.product_ids[rows].tolist()),
            store,
            breaker,
            SecondCalls(self._clock, share=self._settings.second_call_share),
            self._freshness,
            ttl_ms=ttl_ms,
            ask_s=ask_ms / 1000.0,
        )

    async def look_up(
        self, rows: NDArray[np.int64], *, now_ms: int, within_s: float, losses: Losses
    ) -> MarketView:
        questions = set().union(*(refresh.start(rows, now_ms) for refresh, _ in self._refreshes))
        if questions:
            answered, _ = await asyncio.wait(questions, timeout=within_s)
            for question in answered:
                question.result()  # a bug in a question is a bug of the call, not a lost feed
        for refresh, lost in self._refreshes:
            if not refresh.is_current(rows, now_ms).all():
                losses.add(Stage.FEEDS, lost)
        return self._view(rows)

    async def close(self) -> None:
        for refresh, _ in self._refreshes:
            await refresh.close()

    def _view(self, rows: NDArray[np.int64]) -> MarketView:
        found = [self._competitors.get(row, _NO_PRICES) for row in rows.tolist()]
        most = max((each.shape[1] for each in found), default=0)
        competitors = np.full((2, rows.size, most), np.nan)
        for at, each in enumerate(found):
            competitors[:, at, : each.shape[1]] = each
        return MarketView(
            competitor_minor=competitors[0],
            competitor_as_of_ms=competitors[1],
            units_per_day=self._units[rows],
            elasticity=self._elasticity[rows],
            demand_as_of_ms=self._demand_as_of[rows],
            promotion_runs=self._runs[rows],
            promotion_at_ms=self._starts_at[rows],
            lowest_minor=self._lowest[rows],
            highest_minor=self._highest[rows],
            calendar_as_of_ms=self._calendar_as_of[rows],
        )

    def _store_competitors(
        self, rows: NDArray[np.int64], answer: CompetitorPrices, now_ms: int
    ) -> None:
        counts, price = answer.counts, answer.price_minor
        total = int(counts.sum())
        if counts.shape != rows.shape or (counts < 0).any() or total != price.size:
            raise DependencyUnavailable("competitors", "counts and prices do not fit together")
        _check_aligned("competitors", price, answer.age_ms)
        _check_sense("competitors", price >= 1.0)
        ends = np.cumsum(counts)
        told = np.stack([price, now_ms - answer.age_ms])
        for row, start, end in zip(
            rows.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True
        ):
            self._competitors[row] = told[:, start:end].copy()

    def _store_demand(self, rows: NDArray[np.int64], answer: Demand, now_ms: int) -> None:
        units, found = answer.units_per_day, answer.found
        _check_aligned("demand", rows, units, answer.elasticity, found)
        _check_sense("demand", ~found | (units >= 0.0))  # False for NaN
        self._units[rows] = np.where(found, units, np.nan)
        self._elasticity[rows] = np.where(found, answer.elasticity, np.nan)
        self._demand_as_of[rows] = now_ms - answer.age_ms

    def _store_plans(self, rows: NDArray[np.int64], answer: Plans, now_ms: int) -> None:
        found, lowest, highest = answer.found, answer.lowest_minor, answer.highest_minor
        columns = (answer.promotion_runs, answer.promotion_in_ms, lowest, highest, found)
        _check_aligned("calendar", rows, *columns)
        _check_sense("calendar", ~found | ((lowest >= 1.0) & (highest >= lowest)))
        self._runs[rows] = found & answer.promotion_runs
        self._starts_at[rows] = np.where(found, now_ms + answer.promotion_in_ms, np.nan)
        self._lowest[rows] = np.where(found, lowest, np.nan)
        self._highest[rows] = np.where(found, highest, np.nan)
        self._calendar_as_of[rows] = np.where(found, float(now_ms), np.nan)


def _check_aligned(feed: str, first: NDArray[np.generic], *others: NDArray[np.generic]) -> None:
    for other in others:
        if other.shape != first.shape:
            raise DependencyUnavailable(feed, f"answered {other.shape} for {first.shape}")


def _check_sense(feed: str, sensible: NDArray[np.bool_]) -> None:
    # In an answer of one or two figures a single bad one says nothing of the feed.
    if sensible.size >= _JUDGED_FROM and 2 * np.count_nonzero(sensible) < sensible.size:
        raise DependencyUnavailable(feed, "answered mostly figures that make no sense")
