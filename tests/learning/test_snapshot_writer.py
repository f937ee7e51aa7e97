"""What a snapshot folder promises, and what is refused before it could break a promise."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shop.errors import DataRejected
from shop.events import EVENT_CODES, EventType
from training.data.coded import Coded
from training.data.snapshot import (
    EVENTS,
    MANIFEST,
    MAX_QUARANTINE_LINES,
    QUARANTINE,
    SnapshotManifest,
    SnapshotWriter,
    load_snapshot,
    read_snapshot_manifest,
)
from training.data.tables import event_table, product_table, shopper_table

NOW_MS = 1_600_000_000_000


def some_products(*ids: str) -> pa.Table:
    price = np.full(len(ids), 250)
    available = np.full(len(ids), NOW_MS)
    return product_table(pa.array(ids), price_minor=price, available_from_ms=available)


def some_events(*rows: tuple[int, str, str, EventType]) -> pa.Table:
    times, users, products, types = zip(*rows, strict=True)
    return event_table(
        times_ms=np.array(times),
        users=Coded.of(pa.array(users)),
        products=Coded.of(pa.array(products)),
        types=Coded.of(pa.array([str(event) for event in types])),
        session_ids=np.arange(1, len(rows) + 1),
        price_minor=np.full(len(rows), 250),
    )


def a_writer(folder: Path) -> SnapshotWriter:
    return SnapshotWriter(folder, "world", "EUR")


def write_two_events(folder: Path) -> SnapshotManifest:
    events = some_events(
        (NOW_MS, "ann", "b", EventType.CLICK), (NOW_MS + 1, "bob", "a", EventType.PURCHASE)
    )
    shoppers = shopper_table(pa.array(["ann", "bob"]))
    return a_writer(folder).finish(some_products("a", "b"), shoppers, events)


def test_rows_of_a_loaded_snapshot_point_into_its_tables(tmp_path: Path) -> None:
    write_two_events(tmp_path)

    snapshot = load_snapshot(tmp_path)

    assert snapshot.user_ids[snapshot.events.user_rows].tolist() == ["ann", "bob"]
    products = snapshot.products["product_id"].to_pylist()
    assert [products[row - 1] for row in snapshot.events.product_rows] == ["b", "a"]
    assert snapshot.events.codes.tolist() == [
        EVENT_CODES[EventType.CLICK],
        EVENT_CODES[EventType.PURCHASE],
    ]


def test_equal_tables_give_the_same_snapshot_id(tmp_path: Path) -> None:
    first, second = write_two_events(tmp_path / "a"), write_two_events(tmp_path / "b")

    assert first == second


def test_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = write_two_events(tmp_path)

    assert read_snapshot_manifest(tmp_path) == written


def test_a_folder_is_written_once(tmp_path: Path) -> None:
    write_two_events(tmp_path)

    with pytest.raises(DataRejected, match="already holds a snapshot"):
        write_two_events(tmp_path)


def test_an_edited_table_is_not_loaded(tmp_path: Path) -> None:
    write_two_events(tmp_path)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b"!")

    with pytest.raises(DataRejected, match="damaged or edited"):
        load_snapshot(tmp_path)


def test_events_out_of_order_are_refused(tmp_path: Path) -> None:
    events = some_events(
        (NOW_MS, "u", "a", EventType.CLICK), (NOW_MS - 1, "u", "a", EventType.CART)
    )

    with pytest.raises(DataRejected, match="time order"):
        a_writer(tmp_path).finish(some_products("a"), shopper_table(pa.array(["u"])), events)
    assert not (tmp_path / MANIFEST).exists()


def test_null_where_nothing_may_be_unknown_is_refused(tmp_path: Path) -> None:
    events = some_events((NOW_MS, "u", "a", EventType.CLICK))
    products = some_products("a").set_column(1, "title", pa.array([None], pa.string()))

    with pytest.raises(DataRejected, match="title has nulls"):
        a_writer(tmp_path).finish(products, shopper_table(pa.array(["u"])), events)


def test_more_devices_than_events_can_number_are_refused(tmp_path: Path) -> None:
    count = 200
    events = some_events(*[(NOW_MS, "u", "a", EventType.CLICK)] * count)
    at = events.schema.get_field_index("device")
    events = events.set_column(at, "device", pa.array([f"d{i}" for i in range(count)]))

    with pytest.raises(DataRejected, match="device has more than 127"):
        a_writer(tmp_path).finish(some_products("a"), shopper_table(pa.array(["u"])), events)


def test_an_empty_snapshot_is_refused(tmp_path: Path) -> None:
    events = some_events((NOW_MS, "u", "a", EventType.CLICK)).slice(0, 0)

    with pytest.raises(DataRejected, match="nothing usable"):
        a_writer(tmp_path).finish(some_products("a"), shopper_table(pa.array(["u"])), events)


def test_a_file_of_nothing_but_bad_rows_does_not_fill_the_disk(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    for row in range(MAX_QUARANTINE_LINES + 5):
        writer.quarantine(file="f", row=row, fault="bad", raw={"cell": "x" * 300})
    events = some_events((NOW_MS, "u", "a", EventType.CLICK))

    manifest = writer.finish(some_products("a"), shopper_table(pa.array(["u"])), events)

    with (tmp_path / QUARANTINE).open() as lines:
        kept = list(lines)
    assert manifest.faults == {"bad": MAX_QUARANTINE_LINES + 5}
    assert len(kept) == MAX_QUARANTINE_LINES
    assert len(json.loads(kept[0])["raw"]["cell"]) == 200


@pytest.mark.parametrize(
    "damage",
    [
        {"sha256": {}},
        {"sha256": {"../../etc/passwd": "0"}},
        {"sha256": []},
        {"schema": 99},
        {"counts": {"events": -1}},
        {"counts": []},
        {"faults": {"x": "many"}},
        {"first_ms": "now"},
        {"surprise": 1},
    ],
)
def test_a_manifest_with_something_wrong_is_refused(
    tmp_path: Path, damage: dict[str, object]
) -> None:
    write_two_events(tmp_path)
    raw = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(raw | damage))

    with pytest.raises(DataRejected):
        read_snapshot_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)

    with pytest.raises(DataRejected):
        read_snapshot_manifest(tmp_path)


def test_a_folder_without_manifest_is_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="no snapshot"):
        load_snapshot(tmp_path)
