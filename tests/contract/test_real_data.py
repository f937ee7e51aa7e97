"""The readers on real public data: the figures are facts of the files, known from elsewhere.

The data is not ours to ship. It is looked for in the folder that VITRINE_TEST_DATA names, or in
`../shared/data` beside the project; where it is absent these tests are skipped and say so.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from shop.events import EVENT_CODES, EventType
from training.data.check import check_snapshot
from training.data.snapshot import Snapshot, load_snapshot
from training.data.sources import detect_source, import_data

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("VITRINE_TEST_DATA") or ROOT.parent / "shared" / "data")
# 541 909 lines take 1 to 2 s on one core; the limit leaves room for a busy machine.
ONLINE_RETAIL_LIMIT_S = 10.0

Import = Callable[[str, str], Snapshot]


@pytest.fixture
def import_real(tmp_path: Path) -> Import:
    def do(source: str, name: str) -> Snapshot:
        data = real(name)
        assert detect_source(data) == source
        import_data(source, data, tmp_path / "snapshot")
        report = check_snapshot(tmp_path / "snapshot")
        assert report.is_passed, report
        return load_snapshot(tmp_path / "snapshot")

    return do


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"NO REAL DATA at {DATA / name}; name its folder in VITRINE_TEST_DATA")
    return DATA / name


def rows_accounted_for(snapshot: Snapshot) -> int:
    counts, left_out = snapshot.manifest.counts, snapshot.manifest.left_out
    return counts["events"] + counts["quarantined"] + sum(left_out.values())


def test_every_line_of_online_retail_is_accounted_for(import_real: Import) -> None:
    started_s = time.perf_counter()
    snapshot = import_real("online-retail", "online_retail")
    took_s = time.perf_counter() - started_s

    manifest = snapshot.manifest
    assert rows_accounted_for(snapshot) == 541_909
    assert manifest.counts["shoppers"] == 4_333
    assert manifest.event_types() == {EventType.PURCHASE, EventType.RETURN}
    assert manifest.left_out["no customer"] > 130_000
    assert manifest.faults["duplicate line"] == 5_257
    assert took_s < ONLINE_RETAIL_LIMIT_S


def test_every_return_of_online_retail_follows_a_purchase(import_real: Import) -> None:
    snapshot = import_real("online-retail", "online_retail")
    events = snapshot.events

    pairs = events.user_rows.astype(np.int64) * 100_000 + events.product_rows
    bought = events.codes == EVENT_CODES[EventType.PURCHASE]
    returned = events.codes == EVENT_CODES[EventType.RETURN]
    known, first = np.unique(pairs[bought], return_index=True)
    at = np.searchsorted(known, pairs[returned])
    assert np.array_equal(known[at], pairs[returned])
    assert np.all(events.times_ms[bought][first][at] <= events.times_ms[returned])
    # 7 599 of the 8 905 cancellations match before duplicates and typing errors go.
    assert 7_000 < np.count_nonzero(returned) < 7_599


def test_online_retail_as_csv_says_the_same(tmp_path: Path) -> None:
    (parquet,) = real("online_retail").glob("*.parquet")
    pacsv.write_csv(pq.read_table(parquet), tmp_path / "data.csv")

    from_csv = import_data("online-retail", tmp_path / "data.csv", tmp_path / "a")
    from_parquet = import_data("online-retail", parquet, tmp_path / "b")

    assert from_csv.counts == from_parquet.counts
    assert from_csv.sha256 == from_parquet.sha256


@pytest.mark.parametrize(
    ("name", "users", "items", "interactions"),
    [("beauty", 22_363, 12_101, 198_502), ("sports", 35_598, 18_357, 296_337)],
)
def test_benchmark_sequences_keep_every_interaction_in_order(
    import_real: Import, name: str, users: int, items: int, interactions: int
) -> None:
    file = f"amazon_seq/{name}_sequences.parquet"
    snapshot = import_real("sequences", file)

    counts = snapshot.manifest.counts
    assert (counts["shoppers"], counts["products"], counts["events"]) == (
        users,
        items,
        interactions,
    )
    assert (counts["quarantined"], snapshot.manifest.repeats) == (0, False)
    events = snapshot.events
    order = np.lexsort((events.times_ms, snapshot.user_ids[events.user_rows].astype(np.int64)))
    product_ids = np.array(["0", *snapshot.products["product_id"].to_pylist()], dtype=np.int64)
    original = pq.read_table(real(file)).sort_by("user_id")["item_ids"].combine_chunks().flatten()
    assert np.array_equal(product_ids[events.product_rows[order]], original.to_numpy())


def test_every_event_of_rees46_is_accounted_for(import_real: Import) -> None:
    snapshot = import_real("rees46", "rees46")

    assert rows_accounted_for(snapshot) == 17_435
    assert snapshot.manifest.faults == {
        "price is zero": 19,
        "duplicate line": 5,
        "user_session is empty": 1,
    }
    assert snapshot.manifest.counts["events_purchase"] == 214
