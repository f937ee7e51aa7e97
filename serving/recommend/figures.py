"""Figures: the last good answer of each of the shop's systems for every product of one release.

Answers are checked before they are kept: a misshapen or mostly senseless one counts as a lost
system, a single senseless figure as none for its product, but for stock below zero: that product is
oversold, so it is gone. What is unknown follows the table of fallbacks: last known figures within
their age limits, list price without promotion, the catalogue's cost and then a usual margin, no
back-order risk, and never a product that is known to be gone.

Shapes: R catalogue rows, N candidates of a call, M rows of one question.
"""

import numpy as np
from numpy.typing import NDArray

from serving.recommend.freshness import NEVER_MS
from serving.recommend.ports import Costs, Discounts, Prices, Stock, SupplyRisks
from serving.recommend.settings import OfferSettings
from shop.catalogue import Catalogue
from shop.errors import DependencyUnavailable
from shop.offers import Offers

MAX_PRICE_MINOR = 10**12  # ten billion in major units: beyond it a figure is a fault, not a price
_JUDGED_FROM = 8


class Figures:
    """Columns over the catalogue's rows, changed in place by the answers."""

    def __init__(self, catalogue: Catalogue, settings: OfferSettings) -> None:
        count = catalogue.product_count + 1
        self._settings = settings
        self._list_price = catalogue.list_price_minor.copy()  # [R] last good one
        self._priced = np.zeros(count, dtype=np.bool_)  # [R] the system has a price for it
        self._price_as_of_ms = np.full(count, NEVER_MS, dtype=np.int64)  # [R]
        self._stock = np.zeros(count, dtype=np.int64)  # [R]
        self._tracked = np.ones(count, dtype=np.bool_)  # [R]
        self._stock_as_of_ms = np.full(count, NEVER_MS, dtype=np.int64)  # [R]
        self._percent_off = np.zeros(count, dtype=np.float32)  # [R]
        self.shown_price = self._list_price.copy()  # [R] list price less promotion
        self.maybe_in_stock = np.ones(count, dtype=np.bool_)  # [R] False: known to be gone
        self.changes = 0  # how often either of them has: what was judged by them before is old
        self._catalogue = catalogue
        self._cost = np.zeros(count, dtype=np.int64)  # [R]
        self._cost_as_of_ms = np.full(count, NEVER_MS, dtype=np.int64)  # [R] never: not found
        self._backorder_risk = np.full(count, np.nan, dtype=np.float32)  # [R]
        self._supply_as_of_ms = np.full(count, NEVER_MS, dtype=np.int64)  # [R]

    def offers(
        self, rows: NDArray[np.int64], now_ms: int, promoted: NDArray[np.bool_] | None
    ) -> Offers:
        """Of `rows` [N], aligned. `promoted`: where promotions are current; None: everywhere."""
        settings = self._settings
        list_price, shown_price = self._list_price[rows], self.shown_price[rows]
        price_as_of = self._price_as_of_ms[rows]
        stock_as_of = self._stock_as_of_ms[rows]
        # What is known to be gone stays gone, however old the news: only an answer brings it back.
        stock_known = (now_ms - stock_as_of <= settings.stock_max_age_ms) | (
            ~self.maybe_in_stock[rows]
        )
        return Offers(
            rows=rows,
            price_minor=(
                shown_price if promoted is None else np.where(promoted, shown_price, list_price)
            ),
            list_price_minor=list_price,
            price_known=self._priced[rows] & (now_ms - price_as_of <= settings.price_max_age_ms),
            price_as_of_ms=np.maximum(price_as_of, 0),
            stock=self._stock[rows],
            stock_tracked=self._tracked[rows],
            stock_known=stock_known,
            stock_as_of_ms=np.maximum(stock_as_of, 0),
            cost_minor=self._costs(rows, list_price, now_ms),
            backorder_risk=np.where(
                now_ms - self._supply_as_of_ms[rows] <= settings.supply_max_age_ms,
                self._backorder_risk[rows],
                np.float32(np.nan),
            ),
        )

    def cost_as_of_ms(self, rows: NDArray[np.int64], now_ms: int) -> NDArray[np.float64]:
        """[N] since when the offers' costs hold: 0 for the catalogue's, NaN for a usual one."""
        told = np.where(self._catalogue.cost_known[rows], 0.0, np.nan)
        return np.where(self._has_cost(rows, now_ms), self._cost_as_of_ms[rows], told)

    def _has_cost(self, rows: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
        """[N] whether the cost system has told one that is young enough."""
        age_ms = now_ms - self._cost_as_of_ms[rows]
        return np.asarray(age_ms <= self._settings.cost_max_age_ms)

    def _costs(
        self, rows: NDArray[np.int64], list_price: NDArray[np.int64], now_ms: int
    ) -> NDArray[np.int64]:
        """[N] the cost system's, else the catalogue's, else what a usual margin leaves."""
        cost = self._cost[rows]
        known = self._has_cost(rows, now_ms)
        if known.all():
            return cost
        catalogue = self._catalogue
        usual = np.rint(list_price * (1.0 - self._settings.default_margin)).astype(np.int64)
        fallback = np.where(catalogue.cost_known[rows], catalogue.cost_minor[rows], usual)
        return np.where(known, cost, fallback)

    def store_prices(self, rows: NDArray[np.int64], answer: Prices, now_ms: int) -> None:
        """Rows [M] asked at `now_ms`. Raises DependencyUnavailable if the answer is none."""
        _check_lengths("price", rows, answer.price_minor, answer.found)
        price = answer.price_minor
        sensible = ~answer.found | ((price > 0) & (price <= MAX_PRICE_MINOR))
        _check_sense("price", sensible)
        rows, price, found = rows[sensible], price[sensible], answer.found[sensible]
        self._list_price[rows[found]] = price[found]
        self._priced[rows] = found
        self._price_as_of_ms[rows] = now_ms
        self._show_prices(rows)

    def store_stock(self, rows: NDArray[np.int64], answer: Stock, now_ms: int) -> None:
        """Rows [M] asked at `now_ms`. Raises DependencyUnavailable if the answer is none."""
        _check_lengths("inventory", rows, answer.units, answer.tracked, answer.found)
        _check_sense("inventory", ~answer.found | ~answer.tracked | (answer.units >= 0))
        told = answer.found
        rows, units, tracked = rows[told], answer.units[told], answer.tracked[told]
        self._stock[rows] = np.maximum(units, 0)
        self._tracked[rows] = tracked
        maybe_in_stock = ~tracked | (units > 0)
        if not np.array_equal(self.maybe_in_stock[rows], maybe_in_stock):
            self.maybe_in_stock[rows] = maybe_in_stock
            self.changes += 1
        self._stock_as_of_ms[rows] = now_ms

    def store_promotions(self, rows: NDArray[np.int64], answer: Discounts, now_ms: int) -> None:
        """Rows [M] asked at `now_ms`. Raises DependencyUnavailable if the answer is none."""
        _check_lengths("promotion", rows, answer.percent_off)
        percent = answer.percent_off
        sensible = (percent >= 0.0) & (percent <= 100.0)  # False for NaN
        _check_sense("promotion", sensible)
        self._percent_off[rows] = np.where(sensible, percent, 0.0)
        self._show_prices(rows)

    def store_costs(self, rows: NDArray[np.int64], answer: Costs, now_ms: int) -> None:
        """Rows [M] asked at `now_ms`. Raises DependencyUnavailable if the answer is none."""
        _check_lengths("cost", rows, answer.cost_minor, answer.found)
        cost = answer.cost_minor
        sensible = ~answer.found | ((cost >= 0) & (cost <= MAX_PRICE_MINOR))
        _check_sense("cost", sensible)
        self._cost[rows] = cost
        self._cost_as_of_ms[rows] = np.where(answer.found & sensible, now_ms, NEVER_MS)

    def store_supply(self, rows: NDArray[np.int64], answer: SupplyRisks, now_ms: int) -> None:
        """Rows [M] asked at `now_ms`. Raises DependencyUnavailable if the answer is none."""
        risk, days = answer.backorder_risk, answer.days_to_restock
        _check_lengths("supply", rows, risk, days, answer.found)
        sensible = ~answer.found | ((risk >= 0.0) & (risk <= 1.0) & (days >= 0.0))  # not NaN
        _check_sense("supply", sensible)
        felt = np.where(days > self._settings.backorder_patience_days, risk, np.float32(0.0))
        self._backorder_risk[rows] = np.where(answer.found & sensible, felt, np.float32(np.nan))
        self._supply_as_of_ms[rows] = now_ms

    def _show_prices(self, rows: NDArray[np.int64]) -> None:
        share = 1.0 - self._percent_off[rows].astype(np.float64) / 100.0
        shown = np.rint(self._list_price[rows] * share).astype(np.int64)
        if not np.array_equal(self.shown_price[rows], shown):
            self.shown_price[rows] = shown
            self.changes += 1


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
