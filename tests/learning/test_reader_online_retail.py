"""Online Retail lines: what becomes an event, what is set aside, and what is said about it."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shop.errors import DataRejected
from training.data.check import check_snapshot
from training.data.snapshot import QUARANTINE, SnapshotManifest, load_snapshot
from training.data.sources import import_data

TYPES = pa.schema(
    [
        ("InvoiceNo", pa.string()),
        ("StockCode", pa.string()),
        ("Description", pa.string()),
        ("Quantity", pa.int32()),
        ("InvoiceDate", pa.timestamp("us")),
        ("UnitPrice", pa.float64()),
        ("CustomerID", pa.int32()),
        ("Country", pa.string()),
    ]
)


def a_line(**changes: Any) -> dict[str, Any]:
    line = {
        "InvoiceNo": "536365",
        "StockCode": "85123A",
        "Description": "WHITE HANGING HEART T-LIGHT HOLDER",
        "Quantity": 6,
        "InvoiceDate": datetime(2010, 12, 1, 8, 26),
        "UnitPrice": 2.55,
        "CustomerID": 17850,
        "Country": "United Kingdom",
    }
    return line | changes


def imported(folder: Path, *lines: dict[str, Any]) -> SnapshotManifest:
    """Import these lines and one sound line of another shopper, so that something is left."""
    other = a_line(InvoiceNo="500000", CustomerID=1, InvoiceDate=datetime(2010, 12, 1))
    file = folder / "lines.parquet"
    pq.write_table(pa.Table.from_pylist([other, *lines], schema=TYPES), file)
    manifest = import_data("online-retail", file, folder / "snapshot")
    assert check_snapshot(folder / "snapshot").is_passed
    return manifest


def quarantined(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "snapshot" / QUARANTINE).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_is_a_purchase_with_price_and_country(tmp_path: Path) -> None:
    manifest = imported(tmp_path, a_line())

    snapshot = load_snapshot(tmp_path / "snapshot")
    assert manifest.counts["events_purchase"] == 2
    assert manifest.currency == "GBP"
    assert snapshot.events.price_minor[1] == 255
    assert snapshot.events.quantities[1] == 6
    assert snapshot.countries[snapshot.events.countries[1]] == "United Kingdom"
    assert snapshot.products["title"][0].as_py() == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert snapshot.products["category"][0].as_py() == "candle holder"
    assert snapshot.products["cost_minor"].null_count == len(snapshot.products)


def test_an_invoice_is_a_session(tmp_path: Path) -> None:
    imported(tmp_path, a_line(), a_line(StockCode="71053"), a_line(InvoiceNo="536366"))

    sessions = load_snapshot(tmp_path / "snapshot").events.session_ids.tolist()
    assert sessions[1] == sessions[2] != sessions[3]


def test_a_cancellation_of_something_bought_is_a_return(tmp_path: Path) -> None:
    later = datetime(2010, 12, 3)
    manifest = imported(
        tmp_path, a_line(), a_line(InvoiceNo="C536400", Quantity=-2, InvoiceDate=later)
    )

    events = load_snapshot(tmp_path / "snapshot").events
    assert manifest.counts["events_return"] == 1
    assert events.quantities[-1] == 2


@pytest.mark.parametrize(
    "different",
    [
        {"CustomerID": 2},
        {"StockCode": "71053"},
        {"InvoiceDate": datetime(2010, 11, 1)},
    ],
)
def test_a_cancellation_of_something_not_bought_before_is_left_out(
    tmp_path: Path, different: dict[str, Any]
) -> None:
    cancellation = a_line(InvoiceNo="C536400", Quantity=-2, InvoiceDate=datetime(2010, 12, 3))
    manifest = imported(tmp_path, a_line(), cancellation | different)

    assert manifest.left_out == {"cancellation without an earlier purchase in the data": 1}
    assert manifest.counts["quarantined"] == 0


@pytest.mark.parametrize("code", ["POST", "DOT", "M", "BANK CHARGES", "gift_0001_20", "C2"])
def test_postage_and_fees_are_no_products(tmp_path: Path, code: str) -> None:
    manifest = imported(tmp_path, a_line(StockCode=code))

    assert manifest.counts["products"] == 1
    assert sum(manifest.left_out.values()) == 1


def test_stock_codes_that_differ_in_case_are_one_product(tmp_path: Path) -> None:
    manifest = imported(tmp_path, a_line(StockCode="85123a"))

    assert manifest.counts["products"] == 1


def test_a_line_without_customer_is_left_out(tmp_path: Path) -> None:
    manifest = imported(tmp_path, a_line(CustomerID=None))

    assert manifest.left_out == {"no customer": 1}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"UnitPrice": 0.0}, "UnitPrice is zero"),
        ({"UnitPrice": -11062.06}, "UnitPrice is negative"),
        ({"UnitPrice": float("nan")}, "UnitPrice is not a finite number"),
        ({"UnitPrice": float("inf")}, "UnitPrice is not a finite number"),
        ({"UnitPrice": 1e300}, "UnitPrice is absurd"),
        ({"UnitPrice": None}, "UnitPrice is empty"),
        ({"Quantity": 0}, "Quantity is zero"),
        ({"Quantity": -1}, "Quantity is negative outside a cancellation"),
        ({"Quantity": 80995}, "Quantity is outside"),
        ({"Quantity": None}, "Quantity is empty"),
        ({"InvoiceNo": "C1"}, "Quantity is positive in a cancellation"),
        ({"InvoiceNo": " "}, "InvoiceNo is empty"),
        ({"StockCode": None}, "StockCode is empty"),
        ({"InvoiceDate": None}, "InvoiceDate is empty"),
        ({"InvoiceDate": datetime(1890, 1, 1)}, "InvoiceDate is outside"),
        ({"InvoiceDate": datetime(2200, 1, 1)}, "InvoiceDate is outside"),
        ({"Description": "x" * 5000}, "Description is longer than"),
        ({"Description": "a\x00b"}, "Description has control characters"),
        ({"InvoiceNo": "9" * 200}, "InvoiceNo is longer than"),
    ],
)
def test_a_bad_line_is_quarantined_with_its_place_and_fault(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    manifest = imported(tmp_path, a_line(**changes))

    (row,) = quarantined(tmp_path)
    assert row["file"] == "lines.parquet"
    assert row["row"] == 2
    assert row["fault"].startswith(fault)
    assert manifest.counts["quarantined"] == 1
    assert manifest.counts["events"] == 1


def test_the_second_of_two_equal_lines_is_a_duplicate(tmp_path: Path) -> None:
    imported(tmp_path, a_line(), a_line(StockCode="71053"), a_line())

    (row,) = quarantined(tmp_path)
    assert (row["row"], row["fault"]) == (4, "duplicate line")


def test_a_bad_line_gives_no_product_and_no_shopper(tmp_path: Path) -> None:
    manifest = imported(tmp_path, a_line(StockCode="71053", CustomerID=9, UnitPrice=0.0))

    assert (manifest.counts["products"], manifest.counts["shoppers"]) == (1, 1)


def test_lines_out_of_order_are_sorted_and_it_is_said(tmp_path: Path) -> None:
    early = datetime(2010, 11, 1)
    manifest = imported(tmp_path, a_line(), a_line(InvoiceNo="1", InvoiceDate=early))

    assert any("sorted" in note for note in manifest.notes)
    assert manifest.first_ms == int(early.replace(tzinfo=UTC).timestamp() * 1000)


def test_list_price_is_the_median_paid_and_the_title_the_latest(tmp_path: Path) -> None:
    lines = [
        a_line(InvoiceNo=str(at), UnitPrice=price, Description=title)
        for at, (price, title) in enumerate([(2.0, "OLD"), (2.0, "OLD"), (9.0, "NEW"), (9.9, "")])
    ]
    imported(tmp_path, *lines)

    product = load_snapshot(tmp_path / "snapshot").products.slice(0, 1).to_pylist()[0]
    assert product["price_minor"] == 255
    assert product["title"] == "NEW"


def write_csv(file: Path, rows: list[list[Any]], encoding: str = "utf8") -> None:
    with file.open("w", newline="", encoding=encoding) as out:
        csv.writer(out).writerows([TYPES.names, *rows])


@pytest.mark.parametrize("date", ["12/1/2010 8:26", "2010-12-01 08:26:00", "2010-12-01T08:26:00Z"])
def test_csv_says_the_same_as_parquet(tmp_path: Path, date: str) -> None:
    line = a_line(Description="LUNCH BOX, £5", InvoiceDate=date, CustomerID="17850.0")
    write_csv(tmp_path / "data.csv", [list(line.values())], "latin1")
    manifest = import_data("online-retail", tmp_path, tmp_path / "snapshot")

    snapshot = load_snapshot(tmp_path / "snapshot")
    assert manifest.first_ms == 1_291_191_960_000
    assert snapshot.user_ids.tolist() == ["17850"]
    assert snapshot.products["title"].to_pylist() == ["LUNCH BOX, £5"]
    assert snapshot.events.price_minor.tolist() == [255]


def test_csv_lines_with_too_few_cells_keep_the_numbers_of_the_others_right(tmp_path: Path) -> None:
    sound, bad = list(a_line().values()), list(a_line(UnitPrice="free").values())
    write_csv(tmp_path / "data.csv", [sound, ["536365", "short"], bad])
    import_data("online-retail", tmp_path, tmp_path / "snapshot")

    assert [(row["row"], row["fault"]) for row in quarantined(tmp_path)] == [
        (2, "has 2 columns, not 8"),
        (3, "UnitPrice is not a finite number"),
    ]


@pytest.mark.parametrize("date", ["2010-02-31 08:00:00", "13/45/2010 8:26", "yesterday", "0"])
def test_a_date_that_is_none_is_a_fault(tmp_path: Path, date: str) -> None:
    rows = [list(a_line(InvoiceDate=when).values()) for when in ("2010-12-01 08:26", date)]
    write_csv(tmp_path / "data.csv", rows)
    manifest = import_data("online-retail", tmp_path, tmp_path / "snapshot")

    assert manifest.faults == {"InvoiceDate is not a date and time": 1}


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    line = pa.Table.from_pylist([a_line(UnitPrice=0.0)], schema=TYPES)
    pq.write_table(line, tmp_path / "lines.parquet")

    with pytest.raises(DataRejected, match="nothing usable"):
        import_data("online-retail", tmp_path / "lines.parquet", tmp_path / "snapshot")


def test_a_missing_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    line = pa.Table.from_pylist([a_line()], schema=TYPES).drop_columns(["UnitPrice", "Country"])
    pq.write_table(line, tmp_path / "lines.parquet")

    with pytest.raises(DataRejected, match=r"lines.parquet lacks the column UnitPrice, Country"):
        import_data("online-retail", tmp_path / "lines.parquet", tmp_path / "snapshot")
