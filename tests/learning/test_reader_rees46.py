"""REES46 events: views are clicks, sessions stay together, gaps in the catalogue are filled."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.check import check_snapshot
from training.data.snapshot import SnapshotManifest, load_snapshot
from training.data.sources import import_data

TYPES = pa.schema(
    [
        ("event_time", pa.timestamp("us")),
        ("event_type", pa.large_string()),
        ("product_id", pa.int64()),
        ("category_code", pa.large_string()),
        ("brand", pa.large_string()),
        ("price", pa.float64()),
        ("user_id", pa.int64()),
        ("user_session", pa.large_string()),
    ]
)


def an_event(second: int = 0, **changes: Any) -> dict[str, Any]:
    event = {
        "event_time": datetime(2019, 10, 1, 0, 0, second),
        "event_type": "view",
        "product_id": 3900821,
        "category_code": "appliances.environment.water_heater",
        "brand": "aqua",
        "price": 33.2,
        "user_id": 554748717,
        "user_session": "9333dfbd",
    }
    return event | changes


def imported(folder: Path, *events: dict[str, Any]) -> SnapshotManifest:
    pq.write_table(pa.Table.from_pylist(list(events), schema=TYPES), folder / "2019-Oct.parquet")
    manifest = import_data("rees46", folder, folder / "snapshot")
    assert check_snapshot(folder / "snapshot").is_passed
    return manifest


def test_every_type_has_its_meaning(tmp_path: Path) -> None:
    kinds = ("view", "cart", "remove_from_cart", "purchase")
    manifest = imported(tmp_path, *(an_event(s, event_type=k) for s, k in enumerate(kinds)))

    assert manifest.event_types() == {"click", "cart", "remove", "purchase"}


def test_a_product_has_its_latest_price_and_its_latest_known_category(tmp_path: Path) -> None:
    imported(
        tmp_path,
        an_event(0, price=10.0, category_code="a.b.old_name"),
        an_event(1, price=20.0, category_code="a.b.new_name", brand=None),
        an_event(2, price=30.0, category_code=None),
    )

    (product,) = load_snapshot(tmp_path / "snapshot").products.to_pylist()
    assert product["price_minor"] == 3000
    assert product["category"] == "a.b.new_name"
    assert product["title"] == "aqua new name"


def test_a_user_session_is_a_session(tmp_path: Path) -> None:
    imported(tmp_path, an_event(0), an_event(1, user_session="other"), an_event(2))

    sessions = load_snapshot(tmp_path / "snapshot").events.session_ids.tolist()
    assert sessions[0] == sessions[2] != sessions[1]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"event_type": "stare"}, "event_type is not one of view, cart"),
        ({"event_type": None}, "event_type is empty"),
        ({"price": 0.0}, "price is zero"),
        ({"product_id": None}, "product_id is empty"),
        ({"user_id": None}, "user_id is empty"),
        ({"user_session": ""}, "user_session is empty"),
        ({"brand": "b" * 3000}, "brand is longer than"),
        ({"event_time": datetime(1970, 1, 1)}, "event_time is outside"),
        ({}, "duplicate line"),
    ],
)
def test_a_bad_event_is_quarantined(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    manifest = imported(tmp_path, an_event(), an_event(**changes))

    (found,) = manifest.faults
    assert found.startswith(fault)
    assert manifest.counts["events"] == 1


def test_the_origins_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "2019-Oct.csv").write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,"
        "user_session\n"
        "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d7\n"
        "2019-10-01 00:00:01 UTC,cart,44600062,2103807459595387724,,shiseido,NaN,541312140,72d7\n"
    )
    manifest = import_data("rees46", tmp_path, tmp_path / "snapshot")

    assert manifest.first_ms == 1_569_888_000_000
    assert manifest.faults == {"price is not a finite number": 1}
    assert load_snapshot(tmp_path / "snapshot").events.price_minor.tolist() == [3579]
