"""Market: what competitors ask for the shop's products, and the calendar of its own prices.

Competitors' prices follow from product, seed and week alone, as campaigns do: up to three of them
sell a product, each around the price it had when the market was opened, and a crawler saw each
within the last day, now and then days ago. The calendar tells the promotions to come, which are
`simulator.campaigns`', and the list prices of the last 24 hours.

Shapes: R catalogue rows, N products asked for, K competitors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.campaigns import campaign_weeks, percent_off
from simulator.stockroom import StockRoom

COMPETITORS = 3
SELLS_IT = 0.7  # chance that a competitor has a product
HORIZON_WEEKS = 8  # how far ahead promotions are planned
_SPREAD = 0.08  # of a competitor's price around the shop's, as a logarithm
_WEEKLY = 0.03
_MISSED = 0.05  # share of prices that the crawler has not seen for days
_DAY_MS, _WEEK_MS = 86_400_000, 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class _Offer:
    """A competitor's price that was set by hand."""

    price_minor: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class _Change:
    """A list price that was replaced."""

    time_ms: int
    row: int
    before_minor: int


@dataclass(frozen=True, slots=True, eq=False)
class CompetitorOffers:
    """[N, K] prices and ages; `sells` says where there is one."""

    sells: NDArray[np.bool_]
    price_minor: NDArray[np.int64]
    age_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """[N] each; `in_ms` means nothing where no promotion is planned."""

    runs: NDArray[np.bool_]
    planned: NDArray[np.bool_]
    in_ms: NDArray[np.int64]
    lowest_minor: NDArray[np.int64]
    highest_minor: NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Market:
    """The world around one stock room. Prices set by hand replace what follows from the seed."""

    room: StockRoom
    _base_minor: NDArray[np.float64] = field(init=False)  # [R] where competitors' prices started
    _by_hand: dict[int, _Offer] = field(init=False, default_factory=dict)
    _changes: list[_Change] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._base_minor = self.room.price_minor.astype(np.float64)

    def offers(self, rows: NDArray[np.int64], now_ms: int) -> CompetitorOffers:
        """What competitors ask now for the products in `rows` [N]; nothing for row 0."""
        keys = self.room.keys[rows][:, None]
        who = np.arange(COMPETITORS, dtype=np.uint64)[None]
        sells = (self._chance(keys, who, 1) < SELLS_IT) & (rows[:, None] > 0)
        week = np.uint64(now_ms // _WEEK_MS)
        away = _SPREAD * _spread(self._chance(keys, who, 2))
        away = away + _WEEKLY * _spread(
            self._chance(keys, who, week * np.uint64(64) + np.uint64(3))
        )
        price = np.maximum(np.rint(self._base_minor[rows][:, None] * np.exp(away)), 1.0)
        # Each price is seen once a day, at an hour of its own; the missed ones three days ago too.
        age_ms = (now_ms + (self._chance(keys, who, 4) * _DAY_MS).astype(np.int64)) % _DAY_MS
        age_ms = age_ms + np.where(self._chance(keys, who, 5) < _MISSED, 3 * _DAY_MS, 0)
        offers = CompetitorOffers(sells, price.astype(np.int64), age_ms.astype(np.int64))
        for at, row in enumerate(rows.tolist()):
            if row in self._by_hand:
                offers.sells[at] = np.arange(COMPETITORS) == 0
                offers.price_minor[at, 0] = self._by_hand[row].price_minor
                offers.age_ms[at, 0] = max(0, now_ms - self._by_hand[row].seen_ms)
        return offers

    def set_offers(
        self,
        product_ids: Sequence[str],
        price_minor: Sequence[int],
        age_ms: Sequence[int],
        now_ms: int,
    ) -> list[str]:
        """One competitor for each product from now on; returns unknown ids. Raises ValueError."""
        if not len(product_ids) == len(price_minor) == len(age_ms):
            raise ValueError(
                f"{len(product_ids)} products, {len(price_minor)} prices, {len(age_ms)} ages"
            )
        unknown = []
        for product_id, price, age in zip(product_ids, price_minor, age_ms, strict=True):
            row = self.room.row_of.get(product_id)
            if row is None:
                unknown.append(product_id)
            else:
                self._by_hand[row] = _Offer(price, now_ms - age)
        return unknown

    def calendar(self, rows: NDArray[np.int64], now_ms: int) -> Calendar:
        """Promotions and price history of the products in `rows` [N]."""
        keys, seed = self.room.keys[rows], self.room.seed
        runs = (percent_off(keys, now_ms, seed) > 0.0) & (rows > 0)
        planned = np.zeros(rows.size, dtype=np.bool_)
        in_ms = np.zeros(rows.size, dtype=np.int64)
        first_day = (keys % np.uint64(7)).astype(np.int64)
        for ahead in range(1, HORIZON_WEEKS + 1):
            start_ms = ((campaign_weeks(keys, now_ms) + ahead) * 7 - first_day) * _DAY_MS
            begins = (percent_off(keys, start_ms, seed) > 0.0) & ~planned & (rows > 0)
            in_ms[begins] = start_ms[begins] - now_ms
            planned |= begins
        lowest, highest = self._price_range(rows, now_ms)
        return Calendar(runs, planned, in_ms, lowest, highest)

    def note_changes(self, product_ids: Sequence[str], now_ms: int) -> None:
        """The list prices of these products are about to be replaced."""
        self._changes = [c for c in self._changes if c.time_ms > now_ms - _DAY_MS]
        for row in self.room.rows_of(product_ids).tolist():
            self._changes.append(_Change(now_ms, row, int(self.room.price_minor[row])))

    def _price_range(
        self, rows: NDArray[np.int64], now_ms: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lowest = self.room.price_minor[rows].copy()
        highest = lowest.copy()
        for change in self._changes:
            if change.time_ms > now_ms - _DAY_MS:
                lowest[rows == change.row] = np.minimum(
                    lowest[rows == change.row], change.before_minor
                )
                highest[rows == change.row] = np.maximum(
                    highest[rows == change.row], change.before_minor
                )
        return lowest, highest

    def _chance(
        self, keys: NDArray[np.uint64], who: NDArray[np.uint64], what: int | np.uint64
    ) -> NDArray[np.float64]:
        """Even shares 0..1 that follow from product, competitor, question and seed (SplitMix64)."""
        with np.errstate(over="ignore"):  # wrapping round is what the mixing is made of
            z = (
                keys
                + who * np.uint64(0x9E3779B97F4A7C15)
                + np.uint64(what) * np.uint64(0xC2B2AE3D27D4EB4F)
            )
            z = z + np.uint64(self.room.seed) * np.uint64(0xD1B54A32D192ED03)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        return np.asarray((z >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _spread(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even shares as even values of mean 0 and variance 1."""
    return (share - 0.5) * np.sqrt(12.0)
