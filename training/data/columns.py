"""Columns: what the cells of a source file mean, with a fault for every cell that means nothing.

Each function reads one column of the sieve's table, text or typed alike (CSV gives text), marks
the rows it cannot use, and returns a full column in which those rows hold a harmless value.
Shapes: N rows of the file.
"""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shop.errors import DataRejected
from training.data.sieve import Sieve
from training.data.snapshot import FIRST_MS, LAST_MS, MAX_ID_CHARACTERS, MAX_PRICE_MINOR
from training.data.snapshot import MAX_TEXT_CHARACTERS as MAX_TEXT_CHARACTERS

_WHOLE = r"^[+-]?[0-9]{1,18}(\.0{1,6})?$"
_NUMBER = r"^[+-]?([0-9]{1,18}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?$"
_MINOR_PER_MAJOR = 100
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M")
_PER_MS = {"us": 1_000, "ns": 1_000_000}


def text(sieve: Sieve, column: str, *, required: bool = False) -> pa.Array:
    """[N] trimmed text, "" where there is none (a fault only if `required`)."""
    return _text(sieve, column, MAX_TEXT_CHARACTERS, required=required)


def identifier(sieve: Sieve, column: str, *, required: bool = True) -> pa.Array:
    """[N] ids as text; 17850.0, as spreadsheets write whole numbers, is 17850."""
    ids = _text(sieve, column, MAX_ID_CHARACTERS, required=required)
    return pc.replace_substring_regex(ids, r"^([0-9]+)\.0$", r"\1")


def integers(
    sieve: Sieve, column: str, *, low: int, high: int, default: int | None = None
) -> NDArray[np.int64]:
    """[N] whole numbers within low..high; an empty cell is `default`, or a fault without one."""
    cells = _cells(sieve, column)
    if pa.types.is_integer(cells.type):
        values, empty, bad = _from_integers(cells)
    else:
        numbers, empty, bad = _numbers(cells)
        bad |= numbers != np.floor(numbers)
        bad |= np.abs(numbers) > 2.0**53
        values = np.where(bad, 0, numbers).astype(np.int64)
    sieve.fault(bad, f"{column} is not a whole number")
    _fault_empty(sieve, column, empty, default)
    sieve.fault(~empty & ((values < low) | (values > high)), f"{column} is outside {low}..{high}")
    return np.where(empty, 0 if default is None else default, values)


def numbers(
    sieve: Sieve, column: str, *, low: float, high: float, default: float | None = None
) -> NDArray[np.float64]:
    """[N] finite numbers within low..high; an empty cell is `default`, or a fault without one."""
    values, empty, bad = _numbers(_cells(sieve, column))
    sieve.fault(bad, f"{column} is not a finite number")
    _fault_empty(sieve, column, empty, default)
    sieve.fault(~empty & ((values < low) | (values > high)), f"{column} is outside {low}..{high}")
    return np.where(empty, 0.0 if default is None else default, values)


def price_minor(sieve: Sieve, column: str) -> NDArray[np.int64]:
    """[N] prices in minor units from a column in major units; none is zero or negative."""
    values, empty, bad = _numbers(_cells(sieve, column))
    sieve.fault(bad, f"{column} is not a finite number")
    _fault_empty(sieve, column, empty, None)
    minor = np.rint(np.clip(values, -1e12, 1e12) * _MINOR_PER_MAJOR).astype(np.int64)
    sieve.fault(minor < 0, f"{column} is negative")
    sieve.fault(minor == 0, f"{column} is zero")
    most = MAX_PRICE_MINOR // _MINOR_PER_MAJOR
    sieve.fault(minor > MAX_PRICE_MINOR, f"{column} is absurd: more than {most}")
    return minor


def times_ms(sieve: Sieve, column: str) -> NDArray[np.int64]:
    """[N] Unix milliseconds from timestamps, or from text in ISO or US order; UTC."""
    cells = _cells(sieve, column)
    parsed = cells if pa.types.is_temporal(cells.type) else _parsed_times(sieve, column, cells)
    if pa.types.is_time(parsed.type) or pa.types.is_duration(parsed.type):
        raise DataRejected(f"{sieve.source.file}: column {column} is {parsed.type}; need dates")
    empty = _mask(pc.is_null(parsed))
    _fault_empty(sieve, column, _mask(pc.is_null(cells)), None)
    sieve.fault(empty, f"{column} is not a date and time")
    ms = np.where(empty, FIRST_MS, _to_ms(parsed))
    years = " to ".join(str(datetime.fromtimestamp(t / 1000, tz=UTC).year) for t in _RANGE)
    sieve.fault((ms < FIRST_MS) | (ms >= LAST_MS), f"{column} is outside {years}")
    return ms


_RANGE = (FIRST_MS, LAST_MS)


def _cells(sieve: Sieve, column: str) -> pa.Array:
    cells = sieve.source.table[column].combine_chunks()
    if isinstance(cells, pa.ChunkedArray):  # pyarrow: an empty table stays chunked
        cells = pa.concat_arrays(cells.chunks) if cells.num_chunks else pa.array([], cells.type)
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type):
        raise DataRejected(f"{sieve.source.file}: column {column} holds lists; need plain values")
    if pa.types.is_string(cells.type):
        cells = cells.cast(pa.large_string())
    return cells


