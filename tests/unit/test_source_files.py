"""The candidate sources' tables on disk: read back as written, refused if they do not fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.adapters.source_files import read_source_tables, write_source_tables
from shop.errors import ReleaseRejected
from shop.neighbours import Neighbours
from shop.source_tables import (
    Arrivals,
    SegmentLists,
    ShopperLists,
    SourceTables,
    shopper_key,
)


def some_tables() -> SourceTables:
    rows = np.array([[0, 0], [2, 3], [1, 0], [1, 2]], dtype=np.int32)
    scores = (rows > 0).astype(np.float32)
    keys = np.sort(np.array([shopper_key("u1"), shopper_key("ü2")], dtype=np.uint64))
    return SourceTables(
        content=Neighbours(rows, scores),
        user_user=ShopperLists(keys, rows[1:3], scores[1:3]),
        segments=SegmentLists(
            ("country", "segment"),
            (("country", "DE"), ("segment", "späte Käufer")),
            rows[1:3],
            scores[1:3],
        ),
        arrivals=Arrivals(np.array([3, 1]), np.array([20, 10])),
        wishes=np.array([0, 5, 0, 7], dtype=np.int32),
    )


def read(path: Path, tables: SourceTables, row_count: int = 4) -> SourceTables:
    write_source_tables(tables, path / "sources.npz")
    return read_source_tables(path / "sources.npz", release="r1", row_count=row_count)


def test_tables_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    tables, found = some_tables(), read(tmp_path, some_tables())
    for name in ("u1", "ü2", "nobody"):
        assert found.user_user.of(name).rows.tolist() == tables.user_user.of(name).rows.tolist()
    assert found.user_user.of("nobody").rows.size == 0
    assert found.segments.dimensions == tables.segments.dimensions
    assert found.segments.segments == tables.segments.segments
    assert (found.content.rows == tables.content.rows).all()
    assert (found.wishes == tables.wishes).all()
    assert found.arrivals.since(15).tolist() == [3]


def test_empty_tables_are_tables(tmp_path: Path) -> None:
    found = read(tmp_path, SourceTables.empty(4))
    assert found.user_user.of("u1").rows.size == 0
    assert found.arrivals.since(0).size == 0


def with_content(tables: SourceTables, row: int, score: float) -> SourceTables:
    rows, scores = tables.content.rows.copy(), tables.content.scores.copy()
    rows[1, 1], scores[1, 1] = row, score
    return replace(tables, content=Neighbours(rows, scores))


def with_arrivals(tables: SourceTables, rows: list[int], added: list[int]) -> SourceTables:
    return replace(tables, arrivals=Arrivals(np.array(rows), np.array(added)))


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (lambda t: with_content(t, 4, 1.0), "the content lists hold"),
        (lambda t: with_content(t, -1, 1.0), "the content lists hold"),
        (lambda t: with_content(t, 2, float("nan")), "the content lists hold"),
        (
            lambda t: replace(t, user_user=replace(t.user_user, keys=t.user_user.keys[::-1])),
            "keys do not ascend",
        ),
        (
            lambda t: replace(t, user_user=replace(t.user_user, keys=t.user_user.keys[:1])),
            "keys do not ascend",
        ),
        (
            lambda t: replace(t, user_user=replace(t.user_user, scores=t.user_user.scores[:, :1])),
            "user-user lists differ in shape",
        ),
        (
            lambda t: replace(
                t,
                segments=SegmentLists(("shoe_size",), (), t.content.rows[:0], t.content.scores[:0]),
            ),
            "the segments are not",
        ),
        (lambda t: with_arrivals(t, [9], [10]), "the arrivals hold"),
        (lambda t: with_arrivals(t, [1, 2], [10, 20]), "not in order"),
        (lambda t: replace(t, wishes=t.wishes[:3]), "the catalogue needs 4"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tmp_path: Path, broken: Callable[[SourceTables], SourceTables], fault: str
) -> None:
    with pytest.raises(ReleaseRejected, match=f"r1: sources.npz: .*{fault}"):
        read(tmp_path, broken(some_tables()))


def test_tables_of_another_catalogue_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseRejected, match="the catalogue needs 5 rows"):
        read(tmp_path, some_tables(), row_count=5)
