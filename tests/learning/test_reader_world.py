"""World folders: nothing is translated, everything is checked."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shop.errors import DataRejected
from training.data.check import check_snapshot
from training.data.snapshot import (
    EVENT_COLUMNS,
    EVENTS,
    PRODUCT_COLUMNS,
    PRODUCTS,
    SHOPPER_COLUMNS,
    SHOPPERS,
    SnapshotManifest,
    load_snapshot,
)
from training.data.sources import import_data

NOW_MS = 1_780_000_000_000


def a_product(product_id: str = "a", **changes: Any) -> dict[str, Any]:
    texts = ("category", "brand", "material", "use", "season", "style", "colour")
    product = {
        "product_id": product_id,
        "title": f"title of {product_id}",
        **dict.fromkeys(texts, "plain"),
        "compatible_with": [],
        "price_minor": 500,
        "cost_minor": 300,
        "stock": 4,
        "supply_days": 3,
        "available_from_ms": NOW_MS,
    }
    return product | changes


def a_shopper(user_id: str = "ann", **changes: Any) -> dict[str, Any]:
    return {"user_id": user_id, "segment": "new", "country": "DE", "device": "phone"} | changes


def an_event(at: int = 0, **changes: Any) -> dict[str, Any]:
    event = {
        "time_ms": NOW_MS + at,
        "user_id": "ann",
        "session_id": 1,
        "request_id": 1,
        "product_id": "a",
        "type": "impression",
        "placement": "home",
        "position": 1,
        "quantity": 1,
        "price_minor": 500,
        "discount": 0.1,
        "amount": 0,
        "device": "phone",
        "country": "DE",
    }
    return event | changes


def write_world(
    folder: Path,
    *,
    products: tuple[dict[str, Any], ...] = (a_product(),),
    shoppers: tuple[dict[str, Any], ...] = (a_shopper(),),
    events: tuple[dict[str, Any], ...] = (an_event(),),
) -> None:
    tables = (
        (PRODUCTS, products, PRODUCT_COLUMNS),
        (SHOPPERS, shoppers, SHOPPER_COLUMNS),
        (EVENTS, events, EVENT_COLUMNS),
    )
    for name, rows, schema in tables:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), folder / name)
    (folder / "world.json").write_text(json.dumps({"currency": "EUR"}))


def imported(folder: Path, **tables: tuple[dict[str, Any], ...]) -> SnapshotManifest:
    write_world(folder, **tables)
    manifest = import_data("world", folder, folder / "snapshot")
    assert check_snapshot(folder / "snapshot").is_passed
    return manifest


def test_a_sound_world_comes_through_unchanged(tmp_path: Path) -> None:
    events = (an_event(0), an_event(1, type="click"), an_event(2, type="purchase"))
    manifest = imported(tmp_path, events=events)

    snapshot = load_snapshot(tmp_path / "snapshot")
    written = pq.read_table(tmp_path / "snapshot" / EVENTS).to_pylist()
    assert snapshot.products.to_pylist() == [a_product()]
    assert snapshot.shoppers.to_pylist() == [a_shopper()]
    assert [row | {"discount": 0.1} for row in written] == list(events)
    assert manifest.currency == "EUR"
    assert manifest.faults == {}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"product_id": "gone"}, "product_id is unknown or was quarantined"),
        ({"user_id": "gone"}, "user_id is unknown or was quarantined"),
        ({"type": "stare"}, "type is not one of"),
        ({"placement": "roof"}, "placement is not one of"),
        ({"quantity": -1}, "quantity is outside"),
        ({"price_minor": 0}, "price_minor is outside"),
        ({"discount": float("nan")}, "discount is not a finite number"),
        ({"discount": 1.5}, "discount is outside"),
        ({"position": -1}, "position is outside"),
        ({"time_ms": 5}, "time_ms is outside"),
        ({"session_id": None}, "session_id is empty"),
        ({"product_id": ""}, "product_id is empty"),
        ({}, "duplicate line"),
    ],
)
def test_a_bad_event_is_quarantined(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    manifest = imported(tmp_path, events=(an_event(), an_event(**changes)))

    (found,) = manifest.faults
    assert found.startswith(fault)
    assert manifest.counts["events"] == 1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"price_minor": 0}, "price_minor is outside"),
        ({"price_minor": None}, "price_minor is empty"),
        ({"cost_minor": -1}, "cost_minor is outside"),
        ({"stock": -3}, "stock is outside"),
        ({"title": "t" * 3000}, "title is longer than"),
        ({"product_id": "a"}, "product_id is there twice"),
    ],
)
def test_events_of_a_quarantined_product_go_with_it(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    bad = a_product(**({"product_id": "b"} | changes))
    events = (an_event(0), an_event(1, product_id="b"))
    manifest = imported(tmp_path, products=(a_product(), bad), events=events)

    assert any(found.startswith(fault) for found in manifest.faults)
    assert manifest.counts["products"] == 1
    assert manifest.counts["events"] == 1


def test_what_may_be_unknown_stays_unknown(tmp_path: Path) -> None:
    unknown = a_product(cost_minor=None, stock=None, supply_days=None)
    imported(tmp_path, products=(unknown,))

    assert load_snapshot(tmp_path / "snapshot").products.to_pylist() == [unknown]


def test_an_unknown_accessory_is_dropped_not_its_product(tmp_path: Path) -> None:
    products = (
        a_product("a", compatible_with=["b", "gone"]),
        a_product("b", compatible_with=None),
        a_product("c", compatible_with=["a"]),
    )
    manifest = imported(tmp_path, products=products)

    kept = load_snapshot(tmp_path / "snapshot").products["compatible_with"].to_pylist()
    assert kept == [["b"], [], ["a"]]
    assert manifest.notes == ("1 unknown products dropped from compatible_with",)


def test_a_search_comes_through_with_how_much_it_found(tmp_path: Path) -> None:
    search = {"type": "search", "product_id": "", "price_minor": 0, "request_id": 0, "position": 0}
    events = (an_event(), an_event(1, **search, amount=0), an_event(2, **search, amount=17))
    imported(tmp_path, events=events)

    kept = load_snapshot(tmp_path / "snapshot").events
    assert kept.product_rows.tolist() == [1, 0, 0]
    assert kept.amounts.tolist() == [0, 0, 17]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"type": "search"}, "a search names a product"),
        ({"type": "click", "product_id": ""}, "product_id is empty"),
        ({"type": "click", "price_minor": 0}, "price_minor is outside"),
        ({"type": "dwell", "amount": -1}, "amount is outside"),
        ({"type": "dwell", "amount": 2_100_000_000}, "amount is outside"),
    ],
)
def test_only_a_search_names_no_product(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    manifest = imported(tmp_path, events=(an_event(), an_event(1, **changes)))
    assert [found for found in manifest.faults if fault in found]


def test_a_time_zone_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    write_world(tmp_path)
    (tmp_path / "world.json").write_text('{"currency": "EUR", "time_zone": "Mars/Olympus"}')
    with pytest.raises(DataRejected, match="time_zone"):
        import_data("world", tmp_path, tmp_path / "snapshot")


def test_events_out_of_order_are_sorted_and_it_is_said(tmp_path: Path) -> None:
    manifest = imported(tmp_path, events=(an_event(9), an_event(1)))

    assert load_snapshot(tmp_path / "snapshot").events.times_ms.tolist() == [NOW_MS + 1, NOW_MS + 9]
    assert "sorted" in manifest.notes[0]


@pytest.mark.parametrize("name", [PRODUCTS, SHOPPERS, EVENTS, "world.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_world(tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(DataRejected, match=name):
        import_data("world", tmp_path, tmp_path / "snapshot")


@pytest.mark.parametrize("about", ["", "[]", "{}", '{"currency": "euro"}', '{"currency": 5}'])
def test_a_world_must_name_its_currency(tmp_path: Path, about: str) -> None:
    write_world(tmp_path)
    (tmp_path / "world.json").write_text(about)

    with pytest.raises(DataRejected, match=r"world\.json"):
        import_data("world", tmp_path, tmp_path / "snapshot")


@pytest.mark.parametrize("empty", ["products", "shoppers", "events"])
def test_an_empty_table_leaves_nothing_usable(tmp_path: Path, empty: str) -> None:
    write_world(tmp_path, **{empty: ()})

    with pytest.raises(DataRejected, match="nothing usable"):
        import_data("world", tmp_path, tmp_path / "snapshot")