def _text(sieve: Sieve, column: str, most: int, *, required: bool) -> pa.Array:
    cells = _cells(sieve, column)
    if pa.types.is_floating(cells.type):
        # Whole numbers only: an id such as 17850.5 would not survive its way through a float.
        whole = _mask(pc.equal(cells, pc.floor(cells)))
        sieve.fault(_mask(pc.is_valid(cells)) & ~whole, f"{column} is not an id or text")
        cells = pc.if_else(whole & _mask(pc.less(pc.abs(cells), 2.0**53)), cells, None)
        cells = cells.cast(pa.int64())
    if not pa.types.is_large_string(cells.type):
        cells = _as_text(sieve, column, cells)
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(cells, ""))
    sieve.fault(pc.greater(pc.utf8_length(trimmed), most), f"{column} is longer than {most}")
    sieve.fault(
        pc.match_substring_regex(trimmed, r"[\x00-\x1f]"), f"{column} has control characters"
    )
    if required:
        sieve.fault(pc.equal(trimmed, ""), f"{column} is empty")
    return trimmed


def _as_text(sieve: Sieve, column: str, cells: pa.Array) -> pa.Array:
    if not (pa.types.is_integer(cells.type) or pa.types.is_null(cells.type)):
        raise DataRejected(f"{sieve.source.file}: column {column} is {cells.type}; need text")
    return cells.cast(pa.large_string())


def _numbers(
    cells: pa.Array,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """[N] values (0 where unusable), [N] is it empty, [N] is it no finite number."""
    empty = _mask(pc.is_null(cells))
    if pa.types.is_large_string(cells.type):
        trimmed = pc.utf8_trim_whitespace(cells)
        readable = pc.match_substring_regex(trimmed, _NUMBER)
        cells = pc.if_else(readable, trimmed, None)
    elif not (pa.types.is_integer(cells.type) or _is_fractional(cells.type)):
        cells = pa.nulls(len(cells))  # a type that holds no numbers: every cell is a fault
    values = pc.fill_null(cells.cast(pa.float64(), safe=False), np.nan).to_numpy()
    bad = ~np.isfinite(values) & ~empty
    return np.where(np.isfinite(values), values, 0.0), empty, bad


def _is_fractional(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _from_integers(
    cells: pa.Array,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    empty = _mask(pc.is_null(cells))
    bad = np.zeros(len(cells), dtype=np.bool_)
    if pa.types.is_uint64(cells.type):
        bad = _mask(pc.greater(cells, 2**63 - 1))
        cells = pc.if_else(bad, 0, cells)
    return pc.fill_null(cells.cast(pa.int64()), 0).to_numpy(), empty, bad


def _fault_empty(
    sieve: Sieve, column: str, empty: NDArray[np.bool_], default: float | None
) -> None:
    if default is None:
        sieve.fault(empty, f"{column} is empty")


def _parsed_times(sieve: Sieve, column: str, cells: pa.Array) -> pa.Array:
    if not pa.types.is_large_string(cells.type):
        raise DataRejected(f"{sieve.source.file}: column {column} is {cells.type}; need dates")
    plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(cells), r"( ?UTC|Z|\.0+)$", "")
    plain = pc.replace_substring_regex(plain, r"^(\d{4}-\d\d-\d\d)T", r"\1 ")
    times = pa.nulls(len(cells), pa.timestamp("ms"))
    for form in _TIME_FORMATS:
        if not _mask(pc.is_null(times)).any():
            break
        times = pc.coalesce(times, pc.strptime(plain, format=form, unit="ms", error_is_null=True))
    return _without_wrong_days(plain, times)


def _without_wrong_days(plain: pa.Array, times: pa.Array) -> pa.Array:
    # strptime takes 31 February for 3 March; the written day gives it away.
    written = pc.struct_field(
        pc.extract_regex(plain, r"^(?:\d{4}-\d{1,2}-|\d{1,2}/)(?P<day>\d{1,2})"), "day"
    )
    right = pc.equal(written.cast(pa.int64()), pc.day(times))
    return pc.if_else(pc.fill_null(right, False), times, None)


def _to_ms(times: pa.Array) -> NDArray[np.int64]:
    """[N] milliseconds of timestamps or dates, clipped to what fits; 0 where null."""
    if pa.types.is_date32(times.type):
        raw, scale = times.cast(pa.int32()).cast(pa.int64()), 86_400_000
    elif pa.types.is_date64(times.type):
        raw, scale = times.cast(pa.int64()), 1
    else:
        raw = times.cast(pa.timestamp(times.type.unit)).cast(pa.int64())
        scale = 1_000 if times.type.unit == "s" else 1
    values = pc.fill_null(raw, 0).to_numpy()
    unit = times.type.unit if pa.types.is_timestamp(times.type) else "ms"
    values = values // _PER_MS.get(unit, 1)
    most = np.iinfo(np.int64).max // scale
    return np.clip(values, -most, most) * scale


def _mask(values: pa.Array) -> NDArray[np.bool_]:
    filled = pc.fill_null(values, False)
    mask: NDArray[np.bool_] = filled.to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask
