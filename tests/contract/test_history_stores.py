"""Histories on a real LMDB and on a real Redis: the same suite for both."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.adapters.history_records import packed
from serving.adapters.history_store import HistoryStore
from serving.adapters.log_segments import START, Position
from serving.recommend.ports import ShopperEvent, StoredHistory
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODES, HISTORY_LIMIT, EventType
from tests.contract.history_stores import DAY_MS, LmdbStores, RedisStores, Stores
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.feedback_writer import an_event
from tests.unit.small_shop import a_history


@pytest.fixture(
    params=[
        "lmdb",
        pytest.param("redis by TCP", marks=needs_redis),
        pytest.param("redis by socket", marks=needs_redis),
    ]
)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "lmdb":
        with LmdbStores(tmp_path) as opened:
            yield opened
    else:
        with RunningRedis() as server:
            url = server.url if request.param == "redis by TCP" else server.socket_url
            with RedisStores(url) as opened:
                yield opened


def add(store: HistoryStore, *events: ShopperEvent) -> list[bool]:
    """As the log does, but for the log; which of the events were new."""
    with store.writing() as changes:
        is_new = changes.first_seen(events)
        changes.apply([event for event, new in zip(events, is_new, strict=True) if new])
    return is_new


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


def test_nobody_has_no_history(stores: Stores) -> None:
    store = stores.open()
    assert stores.history_of(store, "ada") is None
    assert stores.history_of(store, "") is None
    assert stores.history_of(store, "x" * 600) is None


def test_an_event_counts_in_the_very_next_read(stores: Stores) -> None:
    store = stores.open()
    for number in range(1, 20):
        add(store, an_event(str(number), time_ms=number))
        history = stores.history_of(store, "ada")
        assert history is not None
        assert history.times_ms.tolist() == list(range(1, number + 1))


def test_events_stand_in_order_of_time_whatever_order_they_came_in(stores: Stores) -> None:
    store = stores.open()
    add(store, an_event("a", time_ms=3_000, product_id="late", session_id="tuesday"))
    add(
        store,
        an_event("b", time_ms=1_000, product_id="early", type=EventType.CART),
        an_event("c", time_ms=2_000, product_id="middle", device="", country="FR"),
        an_event("d", time_ms=2_500, type=EventType.IMPRESSION),
    )
    history = stores.history_of(store, "ada")
    assert history is not None
    assert history.product_ids == ("early", "middle", "late")
    assert history.session_ids == ("monday", "monday", "tuesday")
    assert history.event_codes.tolist() == [EVENT_CODES[EventType.CART], 2, 2]
    assert history.event_codes.dtype == history.times_ms.dtype == np.int64
    assert (history.country, history.device) == ("FR", "mobile")


def test_only_the_newest_interactions_are_kept(stores: Stores) -> None:
    store = stores.open()
    for start in (0, 150):
        numbers = range(start, start + 150)
        add(
            store,
            *(an_event(str(n), time_ms=n, product_id=f"p{n}", session_id=f"s{n}") for n in numbers),
        )
    history = stores.history_of(store, "ada")
    assert history is not None
    assert len(history.product_ids) == HISTORY_LIMIT
    assert history.product_ids[-1] == "p299"
    assert history.session_ids[0] == "s100"


def test_the_same_key_counts_once_for_each_shopper(stores: Stores) -> None:
    store = stores.open()
    assert add(store, an_event("1"), an_event("1"), an_event("1", shopper="bob")) == [
        True,
        False,
        True,
    ]
    assert add(store, an_event("1"), an_event("", shopper="ada1")) == [False, True]
    for shopper in ("ada", "bob", "ada1"):
        history = stores.history_of(store, shopper)
        assert history is not None
        assert len(history.product_ids) == 1


def test_a_key_of_an_event_without_taste_is_known_too(stores: Stores) -> None:
    store = stores.open()
    seen = an_event("s", type=EventType.SEARCH, product_id="")
    assert add(store, seen) == [True]
    assert add(store, seen) == [False]
    assert stores.history_of(store, "ada") is None
    assert store.shopper_count() == 0


def test_a_key_is_known_for_a_week_and_then_forgotten(stores: Stores) -> None:
    for day, is_new in ((1, True), (1, False), (8, False), (9, True), (9, False)):
        store = stores.open(now_ms=day * DAY_MS)
        assert add(store, an_event("key")) == [is_new], f"on day {day}"


def test_nothing_of_what_failed_stays(stores: Stores) -> None:
    store = stores.open()

    def fail_after_writing() -> None:
        with store.writing() as changes:
            changes.first_seen([an_event("a")])
            changes.apply([an_event("a")])
            changes.checkpoint("writer-0", Position(1, 2))
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail_after_writing()
    assert stores.history_of(store, "ada") is None
    assert store.applied("writer-0") == START
    assert add(store, an_event("a")) == [True]


def test_shoppers_idle_for_longest_make_room(stores: Stores) -> None:
    store = stores.open(max_shoppers=3)
    for number in range(5):
        add(store, an_event(str(number), shopper=f"u{number}", time_ms=number + 1))
    add(
        store,
        an_event("again", shopper="u2", time_ms=100),
        an_event("new", shopper="u5", time_ms=50),
    )
    assert store.shopper_count() == 3
    kept = [n for n in range(6) if stores.history_of(store, f"u{n}") is not None]
    assert kept == [2, 4, 5]


_NONE = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
_EMPTY = packed(StoredHistory((), *_NONE, (), "", "", ""))


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", _EMPTY[:-1], b"\x07", b"\x97\x02" + _EMPTY[2:], b"\xff" * 5_000]
)
def test_a_damaged_history_is_lost_to_its_reader_and_begins_anew(
    stores: Stores, raw: bytes
) -> None:
    store = stores.open()
    add(store, an_event("a"), an_event("b", shopper="bob"))
    stores.damage("ada", raw)
    with pytest.raises(DependencyUnavailable, match="damaged"):
        stores.history_of(store, "ada")
    with store.writing() as changes:
        changes.apply([an_event("c", product_id="lamp-9"), an_event("d", shopper="bob")])
    assert changes.damaged_count == 1
    ada, bob = stores.history_of(store, "ada"), stores.history_of(store, "bob")
    assert ada is not None
    assert ada.product_ids == ("lamp-9",)
    assert bob is not None
    assert len(bob.product_ids) == 2


def test_the_idle_mark_of_a_damaged_history_costs_nobody_a_newer_one(stores: Stores) -> None:
    store = stores.open(max_shoppers=2)
    add(store, an_event("a", shopper="ada", time_ms=1))
    stores.damage("ada", b"damaged")
    for number, shopper in enumerate(("ada", "bob", "cid", "dan")):
        add(store, an_event(str(number), shopper=shopper, time_ms=100 - number))
    with store.writing():
        pass  # every commit tidies a little
    assert store.shopper_count() == 2
    known = [n for n in ("ada", "bob", "cid", "dan") if stores.history_of(store, n)]
    assert known == ["ada", "bob"]


def test_what_was_written_is_there_when_the_store_is_opened_again(stores: Stores) -> None:
    store = stores.open()
    add(store, an_event("a"))
    with store.writing() as changes:
        changes.checkpoint("writer-0", Position(3, 1_234))
        assert changes.applied("writer-1") == START
    stores.close_all()
    again = stores.open()
    assert stores.history_of(again, "ada") is not None
    assert add(again, an_event("a")) == [False]
    assert again.applied("writer-0") == Position(3, 1_234)
    assert again.applied("writer-1") == START


def test_histories_of_a_release_are_taken_in_once(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    file = some_histories(tmp_path, {"ada": 3, "bob": 0, "": 2, "x" * 600: 2})
    assert store.import_histories(file, source="world-1") == 2
    assert store.import_histories(file, source="world-1") == 0
    history = stores.history_of(store, "ada")
    assert history is not None
    assert history.product_ids == ("p2", "p1", "p0")
    assert (history.segment, history.country, history.device) == ("new", "DE", "")
    empty = stores.history_of(store, "bob")
    assert empty is not None
    assert empty.product_ids == ()


def test_a_later_release_adds_shoppers_and_overwrites_none(stores: Stores, tmp_path: Path) -> None:
    store = stores.open()
    store.import_histories(some_histories(tmp_path, {"ada": 3}), source="world-1")
    add(store, an_event("a", time_ms=10))
    later = some_histories(tmp_path, {"ada": 1, "eve": 250})
    assert store.import_histories(later, source="world-2") == 1
    ada, eve = stores.history_of(store, "ada"), stores.history_of(store, "eve")
    assert ada is not None
    assert len(ada.product_ids) == 4
    assert eve is not None
    assert len(eve.product_ids) == HISTORY_LIMIT


def test_a_release_of_more_shoppers_than_there_is_room_for_leaves_those_seen_last(
    stores: Stores, tmp_path: Path
) -> None:
    store = stores.open(max_shoppers=2)
    store.import_histories(some_histories(tmp_path, {"a": 1, "b": 9, "c": 4}), source="world-1")
    with store.writing():
        pass
    assert store.shopper_count() == 2
    assert stores.history_of(store, "a") is None


def test_readers_at_the_same_moment_each_get_their_own(stores: Stores) -> None:
    store = stores.open()
    names = [f"u{number}" for number in range(30)]
    add(store, *(an_event("k", shopper=name, product_id=f"of-{name}") for name in names))

    async def all_at_once() -> list[StoredHistory | None]:
        return await asyncio.gather(*(store.of(name, timeout_s=5.0) for name in names))

    found = stores.run(all_at_once())
    assert [history.product_ids for history in found if history is not None] == [
        (f"of-{name}",) for name in names
    ]


def test_both_stores_hold_the_same_record(stores: Stores) -> None:
    store = stores.open()
    stores.damage("ada", packed(a_history("p1", "p2", segment="new")))
    history = stores.history_of(store, "ada")
    assert history is not None
    assert (history.product_ids, history.segment) == (("p1", "p2"), "new")
