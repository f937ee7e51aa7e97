"""Times: the date-and-time column of a source file as Unix milliseconds, UTC.

Shapes: N rows of the file.
"""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shop.errors import DataRejected
from training.data.columns import plain_cells_of
from training.data.sieve import Sieve
from training.data.snapshot import FIRST_MS, LAST_MS

# ISO as databases write it, and month first as the spreadsheet export of Online Retail has it.
_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M")
_PER_MS = {"us": 1_000, "ns": 1_000_000}
_MS_PER = {"s": 1_000, "day": 86_400_000}


def times_ms(sieve: Sieve, column: str) -> NDArray[np.int64]:
    """[N] milliseconds of timestamps, dates or text; every cell must be a time between FIRST_MS
    and LAST_MS."""
    cells = plain_cells_of(sieve, column)
    times = cells if _is_date(cells.type) else _parsed(sieve, column, cells)
    unreadable = pc.is_null(times).to_numpy(zero_copy_only=False)
    sieve.fault(pc.is_null(cells), f"{column} is empty")
    sieve.fault(unreadable, f"{column} is not a date and time")
    ms = np.where(unreadable, FIRST_MS, _to_ms(times))
    first, last = (datetime.fromtimestamp(t / 1000, tz=UTC).year for t in (FIRST_MS, LAST_MS))
    sieve.fault((ms < FIRST_MS) | (ms >= LAST_MS), f"{column} is outside {first}..{last}")
    return ms


def in_time_order(
    times_ms: NDArray[np.int64], sound: NDArray[np.bool_], notes: list[str]
) -> NDArray[np.int64]:
    """Positions of the sound rows by time, equal times as they stand. Notes it if that moved any:
    rows out of order are no fault, exports are often grouped by shopper."""
    rows = np.flatnonzero(sound)
    backwards = int(np.count_nonzero(np.diff(times_ms[rows]) < 0))
    if backwards:
        notes.append(f"rows were not in time order ({backwards} steps back) and have been sorted")
    return rows[np.argsort(times_ms[rows], kind="stable")]


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _parsed(sieve: Sieve, column: str, cells: pa.Array) -> pa.Array:
    if not pa.types.is_large_string(cells.type):
        raise DataRejected(f"{sieve.source.file}: column {column} is {cells.type}; need dates")
    plain = pc.replace_substring_regex(
        pc.utf8_trim_whitespace(cells), r"(\.[0-9]+)?( ?UTC|Z)?$", ""
    )
    plain = pc.replace_substring_regex(plain, r"^(\d{4}-\d\d-\d\d)T", r"\1 ")
    times = pa.nulls(len(cells), pa.timestamp("ms"))
    for form in _FORMATS:
        if pc.all(pc.is_valid(times)).as_py() is not False:
            break
        times = pc.coalesce(times, pc.strptime(plain, format=form, unit="ms", error_is_null=True))
    return _without_wrong_days(plain, times)


def _without_wrong_days(plain: pa.Array, times: pa.Array) -> pa.Array:
    # strptime takes 31 February for 3 March; the written day gives it away.
    parts = pc.extract_regex(plain, r"^(?:\d{4}-\d{1,2}-|\d{1,2}/)(?P<day>\d{1,2})")
    written = pc.struct_field(parts, "day").cast(pa.int64())
    return pc.if_else(pc.equal(written, pc.day(times)), times, None)


def _to_ms(times: pa.Array) -> NDArray[np.int64]:
    """[N] milliseconds, clipped to what fits; 0 where null."""
    unit = times.type.unit if pa.types.is_timestamp(times.type) else "ms"
    if pa.types.is_date32(times.type):
        times, unit = times.cast(pa.int32()), "day"
    values = pc.fill_null(times.cast(pa.int64()), 0).to_numpy() // _PER_MS.get(unit, 1)
    scale = _MS_PER.get(unit, 1)
    most = np.iinfo(np.int64).max // scale
    ms: NDArray[np.int64] = np.clip(values, -most, most) * scale
    return ms
