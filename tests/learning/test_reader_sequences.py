"""Benchmark sequences: order is kept, time is admitted to be made up, bad rows are set aside."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shop.errors import DataRejected
from shop.events import EVENT_CODES, EventType
from training.data.check import check_snapshot
from training.data.snapshot import QUARANTINE, Snapshot, load_snapshot
from training.data.sources import import_data


def imported(
    folder: Path, users: list[Any], items: list[Any], kind: pa.DataType | None = None
) -> Snapshot:
    columns = {"user_id": users, "item_ids": pa.array(items, kind or pa.list_(pa.int32()))}
    pq.write_table(pa.table(columns), folder / "toys_sequences.parquet")
    import_data("sequences", folder, folder / "snapshot")
    assert check_snapshot(folder / "snapshot").is_passed
    return load_snapshot(folder / "snapshot")


def sequences_of(snapshot: Snapshot) -> dict[str, list[str]]:
    """What each user did, in the order of the snapshot."""
    products = np.array(["", *snapshot.products["product_id"].to_pylist()])
    events = snapshot.events
    return {
        str(user): products[events.product_rows[events.user_rows == row]].tolist()
        for row, user in enumerate(snapshot.user_ids)
    }


def faults(folder: Path) -> list[tuple[int, str]]:
    lines = (folder / "snapshot" / QUARANTINE).read_text().splitlines()
    return [(row["row"], row["fault"]) for row in map(json.loads, lines)]


def test_every_sequence_keeps_its_order(tmp_path: Path) -> None:
    snapshot = imported(tmp_path, [7, 8], [[3, 1, 2], [1, 5]])

    assert sequences_of(snapshot) == {"7": ["3", "1", "2"], "8": ["1", "5"]}
    assert set(snapshot.events.codes) == {EVENT_CODES[EventType.PURCHASE]}


def test_one_cut_in_time_takes_the_last_item_of_every_shopper(tmp_path: Path) -> None:
    snapshot = imported(tmp_path, [7, 8, 9], [[3, 1, 2], [1, 5], [4]])

    last = snapshot.events.times_ms == snapshot.manifest.last_ms
    assert np.bincount(snapshot.events.user_rows[last]).tolist() == [1, 1, 1]
    assert not snapshot.manifest.time_is_real


def test_data_with_repeats_says_so(tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    (tmp_path / "again").mkdir()

    assert not imported(tmp_path / "once", [1], [[1, 2, 3]]).manifest.repeats
    assert imported(tmp_path / "again", [1], [[1, 2, 1]]).manifest.repeats


def test_titles_come_from_the_items_file(tmp_path: Path) -> None:
    items = pa.table({"item_id": [1, 2], "keywords": ["red nail lacquer", None]})
    pq.write_table(items, tmp_path / "toys_items.parquet")

    snapshot = imported(tmp_path, [7], [[1, 2]])

    titles = dict(
        zip(
            snapshot.products["product_id"].to_pylist(),
            snapshot.products["title"].to_pylist(),
            strict=True,
        )
    )
    assert titles == {"1": "red nail lacquer", "2": ""}


def test_a_sequence_with_an_item_that_the_items_file_lacks_is_set_aside(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": [1, 2]}), tmp_path / "toys_items.parquet")

    snapshot = imported(tmp_path, [7, 8], [[1, 99], [1, 2]])

    assert sequences_of(snapshot) == {"8": ["1", "2"]}
    assert faults(tmp_path) == [(1, "item_ids names an item that the items file lacks")]


@pytest.mark.parametrize(
    ("user", "items", "fault"),
    [
        (8, [], "item_ids is empty"),
        (8, None, "item_ids is empty"),
        (8, [1, None], "item_ids holds an empty, negative or odd id"),
        (8, [-4, 1], "item_ids holds an empty, negative or odd id"),
        (8, list(range(10_001)), "item_ids has more than 10000 items"),
        (7, [1, 2], "user_id is there twice"),
        (None, [1, 2], "user_id is empty"),
    ],
)
def test_a_bad_row_is_set_aside_whole(
    tmp_path: Path, user: int | None, items: list[int | None] | None, fault: str
) -> None:
    snapshot = imported(tmp_path, [7, user, 9], [[3, 1], items, [2]])

    assert sequences_of(snapshot) == {"7": ["3", "1"], "9": ["2"]}
    assert faults(tmp_path) == [(2, fault)]


def test_items_may_be_text(tmp_path: Path) -> None:
    snapshot = imported(tmp_path, ["ann"], [["B00A", "B00B"]], pa.list_(pa.large_string()))

    assert sequences_of(snapshot) == {"ann": ["B00A", "B00B"]}


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.list_(pa.int32())), pa.list_(pa.float32()), pa.int32(), pa.string()]
)
def test_items_of_another_kind_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"user_id": [1], "item_ids": pa.nulls(1, kind)})
    pq.write_table(table, tmp_path / "toys_sequences.parquet")

    with pytest.raises(DataRejected, match="item_ids"):
        import_data("sequences", tmp_path, tmp_path / "snapshot")


def test_two_benchmarks_in_one_folder_must_be_told_apart(tmp_path: Path) -> None:
    table = pa.table({"user_id": [1], "item_ids": [[1, 2]]})
    pq.write_table(table, tmp_path / "toys_sequences.parquet")
    pq.write_table(table, tmp_path / "food_sequences.parquet")

    with pytest.raises(DataRejected, match=r"food_sequences.*, toys_sequences"):
        import_data("sequences", tmp_path, tmp_path / "snapshot")
