"""Histories on a real LMDB: what is kept, what is forgotten, several processes at once."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.adapters.lmdb import LmdbHistories
from serving.adapters.log_segments import Position
from serving.recommend.ports import StoredHistory
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODES, HISTORY_LIMIT, EventType
from tests.unit.feedback_writer import an_event

ROOT = Path(__file__).resolve().parents[2]
DAY_MS = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbHistories]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def open_store(folder: Path, *, max_shoppers: int = 1_000, now_ms: int = DAY_MS) -> LmdbHistories:
    return LmdbHistories(
        folder / "h.lmdb", map_bytes=1 << 26, max_shoppers=max_shoppers, now_ms=lambda: now_ms
    )


def history_of(store: LmdbHistories, shopper: str) -> StoredHistory | None:
    return asyncio.run(store.of(shopper, timeout_s=1.0))


def some_histories(folder: Path, shoppers: dict[str, int]) -> Path:
    """A histories.parquet; each shopper with so many interactions, newest first in the file."""
    rows = [
        {
            "user_id": shopper,
            "segment": "new",
            "country": "DE",
            "device": None,
            "product_ids": [f"p{at}" for at in range(count)],
            "event_codes": [EVENT_CODES[EventType.CLICK]] * count,
            "times_ms": list(range(count, 0, -1)),
            "session_ids": ["s"] * count,
        }
        for shopper, count in shoppers.items()
    ]
    file = folder / "histories.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def test_nobody_has_no_history(store: LmdbHistories) -> None:
    assert history_of(store, "ada") is None
    assert history_of(store, "") is None
    assert history_of(store, "x" * 600) is None


def test_events_stand_in_order_of_time_whatever_order_they_came_in(store: LmdbHistories) -> None:
    with store.writing() as changes:
        changes.apply([an_event("a", time_ms=3_000, product_id="late", session_id="tuesday")])
    with store.writing() as changes:
        changes.apply(
            [
                an_event("b", time_ms=1_000, product_id="early", type=EventType.CART),
                an_event("c", time_ms=2_000, product_id="middle", device="", country="FR"),
                an_event("d", time_ms=2_500, type=EventType.IMPRESSION),
            ]
        )
    history = history_of(store, "ada")
    assert history is not None
    assert history.product_ids == ("early", "middle", "late")
    assert history.session_ids == ("monday", "monday", "tuesday")
    assert history.event_codes.tolist() == [EVENT_CODES[EventType.CART], 2, 2]
    assert history.event_codes.dtype == history.times_ms.dtype == np.int64
    assert (history.country, history.device) == ("FR", "mobile")


def test_only_the_newest_interactions_are_kept(store: LmdbHistories) -> None:
    with store.writing() as changes:
        changes.apply(
            an_event(str(n), time_ms=n, product_id=f"p{n}", session_id=f"s{n}") for n in range(300)
        )
    history = history_of(store, "ada")
    assert history is not None
    assert len(history.product_ids) == HISTORY_LIMIT
    assert history.product_ids[-1] == "p299"
    assert history.session_ids[0] == "s100"


def test_a_key_is_known_for_a_week_and_then_forgotten(tmp_path: Path) -> None:
    for day, is_new in ((1, True), (1, False), (8, False), (9, True), (9, False)):
        store = open_store(tmp_path, now_ms=day * DAY_MS)
        with store.writing() as changes:
            assert changes.first_seen(an_event("key")) is is_new, f"on day {day}"
        store.close()


def test_nothing_of_a_failed_transaction_stays(store: LmdbHistories) -> None:
    def fail_after_writing() -> None:
        with store.writing() as changes:
            changes.first_seen(an_event("a"))
            changes.apply([an_event("a")])
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail_after_writing()
    assert history_of(store, "ada") is None
    with store.writing() as changes:
        assert changes.first_seen(an_event("a"))


def test_shoppers_idle_for_longest_make_room(tmp_path: Path) -> None:
    store = open_store(tmp_path, max_shoppers=3)
    for number in range(5):
        with store.writing() as changes:
            changes.apply([an_event(str(number), shopper=f"u{number}", time_ms=number + 1)])
    with store.writing() as changes:
        changes.apply([an_event("again", shopper="u2", time_ms=100)])
        changes.apply([an_event("new", shopper="u5", time_ms=50)])
    assert store.shopper_count() == 3
    assert [n for n in range(6) if history_of(store, f"u{n}") is not None] == [2, 4, 5]
    store.close()


def test_the_idle_mark_of_a_damaged_history_costs_nobody_a_newer_one(tmp_path: Path) -> None:
    store = open_store(tmp_path, max_shoppers=2)
    with store.writing() as changes:
        changes.apply([an_event("a", shopper="ada", time_ms=1)])
    with store._env.begin(write=True, db=store._histories) as txn:
        txn.put(b"ada", b"damaged")
    for number, shopper in enumerate(("ada", "bob", "cid", "dan")):
        with store.writing() as changes:
            changes.apply([an_event(str(number), shopper=shopper, time_ms=100 - number)])
    with store.writing():
        pass  # every commit tidies a little
    assert store.shopper_count() == 2
    assert [n for n in ("ada", "bob", "cid", "dan") if history_of(store, n)] == ["ada", "bob"]
    store.close()


def test_a_full_store_says_which_setting_helps(tmp_path: Path) -> None:
    store = LmdbHistories(tmp_path / "small", map_bytes=1 << 17, max_shoppers=10**6)

    def fill() -> None:
        for number in range(1_000):
            with store.writing() as changes:
                changes.apply([an_event(str(number), shopper=f"u{number}")])

    with pytest.raises(DependencyUnavailable, match=r"feedback\.history_map_bytes"):
        fill()
    store.close()


def test_checkpoints_survive_the_process(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.writing() as changes:
        changes.checkpoint("writer-0", Position(3, 1_234))
    store.close()
    again = open_store(tmp_path)
    assert again.applied("writer-0") == Position(3, 1_234)
    assert again.applied("writer-1") == Position(0, 0)
    again.close()


def test_histories_of_a_release_are_taken_in_once(store: LmdbHistories, tmp_path: Path) -> None:
    file = some_histories(tmp_path, {"ada": 3, "bob": 0, "": 2, "x" * 600: 2})
    assert store.import_histories(file, source="world-1") == 2
    assert store.import_histories(file, source="world-1") == 0
    history = history_of(store, "ada")
    assert history is not None
    assert history.product_ids == ("p2", "p1", "p0")
    assert (history.segment, history.country, history.device) == ("new", "DE", "")
    empty = history_of(store, "bob")
    assert empty is not None
    assert empty.product_ids == ()


def test_a_later_release_adds_shoppers_and_overwrites_none(
    store: LmdbHistories, tmp_path: Path
) -> None:
    store.import_histories(some_histories(tmp_path, {"ada": 3}), source="world-1")
    with store.writing() as changes:
        changes.apply([an_event("a", time_ms=10)])
    later = some_histories(tmp_path, {"ada": 1, "eve": 250})
    assert store.import_histories(later, source="world-2") == 1
    ada, eve = history_of(store, "ada"), history_of(store, "eve")
    assert ada is not None
    assert len(ada.product_ids) == 4
    assert eve is not None
    assert len(eve.product_ids) == HISTORY_LIMIT


def test_another_process_sees_what_was_committed(store: LmdbHistories, tmp_path: Path) -> None:
    with store.writing() as changes:
        changes.apply([an_event("a")])
    reader = (
        "import asyncio, pathlib, sys;"
        "from serving.adapters.lmdb import LmdbHistories;"
        "store = LmdbHistories(pathlib.Path(sys.argv[1]), map_bytes=1 << 26, max_shoppers=9);"
        "print(asyncio.run(store.of('ada', timeout_s=1)).product_ids)"
    )
    found = subprocess.run(
        [sys.executable, "-c", reader, str(tmp_path / "h.lmdb")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert found.stdout.strip() == "('lamp-1',)"
