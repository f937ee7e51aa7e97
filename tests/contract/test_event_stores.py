"""Events and what is read next: the log on LMDB, on Redis, and the twin in memory."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.adapters.memory import MemoryEventStore
from serving.recommend.ports import EventReceipt, EventStore, Histories, ShopperEvent, StoredHistory
from shop.events import EVENT_CODES, HISTORY_LIMIT, EventType
from tests.contract.history_stores import LmdbStores, RedisStores, Stores
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.feedback_writer import an_event, open_log


@dataclass
class Shop:
    """Both ports on one kind of store."""

    events: EventStore
    histories: Histories
    run: Callable[[Coroutine[Any, Any, Any]], Any]

    def record(self, *events: ShopperEvent) -> EventReceipt:
        receipt: EventReceipt = self.run(self.events.record(events, timeout_s=10.0))
        return receipt

    def history_of(self, shopper: str) -> StoredHistory:
        history = self.run(self.histories.of(shopper, timeout_s=5.0))
        assert isinstance(history, StoredHistory)
        return history


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=needs_redis), "memory"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "memory":
        with asyncio.Runner() as runner:
            twin = MemoryEventStore()
            yield Shop(twin, twin.histories, runner.run)
    elif request.param == "lmdb":
        with LmdbStores(tmp_path) as stores:
            yield from logged(stores, tmp_path)
    else:
        with RunningRedis() as server, RedisStores(server.url) as stores:
            yield from logged(stores, tmp_path)


def logged(stores: Stores, folder: Path) -> Iterator[Shop]:
    histories = stores.open()
    with closing(open_log(folder, histories)) as log:
        yield Shop(log, histories, stores.run)


def test_an_acknowledged_event_counts_in_the_very_next_read(shop: Shop) -> None:
    for number in range(1, 6):
        assert shop.record(an_event(str(number), time_ms=number)) == EventReceipt(1, 0)
        assert shop.history_of("ada").times_ms.tolist() == list(range(1, number + 1))


def test_a_shopper_nobody_has_seen_has_none(shop: Shop) -> None:
    shop.record(an_event("a"))
    assert shop.run(shop.histories.of("bob", timeout_s=5.0)) is None


def test_a_repeated_key_is_acknowledged_and_counts_once(shop: Shop) -> None:
    assert shop.record(an_event("a"), an_event("a")) == EventReceipt(1, 1)
    assert shop.record(an_event("a"), an_event("b", time_ms=2_000)) == EventReceipt(1, 1)
    assert shop.record(an_event("a", shopper="bob")) == EventReceipt(1, 0)
    assert shop.history_of("ada").times_ms.tolist() == [1_000, 2_000]


def test_deeds_stand_in_order_of_time_and_impressions_are_none(shop: Shop) -> None:
    shop.record(an_event("a", time_ms=3_000, product_id="late", session_id="tuesday"))
    shop.record(
        an_event("b", time_ms=1_000, product_id="early", type=EventType.CART),
        an_event("c", time_ms=2_000, type=EventType.IMPRESSION),
    )
    history = shop.history_of("ada")
    assert history.product_ids == ("early", "late")
    assert history.session_ids == ("monday", "tuesday")
    assert history.event_codes.tolist() == [EVENT_CODES[EventType.CART], 2]


def test_no_more_is_kept_than_training_sees(shop: Shop) -> None:
    for start in (0, 150):
        shop.record(*(an_event(str(n), time_ms=n) for n in range(start, start + 150)))
    times = shop.history_of("ada").times_ms
    assert times.tolist() == list(range(300 - HISTORY_LIMIT, 300))


def test_the_profile_is_the_newest_that_was_told(shop: Shop) -> None:
    shop.record(an_event("a", country="DE", device="mobile"))
    shop.record(an_event("b", country="FR", device=""))
    history = shop.history_of("ada")
    assert (history.country, history.device, history.segment) == ("FR", "mobile", "")
