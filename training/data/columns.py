"""Columns: what the cells of a source file mean, with a fault for every cell that means nothing.

Each function reads one column of the sieve's table, text or typed alike (CSV gives text), marks
the rows it cannot use, and returns a full column in which those rows hold a harmless value.
Dates and times are in `times`. Shapes: N rows of the file.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shop.errors import DataRejected
from training.data.coded import Coded
from training.data.sieve import Sieve
from training.data.snapshot import MAX_ID_CHARACTERS, MAX_PRICE_MINOR, MAX_TEXT_CHARACTERS

_NUMBER = r"^[+-]?([0-9]{1,18}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?$"
_MINOR_PER_MAJOR = 100
_EXACT = 2.0**53  # whole numbers beyond it do not survive a float


def cells_of(sieve: Sieve, column: str) -> pa.Array:
    """The column as one array. Raises DataRejected if it holds lists."""
    chunks = sieve.source.table.select([column]).unify_dictionaries()[column]
    cells = chunks.combine_chunks()
    if isinstance(cells, pa.ChunkedArray):  # pyarrow leaves some empty columns chunked
        cells = pa.concat_arrays(cells.chunks) if cells.num_chunks else pa.array([], cells.type)
    if pa.types.is_nested(cells.type):
        raise DataRejected(f"{sieve.source.file}: column {column} holds lists; need plain values")
    return cells


def plain_cells_of(sieve: Sieve, column: str) -> pa.Array:
    """As `cells_of`, without dictionaries, and with one kind of text, cut where it is too long to
    mean a number or a date."""
    cells = cells_of(sieve, column)
    if pa.types.is_dictionary(cells.type):
        values = cells.dictionary
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pc.utf8_slice_codeunits(values, 0, MAX_ID_CHARACTERS)
        cells = values.take(cells.indices)
    return cells.cast(pa.large_string()) if pa.types.is_string(cells.type) else cells


def text(sieve: Sieve, column: str, *, required: bool = False) -> Coded:
    """[N] trimmed text, "" where there is none (a fault only if `required`)."""
    return _text(sieve, column, MAX_TEXT_CHARACTERS, required=required)


def identifier(sieve: Sieve, column: str, *, required: bool = True) -> Coded:
    """[N] ids as text; 17850.0, as spreadsheets write whole numbers, is 17850."""
    ids = _text(sieve, column, MAX_ID_CHARACTERS, required=required)
    return ids.renamed(pc.replace_substring_regex(ids.names, r"^([0-9]+)\.0$", r"\1"))


def choice(sieve: Sieve, column: str, meanings: dict[str, str]) -> Coded:
    """[N] what each cell means; a cell that is none of the choices is a fault. An empty cell is
    the choice ""."""
    given = text(sieve, column, required="" not in meanings)
    names = given.names.to_pylist()
    unknown = pa.array([name not in meanings for name in names], pa.bool_())
    allowed = ", ".join(meaning for meaning in meanings if meaning)
    sieve.fault(given.rows_where(unknown), f"{column} is not one of {allowed}")
    return given.renamed(pa.array([meanings.get(name, "") for name in names], pa.string()))


def integers(
    sieve: Sieve, column: str, *, low: int, high: int, default: int | None = None
) -> NDArray[np.int64]:
    """[N] whole numbers within low..high; an empty cell is `default`, or a fault without one."""
    values, empty = _whole_numbers(sieve, column, low, high)
    _fault_empty(sieve, column, empty, default)
    return np.where(empty, 0 if default is None else default, values)


def known_integers(sieve: Sieve, column: str, *, low: int, high: int) -> pa.Array:
    """[N] whole numbers within low..high; null where unknown."""
    values, empty = _whole_numbers(sieve, column, low, high)
    return pa.array(values, mask=empty)


def numbers(
    sieve: Sieve, column: str, *, low: float, high: float, default: float | None = None
) -> NDArray[np.float64]:
    """[N] finite numbers within low..high; an empty cell is `default`, or a fault without one."""
    values, empty = _finite_numbers(sieve, column)
    _fault_empty(sieve, column, empty, default)
    sieve.fault(~empty & ((values < low) | (values > high)), f"{column} is outside {low}..{high}")
    return np.where(empty, 0.0 if default is None else default, values)


def price_minor(sieve: Sieve, column: str) -> NDArray[np.int64]:
    """[N] prices in minor units from a column in major units; none is zero or negative."""
    values, empty = _finite_numbers(sieve, column)
    _fault_empty(sieve, column, empty, None)
    minor = np.rint(np.clip(values, -1e12, 1e12) * _MINOR_PER_MAJOR).astype(np.int64)
    sieve.fault(minor < 0, f"{column} is negative")
    sieve.fault(minor == 0, f"{column} is zero")
    most = MAX_PRICE_MINOR // _MINOR_PER_MAJOR
    sieve.fault(minor > MAX_PRICE_MINOR, f"{column} is absurd: more than {most}")
    return minor


def _text(sieve: Sieve, column: str, most: int, *, required: bool) -> Coded:
    given = Coded.of(_as_text(sieve, column, cells_of(sieve, column)))
    names = pc.utf8_trim_whitespace(given.names)
    too_long = pc.greater(pc.utf8_length(names), most)
    sieve.fault(given.rows_where(too_long), f"{column} is longer than {most} characters")
    control = pc.match_substring_regex(names, r"[\x00-\x1f\x7f]")
    sieve.fault(given.rows_where(control), f"{column} has control characters")
    if required:
        sieve.fault(given.rows_where(pc.equal(names, "")), f"{column} is empty")
    return given.renamed(names)


def _as_text(sieve: Sieve, column: str, cells: pa.Array) -> pa.Array:
    """The cells as text or as a dictionary of text."""
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return cells
    if pa.types.is_floating(kind):
        # Whole numbers only: an id such as 17850.5 would not come out of a float as it went in.
        whole = pc.and_(pc.equal(cells, pc.floor(cells)), pc.less(pc.abs(cells), _EXACT))
        unfit = pc.and_(pc.is_valid(cells), pc.invert(pc.fill_null(whole, False)))
        sieve.fault(unfit, f"{column} is not an id or text")
        return pc.if_else(whole, cells, None).cast(pa.int64()).cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return cells.cast(pa.string())
    raise DataRejected(f"{sieve.source.file}: column {column} is {kind}; need text or whole ids")


def _whole_numbers(
    sieve: Sieve, column: str, low: int, high: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[N] values within low..high or marked, [N] is it empty."""
    cells = plain_cells_of(sieve, column)
    if pa.types.is_integer(cells.type):
        values, empty, bad = _from_integers(cells)
    else:
        parsed, empty, bad = _parsed_numbers(cells)
        bad |= (parsed != np.floor(parsed)) | (np.abs(parsed) > _EXACT)
        values = np.where(bad, 0, parsed).astype(np.int64)
    sieve.fault(bad, f"{column} is not a whole number")
    sieve.fault(~empty & ((values < low) | (values > high)), f"{column} is outside {low}..{high}")
    return values, empty


