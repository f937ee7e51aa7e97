"""Replay: training's code makes of the log, bit for bit, what the gateway sent to the models."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from serving.adapters.feedback_records import event_record, impression_record
from serving.adapters.memory import MemoryEventStore
from serving.gateway import Gateway
from serving.recommend.ports import EventReceipt, Impression, LoadedRelease, ShopperEvent
from serving.service import Service
from serving.settings import DoorSettings
from serving.telemetry import Telemetry
from shop.feedback import MAGIC
from shop.local_time import utc_offset_minutes
from tests.unit.logged_traffic import (
    KeepingRanker,
    KeepingTower,
    UnwatchedGateway,
    assert_replayed,
    shop_around,
)
from tests.unit.small_shop import a_schema, a_shop
from training.logged import Log
from training.replay import replay

CALLS = 500


@dataclass(slots=True, eq=False)
class LogInMemory(MemoryEventStore):
    """The records of a log in the order in which they would be written."""

    segment: bytearray = field(default_factory=lambda: bytearray(MAGIC))

    def put(self, impression: Impression) -> None:
        self.segment += impression_record(impression)

    async def record(self, events: Sequence[ShopperEvent], *, timeout_s: float) -> EventReceipt:
        receipt = await MemoryEventStore.record(self, events, timeout_s=timeout_s)
        for event in events:  # with what was sent twice, as a log may hold it
            self.segment += event_record(event)
        return receipt


@dataclass(slots=True, eq=False)
class Traffic:
    """What one run left behind."""

    segment: bytes
    service: Service
    tower: KeepingTower
    ranker: KeepingRanker

    def log(self) -> Log:
        log = Log()
        log.read("writer-0", [self.segment])
        return log


def traffic(calls: int) -> Traffic:
    shop = a_shop()
    tower = KeepingTower(item_vectors=shop.tower.item_vectors)
    ranker = KeepingRanker(judge=shop.ranker.judge)
    tables = replace(
        shop.deps.release.tables, schema=replace(a_schema(), time_zone="Europe/Berlin")
    )
    store = LogInMemory(histories=shop.histories)
    deps = replace(
        shop.deps,
        clock=time.monotonic,
        impressions=store,
        release=LoadedRelease(tables, tower, ranker, shop.index),
    )
    service = Service(deps, store, bytes(32), Telemetry(), is_sound=lambda: True)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        yield service

    async def run() -> None:
        gateway = UnwatchedGateway.__new__(UnwatchedGateway)
        await gateway.__init__(opened, DoorSettings())  # type: ignore[misc]  # as Serve does
        await shop_around(gateway, calls=calls, now_ms=service.now_ms())
        await Gateway.__del__(gateway)  # closes it

    asyncio.run(run())
    return Traffic(bytes(store.segment), service, tower, ranker)


@pytest.fixture(scope="module")
def done() -> Traffic:
    return traffic(CALLS)


def test_five_hundred_logged_calls_are_computed_again_bit_for_bit(done: Traffic) -> None:
    tables = done.service.tables
    replayed = assert_replayed(done.log(), tables, done.tower, done.ranker, calls=CALLS)
    values = np.array([features.context_values for features in replayed.features])
    assert (values != 0).any(axis=0).all()  # every signal was there, so every one was compared


def test_who_tells_no_clock_lives_by_the_shop_s(done: Traffic) -> None:
    offsets = [call["utc_offset_minutes"] for call in done.log().calls]
    berlin = utc_offset_minutes("Europe/Berlin", done.service.now_ms())
    assert offsets.count(berlin) > CALLS // 2


def test_a_feature_that_changes_is_found(done: Traffic) -> None:
    tables, log = done.service.tables, done.log()
    ids = tables.catalogue.product_ids.tolist()
    other = replace(tables.schema, devices=tables.schema.devices[::-1])
    found = replay(log, other, ids, release=tables.release, imported={})
    assert 0 < len(found.unequal) < CALLS


def test_a_log_that_lacks_events_is_not_judged(done: Traffic) -> None:
    tables, log = done.service.tables, done.log()
    ids = tables.catalogue.product_ids.tolist()
    shopper = next(call["shopper"] for call in log.calls if call["history_revision"] > 2)
    del log.events[shopper][1:]
    found = replay(log, tables.schema, ids, release=tables.release, imported={})
    assert found.unequal == ()
    assert not found.is_judged.all()


def test_calls_of_another_release_are_left_out(done: Traffic) -> None:
    tables = done.service.tables
    found = replay(done.log(), tables.schema, [""], release="another", imported={})
    assert found.request_ids == ()
    assert found.unequal == ()
