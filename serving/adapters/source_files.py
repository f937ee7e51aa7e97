"""Source files: the tables of the candidate sources on disk, `sources.npz` of a release.

Written at export, read back by the code that serves them. Arrays only, nothing is unpickled.

Shapes: as `shop.source_tables`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.errors import ReleaseRejected
from shop.neighbours import Neighbours
from shop.release import SOURCES_FILE
from shop.source_tables import DIMENSIONS, Arrivals, SegmentLists, ShopperLists, SourceTables


def write_source_tables(tables: SourceTables, path: Path) -> None:
    """`read_source_tables` reads them back."""
    with path.open("wb") as file:
        np.savez(
            file,
            content_rows=tables.content.rows,
            content_scores=tables.content.scores,
            shopper_keys=tables.user_user.keys,
            shopper_rows=tables.user_user.rows,
            shopper_scores=tables.user_user.scores,
            dimensions=np.array(tables.segments.dimensions, dtype=np.str_),
            segment_dimensions=np.array([d for d, _ in tables.segments.segments], dtype=np.str_),
            segment_values=np.array([v for _, v in tables.segments.segments], dtype=np.str_),
            segment_rows=tables.segments.rows,
            segment_scores=tables.segments.scores,
            arrival_rows=tables.arrivals.rows,
            arrival_added_ms=tables.arrivals.added_ms,
            wishes=tables.wishes,
        )


def read_source_tables(path: Path, *, release: str, row_count: int) -> SourceTables:
    """Tables over a catalogue of `row_count` rows, the padding row among them.

    Raises ReleaseRejected if they do not fit it or each other; OSError, KeyError, ValueError if
    the file is no such file.
    """
    with np.load(path, allow_pickle=False) as arrays:
        tables = _from_arrays(arrays)
    fault = _fault(tables, row_count)
    if fault:
        raise ReleaseRejected(f"{release}: {SOURCES_FILE}: {fault}")
    return tables


def _from_arrays(arrays: Any) -> SourceTables:
    def rows(name: str) -> NDArray[np.int32]:
        return np.asarray(arrays[name], dtype=np.int32)

    def scores(name: str) -> NDArray[np.float32]:
        return np.asarray(arrays[name], dtype=np.float32)

    names = zip(
        arrays["segment_dimensions"].tolist(), arrays["segment_values"].tolist(), strict=True
    )
    return SourceTables(
        content=Neighbours(rows("content_rows"), scores("content_scores")),
        user_user=ShopperLists(
            np.asarray(arrays["shopper_keys"], dtype=np.uint64),
            rows("shopper_rows"),
            scores("shopper_scores"),
        ),
        segments=SegmentLists(
            tuple(arrays["dimensions"].tolist()),
            tuple((str(dimension), str(value)) for dimension, value in names),
            rows("segment_rows"),
            scores("segment_scores"),
        ),
        arrivals=Arrivals(
            np.asarray(arrays["arrival_rows"], dtype=np.int64),
            np.asarray(arrays["arrival_added_ms"], dtype=np.int64),
        ),
        wishes=rows("wishes"),
    )


def _fault(tables: SourceTables, row_count: int) -> str:
    """What does not fit, "" if all does."""
    people, segments, arrivals = tables.user_user, tables.segments, tables.arrivals
    if tables.content.rows.shape[0] != row_count or tables.wishes.shape != (row_count,):
        return f"of another catalogue, the catalogue needs {row_count} rows"
    lists = {
        "content": (tables.content.rows, tables.content.scores),
        "user-user": (people.rows, people.scores),
        "segment": (segments.rows, segments.scores),
    }
    for name, (rows, scores) in lists.items():
        if rows.ndim != 2 or rows.shape != scores.shape:
            return f"the {name} lists differ in shape"
        if _is_beyond(rows, row_count) or not np.isfinite(scores).all():
            return f"the {name} lists hold what is no product or no score"
    if people.keys.shape != people.rows.shape[:1] or (people.keys[1:] <= people.keys[:-1]).any():
        return "the shoppers' keys do not ascend, one for each list"
    if len(segments.segments) != len(segments.rows) or not set(segments.dimensions) <= {
        *DIMENSIONS
    }:
        return "the segments are not one for each list"
    if arrivals.rows.shape != arrivals.added_ms.shape or _is_beyond(arrivals.rows, row_count):
        return "the arrivals hold what is no product"
    if (arrivals.added_ms[1:] > arrivals.added_ms[:-1]).any():
        return "the arrivals are not in order"
    return ""


def _is_beyond(rows: NDArray[Any], row_count: int) -> bool:
    return bool(((rows < 0) | (rows >= row_count)).any())
