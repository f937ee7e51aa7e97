"""A check finds every kind of damage, and says what it is."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.check import check_snapshot
from training.data.snapshot import (
    EVENTS,
    MANIFEST,
    PRODUCTS,
    QUARANTINE,
    SHOPPERS,
    file_sha256,
    read_snapshot_manifest,
)
from training.data.sources import import_data


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    table = pa.table({"user_id": [7, 8], "item_ids": [[1, 2, 3], [2, 1]]})
    pq.write_table(table, tmp_path / "toys_sequences.parquet")
    import_data("sequences", tmp_path, tmp_path / "snapshot")
    return tmp_path / "snapshot"


def failed(folder: Path) -> dict[str, str]:
    """What is wrong, by the name of the check."""
    return {c.name: c.fault for c in check_snapshot(folder).checks if not c.is_passed}


def rewrite(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a table and give it a right digest, so that only its content is wrong."""
    table = change(pq.read_table(folder / name))
    pq.write_table(table, folder / name)
    manifest = read_snapshot_manifest(folder)
    digests = manifest.sha256 | {name: file_sha256(folder / name)}
    (folder / MANIFEST).write_text(json.dumps(asdict(replace(manifest, sha256=digests))))


def with_cell(column: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[row][column] = value
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


def test_a_sound_snapshot_passes(snapshot: Path) -> None:
    report = check_snapshot(snapshot)

    assert report.is_passed
    assert report.to_json()["passed"] is True


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "check"),
    [
        (EVENTS, "time_ms", 0, 4_000_000_000_000, "time order"),
        (EVENTS, "product_id", 1, "gone", "events name known products"),
        (EVENTS, "user_id", 1, "gone", "events name known users"),
        (EVENTS, "type", 1, "stare", "event types"),
        (EVENTS, "placement", 1, "roof", "placements"),
        (EVENTS, "discount", 1, float("nan"), "ranges of events"),
        (EVENTS, "quantity", 1, -1, "ranges of events"),
        (EVENTS, "price_minor", 1, -5, "ranges of events"),
        (PRODUCTS, "price_minor", 0, -5, "ranges of products"),
        (PRODUCTS, "product_id", 0, "2", "product ids"),
        (PRODUCTS, "product_id", 0, "", "product ids"),
        (PRODUCTS, "compatible_with", 0, ["gone"], "compatible products are known"),
        (PRODUCTS, "title", 0, None, "columns of products.parquet"),
        (SHOPPERS, "user_id", 0, "8", "user ids"),
    ],
)
def test_a_wrong_cell_is_found(
    snapshot: Path, table: str, column: str, row: int, value: Any, check: str
) -> None:
    rewrite(snapshot, table, with_cell(column, row, value))

    assert check in failed(snapshot)


def test_a_table_of_other_types_is_found(snapshot: Path) -> None:
    rewrite(
        snapshot,
        EVENTS,
        lambda t: t.set_column(
            t.schema.get_field_index("quantity"), "quantity", t["quantity"].cast(pa.int64())
        ),
    )

    assert failed(snapshot) == {"columns of events.parquet": "column quantity is int64; need int32"}


def test_missing_rows_are_found(snapshot: Path) -> None:
    rewrite(snapshot, EVENTS, lambda table: table.slice(0, 3))

    assert "events: 3, manifest says 5" in failed(snapshot)["counts"]


def test_an_edited_table_is_found(snapshot: Path) -> None:
    with (snapshot / SHOPPERS).open("ab") as file:
        file.write(b"!")

    assert "digest of shoppers.parquet" in failed(snapshot)


@pytest.mark.parametrize("name", [PRODUCTS, SHOPPERS, EVENTS, QUARANTINE, MANIFEST])
def test_a_missing_file_is_found(snapshot: Path, name: str) -> None:
    (snapshot / name).unlink()

    assert not check_snapshot(snapshot).is_passed


@pytest.mark.parametrize(
    "text", ["not json\n", '{"no fault": 1}\n', '{"fault": "made up"}\n', "5\n"]
)
def test_a_quarantine_that_does_not_fit_is_found(snapshot: Path, text: str) -> None:
    (snapshot / QUARANTINE).write_text(text)

    assert QUARANTINE in failed(snapshot)


def test_a_folder_that_is_no_snapshot_is_told(tmp_path: Path) -> None:
    assert "no manifest.json" in failed(tmp_path)["manifest"]