def _finite_numbers(sieve: Sieve, column: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, empty, bad = _parsed_numbers(plain_cells_of(sieve, column))
    sieve.fault(bad, f"{column} is not a finite number")
    return values, empty


def _parsed_numbers(
    cells: pa.Array,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """[N] values (0 where unusable), [N] is it empty, [N] is it no finite number."""
    empty = _mask(pc.is_null(cells))
    if pa.types.is_large_string(cells.type):
        trimmed = pc.utf8_trim_whitespace(cells)
        cells = pc.if_else(pc.match_substring_regex(trimmed, _NUMBER), trimmed, None)
    elif not _holds_numbers(cells.type):
        cells = pa.nulls(len(cells))  # every cell that is not empty is a fault
    values = pc.fill_null(cells.cast(pa.float64(), safe=False), np.nan).to_numpy()
    is_number = np.isfinite(values)
    return np.where(is_number, values, 0.0), empty, ~is_number & ~empty


def _holds_numbers(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _from_integers(
    cells: pa.Array,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    values = pc.fill_null(cells, 0).to_numpy()
    bad = values > np.iinfo(np.int64).max
    return np.where(bad, 0, values).astype(np.int64), _mask(pc.is_null(cells)), bad


def _fault_empty(
    sieve: Sieve, column: str, empty: NDArray[np.bool_], default: float | None
) -> None:
    if default is None:
        sieve.fault(empty, f"{column} is empty")


def _mask(values: pa.Array) -> NDArray[np.bool_]:
    filled = pc.fill_null(values, False)
    mask: NDArray[np.bool_] = filled.to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask
