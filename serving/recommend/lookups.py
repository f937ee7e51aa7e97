"""Lookups: price, stock and promotion of every candidate, as of now, within one budget.

`OfferCache` holds the last good answer of each system for every product of one release. A call asks
only for what is older than the time to live, one bulk question per system, all three side by side.
Answers are checked: a misshapen or mostly senseless one counts as a lost system, a single senseless
figure as none for its product, but for stock below zero: that product is oversold, so it is gone.
What stays unanswered follows the table of fallbacks: last known
price and stock within their age limits, list price without promotion, and never a product that is
known to be gone.

Shapes: R catalogue rows, N candidates of a call, M rows of one question.
"""

import asyncio

import numpy as np
from numpy.typing import NDArray

from serving.deadline import Clock
from serving.recommend.breaker import CircuitBreaker
from serving.recommend.ports import BusinessSystems
from serving.recommend.refresh import NEVER_MS, AskAndStore, Refresh
from serving.recommend.request import Degradation, Losses, Stage
from serving.recommend.settings import OfferSettings
from shop.catalogue import Catalogue
from shop.errors import DependencyUnavailable
from shop.offers import Offers

MAX_PRICE_MINOR = 10**12  # ten billion in major units: beyond it a figure is a fault, not a price
_JUDGED_FROM = 8


