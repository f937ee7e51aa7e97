"""Stock room: what the simulated back-end systems know of stock, prices, costs and supply.

It is filled from any `products.parquet` in snapshot form, so every data set the shop can be trained
on can also be served. Answers are columns aligned with the question.

Shapes: R = P + 1 rows (row 0 = no product), N products asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.errors import DataRejected
from simulator.campaigns import campaign_weeks, percent_off, product_keys
from simulator.supply import backorder_risk

_Value = TypeVar("_Value", bound=np.generic)
_COLUMNS = ["product_id", "price_minor", "stock", "cost_minor", "supply_days"]


class RowOf(dict[str, int]):
    """Product id → row. An unknown one is looked up as 0, and not added."""

    def __missing__(self, product_id: str) -> int:
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class StockRoom:
    """Stock and prices, which change, and campaigns, which follow from id, seed and time."""

    row_of: RowOf
    stock: NDArray[np.int64]  # [R] changes in place
    tracked: NDArray[np.bool_]  # [R] False: the shop does not count this product
    price_minor: NDArray[np.int64]  # [R] changes in place
    cost_minor: NDArray[np.int64]  # [R] changes in place
    cost_known: NDArray[np.bool_]  # [R]
    supply_days: NDArray[np.int64]  # [R] until more can be had
    supply_known: NDArray[np.bool_]  # [R]
    keys: NDArray[np.uint64]  # [R] see campaigns.product_keys
    currency: str
    seed: int

    @staticmethod
    def from_products(path: Path, *, currency: str, seed: int) -> "StockRoom":
        """Raises DataRejected if the table cannot be read or lacks a column."""
        try:
            table = pq.read_table(path, columns=_COLUMNS)
        except (OSError, pa.ArrowInvalid, KeyError) as error:
            raise DataRejected(f"{path} is no products table: {error}") from error
        ids = table["product_id"].to_pylist()
        if len(table.column_names) != len(_COLUMNS) or not ids:
            raise DataRejected(f"{path} lacks one of {', '.join(_COLUMNS)}, or is empty")
        stock, tracked = _known(table, "stock")
        cost_minor, cost_known = _known(table, "cost_minor")
        supply_days, supply_known = _known(table, "supply_days")
        return StockRoom(
            row_of=RowOf((product_id, row) for row, product_id in enumerate(ids, start=1)),
            stock=stock,
            tracked=tracked,
            price_minor=_padded(table["price_minor"].to_numpy()),
            cost_minor=cost_minor,
            cost_known=cost_known,
            supply_days=supply_days,
            supply_known=supply_known,
            keys=product_keys(["", *ids]),
            currency=currency,
            seed=seed,
        )

    def rows_of(self, product_ids: Sequence[str]) -> NDArray[np.int64]:
        """[N] rows, 0 where unknown."""
        rows = map(self.row_of.__getitem__, product_ids)
        return np.fromiter(rows, np.int64, len(product_ids))

    def promotions(
        self, rows: NDArray[np.int64], now_ms: int
    ) -> tuple[NDArray[np.float64], list[str]]:
        """[N] percent off and campaign names now; 0 and "" where none runs."""
        percent = np.where(rows > 0, percent_off(self.keys[rows], now_ms, self.seed), 0.0)
        campaigns = [""] * rows.size
        reduced = np.flatnonzero(percent)
        weeks = campaign_weeks(self.keys[rows[reduced]], now_ms)
        for at, week in zip(reduced.tolist(), weeks.tolist(), strict=True):
            campaigns[at] = f"week {week}, {percent[at]:.0f} % off"
        return percent, campaigns

    def supply(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """[N] back-order risk, and whether it can be told. What is not counted never runs out."""
        tracked = self.tracked[rows]
        risk = backorder_risk(self.stock[rows], self.supply_days[rows])
        known = (rows > 0) & (self.supply_known[rows] | ~tracked)
        return np.where(tracked, risk, np.float32(0.0)), known

    def set_stock(self, product_ids: Sequence[str], units: Sequence[int]) -> list[str]:
        """Change stock figures, which counts these products from now on; returns unknown ids."""
        rows = self._changed(self.stock, product_ids, units)
        self.tracked[rows[rows > 0]] = True
        return [pid for pid, row in zip(product_ids, rows, strict=True) if row == 0]

    def set_prices(self, product_ids: Sequence[str], price_minor: Sequence[int]) -> list[str]:
        """Change list prices; returns unknown ids."""
        rows = self._changed(self.price_minor, product_ids, price_minor)
        return [pid for pid, row in zip(product_ids, rows, strict=True) if row == 0]

    def _changed(
        self, column: NDArray[np.int64], product_ids: Sequence[str], values: Sequence[int]
    ) -> NDArray[np.int64]:
        if len(product_ids) != len(values):
            raise ValueError(f"{len(product_ids)} products but {len(values)} values")
        rows = self.rows_of(product_ids)
        column[rows[rows > 0]] = np.array(values, dtype=np.int64)[rows > 0]
        return rows


def _known(table: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[R] values, 0 where there is none, and where there is one."""
    column = table[name].combine_chunks().cast(pa.int64())
    return (
        _padded(column.fill_null(0).to_numpy(zero_copy_only=False)),
        _padded(column.is_valid().to_numpy(zero_copy_only=False)),
    )


def _padded(values: NDArray[_Value]) -> NDArray[_Value]:
    return np.concatenate([np.zeros_like(values[:1]), values])
