"""Sales log: what a forecast needs from a snapshot's or a world's events, read in pieces.

Five million events take a few seconds and some megabytes: only sums are kept, and the sales.

Shapes: R catalogue rows, S sales, B bands of reductions, E events of one piece.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.errors import DataRejected
from shop.events import EventType
from simulator.forecast import BAND_COUNT, BAND_EDGES, Forecast, Sales, forecast_demand, no_forecast
from simulator.tables import EVENTS

_COLUMNS = ["time_ms", "product_id", "type", "quantity", "discount"]
_PIECE_ROWS = 1 << 18
_DAY_MS = 86_400_000
_MOST_DAYS = 3_660  # ten years; beyond it a time is a fault


def forecast_beside(products: Path, row_of: dict[str, int]) -> Forecast:
    """The forecast of the events that lie beside a products table.

    Nothing is known where there are none, or where only their order is known, not their time.
    Raises DataRejected if they cannot be read.
    """
    row_count = len(row_of) + 1
    events = products.parent / EVENTS
    if not events.exists() or not _time_is_real(products.parent):
        return no_forecast(row_count)
    try:
        sales = _read(events, row_of)
        codes = _category_codes(products)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataRejected(f"{events} cannot be read: {error}") from error
    return no_forecast(row_count) if sales is None else forecast_demand(sales, codes)


def _time_is_real(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "manifest.json").read_text()).get("time_is_real", True))
    except FileNotFoundError:
        return True  # a world's
    except (ValueError, AttributeError) as error:
        raise DataRejected(f"{folder / 'manifest.json'} cannot be read: {error}") from error


def _category_codes(products: Path) -> NDArray[np.int64]:
    """[R] one number per category, 0 for row 0."""
    column = pq.read_table(products, columns=["category"])["category"].combine_chunks()
    codes = column.dictionary_encode().indices.fill_null(0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], codes.astype(np.int64) + 1])


@dataclass(slots=True, eq=False)
class _Sums:
    """What is kept of the pieces read so far."""

    impressions: NDArray[np.int64]  # [R, B]
    purchases: NDArray[np.int64]  # [R, B]
    reduction: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BAND_COUNT))
    sales: list[NDArray[np.float64]] = field(default_factory=list)  # [3, …] row, time, units

    def add(self, piece: pa.RecordBatch, row_of: dict[str, int]) -> None:
        rows = _rows(piece.column("product_id"), row_of)
        discount = np.asarray(piece.column("discount"), dtype=np.float64)
        band = np.searchsorted(BAND_EDGES, discount, side="right")
        bought = _is(piece.column("type"), EventType.PURCHASE) & (rows > 0)
        shown = _is(piece.column("type"), EventType.IMPRESSION) & (rows > 0)
        cells = rows * BAND_COUNT + band
        for counts, counted in ((self.impressions, shown), (self.purchases, bought)):
            counts += np.bincount(cells[counted], minlength=counts.size).reshape(counts.shape)
        self.reduction += np.bincount(band[shown], discount[shown], minlength=BAND_COUNT)
        columns = (rows, piece.column("time_ms"), piece.column("quantity"))
        self.sales.append(np.stack([np.asarray(c, dtype=np.float64)[bought] for c in columns]))


def _read(events: Path, row_of: dict[str, int]) -> Sales | None:
    shape = (len(row_of) + 1, BAND_COUNT)
    sums = _Sums(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))
    first_ms, last_ms = 1 << 62, 0
    with pq.ParquetFile(events) as file:
        for piece in file.iter_batches(batch_size=_PIECE_ROWS, columns=_COLUMNS):
            if piece.num_rows:
                times = np.asarray(piece.column("time_ms"))
                first_ms = min(first_ms, int(times.min()))
                last_ms = max(last_ms, int(times.max()))
                sums.add(piece, row_of)
    first_day, last_day = first_ms // _DAY_MS, last_ms // _DAY_MS
    if not sums.sales or last_day - first_day >= _MOST_DAYS:
        return None
    rows, times_ms, units = np.concatenate(sums.sales, axis=1)
    return Sales(
        rows=rows.astype(np.int64),
        days=(times_ms // _DAY_MS).astype(np.int64) - first_day,
        units=units,
        day_count=last_day - first_day + 1,
        first_weekday=int((first_day + 3) % 7),  # the epoch was a Thursday
        impressions=sums.impressions,
        purchases=sums.purchases,
        reduction=sums.reduction / np.maximum(sums.impressions.sum(axis=0), 1),
    )


def _rows(column: pa.Array, row_of: dict[str, int]) -> NDArray[np.int64]:
    named = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    rows = np.array([row_of.get(name, 0) for name in named.dictionary.to_pylist()], dtype=np.int64)
    return rows[named.indices.to_numpy(zero_copy_only=False)] if rows.size else rows


def _is(column: pa.Array, kind: EventType) -> NDArray[np.bool_]:
    named = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    matches = np.array(
        [name == kind.value for name in named.dictionary.to_pylist()], dtype=np.bool_
    )
    return np.asarray(matches[named.indices.to_numpy(zero_copy_only=False)], dtype=np.bool_)