class OfferCache:
    """Last known prices, stock and promotions. One per release, because rows are the release's."""

    def __init__(
        self,
        catalogue: Catalogue,
        systems: BusinessSystems,
        settings: OfferSettings,
        clock: Clock,
    ) -> None:
        count = catalogue.product_count + 1
        self._catalogue = catalogue
        self._systems = systems
        self._settings = settings
        self._ask_s = settings.ask_ms / 1000.0
        self._list_price = catalogue.list_price_minor.copy()  # [R] last good one
        self._priced = np.zeros(count, dtype=np.bool_)  # [R] the system has a price for it
        self._price_as_of_ms = np.full(count, NEVER_MS, dtype=np.int64)  # [R]
        self._stock = np.zeros(count, dtype=np.int64)  # [R]
        self._tracked = np.ones(count, dtype=np.bool_)  # [R]
        self._stock_as_of_ms = np.full(count, NEVER_MS, dtype=np.int64)  # [R]
        self._percent_off = np.zeros(count, dtype=np.float32)  # [R]
        self._shown_price = self._list_price.copy()  # [R] list price less promotion
        self._maybe_in_stock = np.ones(count, dtype=np.bool_)  # [R] False: known to be gone
        self._prices = self._refresh(self._ask_prices, clock)
        self._stocks = self._refresh(self._ask_stock, clock)
        self._promotions = self._refresh(self._ask_promotions, clock)

    def _refresh(self, ask_and_store: AskAndStore, clock: Clock) -> Refresh:
        settings = self._settings
        breaker = CircuitBreaker(
            clock,
            failures=settings.breaker_failures,
            open_s=settings.breaker_open_ms / 1000.0,
        )
        return Refresh(
            ask_and_store,
            breaker,
            row_count=self._catalogue.product_count + 1,
            ttl_ms=settings.ttl_ms,
            ask_s=self._ask_s,
        )

    @property
    def price_minor(self) -> NDArray[np.int64]:
        """[R] the price last seen, the catalogue's where none was. Read only."""
        return self._shown_price

    @property
    def maybe_in_stock(self) -> NDArray[np.bool_]:
        """[R] False where the product is known to be gone. Read only."""
        return self._maybe_in_stock

    async def look_up(
        self, rows: NDArray[np.int64], *, now_ms: int, within_s: float, losses: Losses
    ) -> Offers:
        """Offers for `rows` [N] (no duplicates), aligned with them. Never fails; notes losses."""
        refreshes = (self._prices, self._stocks, self._promotions)
        questions = set().union(*(refresh.start(rows, now_ms) for refresh in refreshes))
        if questions:
            answered, _ = await asyncio.wait(questions, timeout=within_s)
            for question in answered:
                question.result()  # a bug in a question is a bug of the call, not a lost system
        promoted = self._promotions.is_current(rows, now_ms)
        for current, lost in (
            (self._prices.is_current(rows, now_ms), Degradation.STALE_PRICE),
            (self._stocks.is_current(rows, now_ms), Degradation.STALE_STOCK),
            (promoted, Degradation.DEFAULT_OFFER),
        ):
            if not current.all():
                losses.add(Stage.LOOKUPS, lost)
        return self._offers(rows, now_ms, promoted)

    async def close(self) -> None:
        """End the questions still under way. Call it when no request uses this release any more."""
        for refresh in (self._prices, self._stocks, self._promotions):
            await refresh.close()

    def _offers(self, rows: NDArray[np.int64], now_ms: int, promoted: NDArray[np.bool_]) -> Offers:
        settings, catalogue = self._settings, self._catalogue
        list_price = self._list_price[rows]
        price_as_of = self._price_as_of_ms[rows]
        stock, stock_as_of = self._stock[rows], self._stock_as_of_ms[rows]
        # What is known to be gone stays gone, however old the news: only an answer brings it back.
        stock_known = (now_ms - stock_as_of <= settings.stock_max_age_ms) | (
            ~self._maybe_in_stock[rows]
        )
        default_cost = np.rint(list_price * (1.0 - settings.default_margin)).astype(np.int64)
        return Offers(
            rows=rows,
            price_minor=np.where(promoted, self._shown_price[rows], list_price),
            list_price_minor=list_price,
            price_known=self._priced[rows] & (now_ms - price_as_of <= settings.price_max_age_ms),
            price_as_of_ms=np.maximum(price_as_of, 0),
            stock=stock,
            stock_tracked=self._tracked[rows],
            stock_known=stock_known,
            stock_as_of_ms=np.maximum(stock_as_of, 0),
            cost_minor=np.where(
                catalogue.cost_known[rows], catalogue.cost_minor[rows], default_cost
            ),
            backorder_risk=np.full(rows.size, np.nan, dtype=np.float32),
        )

    async def _ask_prices(self, rows: NDArray[np.int64], now_ms: int) -> None:
        answer = await self._systems.pricing.prices(self._ids(rows), timeout_s=self._ask_s)
        _check_lengths("price", rows, answer.price_minor, answer.found)
        price = answer.price_minor
        sensible = ~answer.found | ((price > 0) & (price <= MAX_PRICE_MINOR))
        _check_sense("price", sensible)
        rows, price, found = rows[sensible], price[sensible], answer.found[sensible]
        self._list_price[rows[found]] = price[found]
        self._priced[rows] = found
        self._price_as_of_ms[rows] = now_ms
        self._show_prices(rows)

    async def _ask_stock(self, rows: NDArray[np.int64], now_ms: int) -> None:
        answer = await self._systems.inventory.stock(self._ids(rows), timeout_s=self._ask_s)
        _check_lengths("inventory", rows, answer.units, answer.tracked, answer.found)
        _check_sense("inventory", ~answer.found | ~answer.tracked | (answer.units >= 0))
        told = answer.found
        rows, units, tracked = rows[told], answer.units[told], answer.tracked[told]
        self._stock[rows] = np.maximum(units, 0)
        self._tracked[rows] = tracked
        self._maybe_in_stock[rows] = ~tracked | (units > 0)
        self._stock_as_of_ms[rows] = now_ms

    async def _ask_promotions(self, rows: NDArray[np.int64], now_ms: int) -> None:
        answer = await self._systems.promotions.promotions(self._ids(rows), timeout_s=self._ask_s)
        _check_lengths("promotion", rows, answer.percent_off)
        percent = answer.percent_off
        sensible = (percent >= 0.0) & (percent <= 100.0)  # False for NaN
        _check_sense("promotion", sensible)
        self._percent_off[rows] = np.where(sensible, percent, 0.0)
        self._show_prices(rows)

    def _show_prices(self, rows: NDArray[np.int64]) -> None:
        share = 1.0 - self._percent_off[rows].astype(np.float64) / 100.0
        self._shown_price[rows] = np.rint(self._list_price[rows] * share)

    def _ids(self, rows: NDArray[np.int64]) -> list[str]:
        ids: list[str] = self._catalogue.product_ids[rows].tolist()
        return ids


def _check_lengths(dependency: str, rows: NDArray[np.int64], *columns: NDArray[np.generic]) -> None:
    for column in columns:
        if column.shape != rows.shape:
            raise DependencyUnavailable(
                dependency, f"answered {column.shape} for {rows.size} products"
            )


def _check_sense(dependency: str, sensible: NDArray[np.bool_]) -> None:
    # In a question about one or two products a single bad figure says nothing of the system.
    if sensible.size >= _JUDGED_FROM and 2 * np.count_nonzero(sensible) < sensible.size:
        raise DependencyUnavailable(dependency, "answered mostly figures that make no sense")
