"""Events while Redis is down, and after: nothing acknowledged is lost, nothing counts twice."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.adapters.feedback_log import FeedbackLog
from serving.adapters.log_segments import log_name, segments_of
from serving.adapters.redis import RedisHistories
from serving.recommend.ports import EventReceipt, ShopperEvent
from shop.errors import DependencyError
from tests.contract.history_stores import RedisStores
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.feedback_writer import an_event, open_log
from tests.unit.test_feedback_log import logged_events

pytestmark = needs_redis
PATIENCE_S = 20.0


@pytest.fixture
def server() -> Iterator[RunningRedis]:
    with RunningRedis("--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


@pytest.fixture
def stores(server: RunningRedis) -> Iterator[RedisStores]:
    with RedisStores(server.url) as opened:
        yield opened


def record(stores: RedisStores, log: FeedbackLog, *events: ShopperEvent) -> EventReceipt:
    return stores.run(log.record(events, timeout_s=10.0))


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


def times_of(stores: RedisStores, store: RedisHistories, shopper: str) -> list[int] | None:
    try:
        history = stores.history_of(store, shopper)
    except DependencyError:
        return None
    return [] if history is None else history.times_ms.tolist()


@pytest.mark.parametrize("how", ["killed", "stalled"])
def test_events_are_accepted_while_redis_is_away_and_count_when_it_is_back(
    server: RunningRedis, stores: RedisStores, tmp_path: Path, how: str
) -> None:
    store = stores.open()
    with closing(open_log(tmp_path, store)) as log:
        record(stores, log, an_event("a", time_ms=1))
        assert not log.histories_are_behind
        if how == "killed":
            server.kill()
        else:
            server.pause()
        assert record(stores, log, an_event("b", time_ms=2)) == EventReceipt(1, 0)
        # Nobody can say now that it was here before.
        assert record(stores, log, an_event("b", time_ms=2), an_event("c", time_ms=3)).accepted == 2
        assert log.histories_are_behind
        assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "b", "b", "c"]
        if how == "killed":
            server.start()
        else:
            server.go_on()
        eventually(lambda: not log.histories_are_behind)
        assert times_of(stores, store, "ada") == [1, 2, 3]
        assert record(stores, log, an_event("b"), an_event("d", time_ms=4)) == EventReceipt(1, 1)
        assert times_of(stores, store, "ada") == [1, 2, 3, 4]
        assert log.counts.failed_groups == 0


def test_a_replica_starts_without_redis_and_catches_up(
    server: RunningRedis, stores: RedisStores, tmp_path: Path
) -> None:
    with closing(open_log(tmp_path, stores.open())) as log:
        record(stores, log, an_event("a", time_ms=1))
    server.kill()
    store = stores.open()
    with closing(open_log(tmp_path, store)) as log:
        assert record(stores, log, an_event("b", time_ms=2)) == EventReceipt(1, 0)
        server.start()
        eventually(lambda: not log.histories_are_behind)
        assert times_of(stores, store, "ada") == [1, 2]


def test_what_was_not_caught_up_with_is_replayed_by_the_next_life(
    server: RunningRedis, stores: RedisStores, tmp_path: Path
) -> None:
    with closing(open_log(tmp_path, stores.open())) as log:
        server.kill()
        record(stores, log, an_event("a", time_ms=1), an_event("a", time_ms=1))
    server.start()
    store = stores.open()
    with closing(open_log(tmp_path, store)) as log:
        assert not log.histories_are_behind
        assert times_of(stores, store, "ada") == [1]


def test_a_redis_that_came_back_empty_gets_the_whole_log_without_being_written_to(
    stores: RedisStores, tmp_path: Path
) -> None:
    with RunningRedis() as forgetful, RedisStores(forgetful.url) as others:
        store = others.open()
        with closing(open_log(tmp_path, store)) as log:
            for number in range(30):
                record(others, log, *(an_event(f"{number}-{n}", time_ms=n) for n in range(5)))
            before = times_of(others, store, "ada")
            forgetful.kill()
            forgetful.start()
            eventually(lambda: times_of(others, store, "ada") == before)
            eventually(lambda: not log.histories_are_behind)
            assert record(others, log, an_event("0-0")) == EventReceipt(0, 1)


def test_a_redis_that_lost_its_latest_is_noticed_by_the_next_event(tmp_path: Path) -> None:
    with RunningRedis() as forgetful, RedisStores(forgetful.url) as stores:
        store = stores.open()
        with closing(open_log(tmp_path, store)) as log:
            record(stores, log, an_event("a", time_ms=1))
            forgetful.kill()
            forgetful.start()
            record(stores, log, an_event("b", time_ms=2))
            eventually(lambda: times_of(stores, store, "ada") == [1, 2])


def test_two_machines_share_the_histories_and_not_their_checkpoints(
    server: RunningRedis, stores: RedisStores, tmp_path: Path
) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    names = [log_name(folder) for folder in folders]
    assert names[0] != names[1]
    assert [log_name(folder) for folder in folders] == names
    here, there = (stores.open(log=name) for name in names)
    with closing(open_log(folders[0], here)) as first, closing(open_log(folders[1], there)) as last:
        assert record(stores, first, an_event("a", time_ms=1)) == EventReceipt(1, 0)
        assert record(stores, last, an_event("a"), an_event("b", time_ms=2)) == EventReceipt(1, 1)
        record(stores, first, an_event("c", time_ms=3))
        assert times_of(stores, there, "ada") == [1, 2, 3]
        assert not first.histories_are_behind
        assert not last.histories_are_behind
    assert here.applied("writer-0") != there.applied("writer-0")


def test_a_log_that_lost_its_old_files_still_gives_its_new_ones(
    server: RunningRedis, stores: RedisStores, tmp_path: Path
) -> None:
    store = stores.open()
    with closing(open_log(tmp_path, store)) as log:
        for number in range(400):  # several segments
            record(stores, log, an_event(str(number), shopper="bob", time_ms=number))
    writer = tmp_path / "feedback" / "writer-0"
    assert len(segments_of(writer)) > 1
    for _, segment in segments_of(writer):
        segment.unlink()
    server.kill()
    with closing(open_log(tmp_path, store)) as log:  # where to go on, Redis cannot tell
        record(stores, log, an_event("a", time_ms=1))
        server.start()
        eventually(lambda: not log.histories_are_behind)
        assert times_of(stores, store, "ada") == [1]
