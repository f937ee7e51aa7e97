"""What is acknowledged is never lost, and never counted twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from serving.adapters.feedback_log import FeedbackLog, FeedbackSettings, open_feedback_log
from serving.adapters.feedback_records import read_event
from serving.adapters.history_records import packed
from serving.adapters.lmdb import LmdbHistories
from serving.adapters.log_segments import read_log, segments_of
from serving.recommend.ports import EventReceipt, Impression, ShopperEvent, StoredHistory
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.events import EventType
from shop.feedback import MAGIC, RecordKind, decode_record, encode_record, whole_records
from tests.unit.feedback_writer import an_event, open_histories, open_log

ROOT = Path(__file__).resolve().parents[2]
_NONE = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


@pytest.fixture
def histories(tmp_path: Path) -> Iterator[LmdbHistories]:
    opened = open_histories(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path: Path, histories: LmdbHistories) -> Iterator[FeedbackLog]:
    opened = open_log(tmp_path, histories)
    yield opened
    opened.close()


def record(log: FeedbackLog, events: Sequence[ShopperEvent]) -> EventReceipt:
    return asyncio.run(log.record(events, timeout_s=10.0))


def logged_events(folder: Path) -> list[ShopperEvent]:
    events = (read_event(payload) for payload in read_log(folder / "feedback"))
    return [event for event in events if event is not None]


def an_impression(request_id: str) -> Impression:
    return Impression(
        request_id=request_id,
        time_ms=1_000,
        shopper="ada",
        session_id="monday",
        placement="home",
        device="mobile",
        country="DE",
        segment="new",
        utc_offset_minutes=60,
        release="r-1",
        first_position=1,
        product_ids=("lamp-1", "lamp-2"),
        propensities=(1.0, 0.5),
        price_minor=(990, 1990),
        discounts=(0.0, 0.1),
        degraded=(),
    )


def test_acknowledged_event_is_on_disk_and_in_the_history(
    log: FeedbackLog, histories: LmdbHistories, tmp_path: Path
) -> None:
    receipt = record(log, [an_event("a"), an_event("b", product_id="lamp-2", time_ms=2_000)])
    assert receipt == EventReceipt(accepted=2, duplicates=0)
    assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "b"]
    history = asyncio.run(histories.of("ada", timeout_s=1.0))
    assert history is not None
    assert history.product_ids == ("lamp-1", "lamp-2")
    assert (history.country, history.device) == ("DE", "mobile")


def test_the_same_key_is_acknowledged_and_not_counted_twice(
    log: FeedbackLog, tmp_path: Path
) -> None:
    assert record(log, [an_event("a"), an_event("a")]) == EventReceipt(1, 1)
    assert record(log, [an_event("a"), an_event("b")]) == EventReceipt(1, 1)
    assert len(logged_events(tmp_path)) == 2
    assert (log.counts.events, log.counts.duplicates) == (2, 2)


def test_the_same_key_of_another_shopper_is_another_event(log: FeedbackLog, tmp_path: Path) -> None:
    of_ada, of_bob = an_event("1", shopper="ada"), an_event("1", shopper="bob")
    assert record(log, [of_ada, of_bob]) == EventReceipt(2, 0)
    assert record(log, [of_bob, an_event("", shopper="ada1")]) == EventReceipt(1, 1)
    assert len(logged_events(tmp_path)) == 3


def test_a_damaged_history_begins_anew_and_fails_nobody(
    log: FeedbackLog, histories: LmdbHistories, caplog: pytest.LogCaptureFixture
) -> None:
    record(log, [an_event("a"), an_event("b", shopper="bob")])
    for raw in (b"", b"\xc1", packed(StoredHistory((), *_NONE, (), "", "", ""))[:-1], b"\x07"):
        with histories._env.begin(write=True, db=histories._histories) as txn:
            txn.put(b"ada", raw)
        with pytest.raises(DependencyUnavailable):
            asyncio.run(histories.of("ada", timeout_s=1.0))
        key = raw.hex()
        both = [an_event(f"c{key}", product_id="lamp-9"), an_event(f"d{key}", shopper="bob")]
        assert record(log, both) == EventReceipt(2, 0)
        history = asyncio.run(histories.of("ada", timeout_s=1.0))
        assert history is not None
        assert history.product_ids == ("lamp-9",)
    assert log.counts.damaged_histories == 4
    assert log.counts.failed_groups == 0
    assert "a damaged history begins anew" in caplog.text


def test_event_survives_the_way_to_the_log_and_back(log: FeedbackLog, tmp_path: Path) -> None:
    event = an_event("a", type=EventType.SEARCH, query="Lämpchen 🪔", value=2.5, product_id="")
    record(log, [event])
    assert logged_events(tmp_path) == [event]


def test_many_callers_share_one_sync(log: FeedbackLog, tmp_path: Path) -> None:
    async def all_at_once() -> list[EventReceipt]:
        calls = (log.record([an_event(str(n))], timeout_s=10.0) for n in range(200))
        return await asyncio.gather(*calls)

    receipts = asyncio.run(all_at_once())
    assert sum(receipt.accepted for receipt in receipts) == 200
    assert {event.idempotency_key for event in logged_events(tmp_path)} == {
        str(n) for n in range(200)
    }


def test_shown_lists_are_logged_by_the_time_the_log_is_closed(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    for number in range(5):
        log.put(an_impression(f"request-{number}"))
    log.close()
    histories.close()
    shown = [decode_record(payload) for payload in read_log(tmp_path / "feedback")]
    assert [kind for kind, _ in shown] == [RecordKind.IMPRESSION] * 5
    assert shown[0][1]["propensities"] == [1.0, 0.5]
    assert log.counts.impressions == 5


def test_more_shown_lists_than_fit_are_counted_not_kept(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    log = open_feedback_log(tmp_path / "feedback", histories, FeedbackSettings())
    log.close()  # nothing is taken any more, so each one put counts as lost
    log.put(an_impression("late"))
    assert log.counts.lost_impressions == 1
    with pytest.raises(DependencyUnavailable):
        record(log, [an_event("late")])
    histories.close()


def test_log_goes_on_in_a_new_segment_when_one_is_full(log: FeedbackLog, tmp_path: Path) -> None:
    for number in range(20):
        record(log, [an_event(f"{number}-{i}") for i in range(20)])
    assert len(segments_of(tmp_path / "feedback" / "writer-0")) > 2
    assert len(logged_events(tmp_path)) == 400


def test_killed_writer_loses_no_acknowledged_event(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for _ in range(2):  # the second life has the first one's remains to recover from
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.feedback_writer", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        with writer:
            for line in writer.stdout:
                acknowledged.add(line.strip())
                if len(acknowledged) % 200 == 0:
                    writer.send_signal(signal.SIGKILL)
                    break
            acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    try:
        logged = logged_events(tmp_path)
        keys = [event.idempotency_key for event in logged]
        assert acknowledged <= set(keys)
        assert len(keys) == len(set(keys))  # what the second life was asked again, it knew
        again = record(log, logged)
        assert again.accepted == 0
    finally:
        log.close()
        histories.close()


def test_history_lost_by_a_power_cut_is_replayed_from_the_log(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    record(log, [an_event("a"), an_event("b", time_ms=2_000)])
    log.close()
    histories.close()
    for file in (tmp_path / "histories.lmdb").iterdir():
        file.unlink()

    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    try:
        history = asyncio.run(histories.of("ada", timeout_s=1.0))
        assert history is not None
        assert history.times_ms.tolist() == [1_000, 2_000]
        assert record(log, [an_event("a")]) == EventReceipt(0, 1)
    finally:
        log.close()
        histories.close()


def test_moving_finished_segments_away_does_not_hide_later_events(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    record(log, [an_event("a")])
    log.close()
    writer = tmp_path / "feedback" / "writer-0"
    for _, segment in segments_of(writer):
        segment.unlink()
    before = histories.applied("writer-0")

    log = open_log(tmp_path, histories)
    record(log, [an_event("b")])
    log.close()
    assert [number for number, _ in segments_of(writer)] == [before.segment + 1]
    histories.close()


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\x10\0\0\0\1\2\3\4half", b"\xff" * 100, b"\1"])
def test_record_cut_short_is_removed_when_the_writer_returns(tmp_path: Path, tail: bytes) -> None:
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    record(log, [an_event("a")])
    log.close()
    (_, segment), *_ = segments_of(tmp_path / "feedback" / "writer-0")
    whole_bytes = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(tail)

    log = open_log(tmp_path, histories)
    record(log, [an_event("b")])
    log.close()
    histories.close()
    assert segment.stat().st_size == whole_bytes
    assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "b"]


def test_two_writers_have_folders_of_their_own(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    first, second = open_log(tmp_path, histories), open_log(tmp_path, histories)
    assert record(first, [an_event("a")]).accepted == 1
    assert record(second, [an_event("a"), an_event("b")]) == EventReceipt(1, 1)
    first.close()
    second.close()
    histories.close()
    assert sorted(os.listdir(tmp_path / "feedback")) == ["writer-0", "writer-1"]
    assert len(logged_events(tmp_path)) == 2


def test_events_are_refused_not_acknowledged_when_the_disk_fails(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    folder = tmp_path / "feedback" / "writer-0"
    moved = tmp_path / "moved"
    folder.rename(moved)  # no segment can be made here
    with pytest.raises(DependencyUnavailable):
        record(log, [an_event("a")])
    moved.rename(folder)
    assert record(log, [an_event("a")]) == EventReceipt(1, 0)  # its key was not taken as seen
    log.close()
    histories.close()
    assert log.counts.failed_groups == 1


def test_events_are_kept_though_the_histories_are_full_and_count_once_there_is_room(
    tmp_path: Path,
) -> None:
    full = LmdbHistories(tmp_path / "histories.lmdb", map_bytes=1 << 17, max_shoppers=10**6)
    events = [an_event("k", shopper=f"u{number}", time_ms=number) for number in range(2_000)]
    log = open_log(tmp_path, full)
    for start in range(0, len(events), 100):
        assert record(log, events[start : start + 100]) == EventReceipt(100, 0)
    assert log.histories_are_behind
    log.close()
    full.close()
    assert logged_events(tmp_path) == events

    histories = LmdbHistories(tmp_path / "histories.lmdb", map_bytes=1 << 26, max_shoppers=10**6)
    log = open_log(tmp_path, histories)
    assert not log.histories_are_behind
    assert histories.shopper_count() == len(events)
    assert record(log, events[:5]) == EventReceipt(0, 5)
    log.close()
    histories.close()


@pytest.mark.parametrize("name", ["segment_bytes", "queued_batches", "max_shoppers"])
def test_setting_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        FeedbackSettings(**{name: 0})


def test_caller_is_told_when_the_disk_is_slower_than_its_patience(tmp_path: Path) -> None:
    histories = open_histories(tmp_path)
    log = open_log(tmp_path, histories)
    with histories.writing(), pytest.raises(DependencyTimeout):  # the store is taken meanwhile
        asyncio.run(log.record([an_event("a")], timeout_s=0.05))
    log.close()
    histories.close()
    assert len(logged_events(tmp_path)) == 1  # it got there after all; the same key is safe


def test_records_of_earlier_and_later_versions_are_read() -> None:
    event = an_event("k", dwell_ms=7)
    fields = {name: getattr(event, name) for name in event.__slots__} | {"type": event.type.value}

    def read(record: dict[str, object]) -> ShopperEvent | None:
        segment = MAGIC + encode_record(RecordKind.EVENT, record)
        [found] = whole_records(segment)
        return read_event(found.payload)

    assert read(fields | {"mood": "sunny"}) == event
    for name in ("dwell_ms", "result_count", "discount"):
        del fields[name]
    assert read(fields) == an_event("k")


def test_an_event_that_nobody_waits_for_is_in_the_log_when_it_is_closed(
    tmp_path: Path, log: FeedbackLog
) -> None:
    async def note() -> None:
        log.note(an_event("dead-end", type=EventType.SEARCH, query="velvet tents", product_id=""))
        log.note(an_event("dead-end", type=EventType.SEARCH, query="velvet tents", product_id=""))

    asyncio.run(note())
    log.close()
    assert [event.query for event in logged_events(tmp_path)] == ["velvet tents"]
    assert log.counts.lost_events == 0


def test_an_event_for_a_closed_log_is_counted_as_lost(log: FeedbackLog) -> None:
    log.close()
    log.note(an_event("dead-end"))
    assert log.counts.lost_events == 1
