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
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.adapters.feedback_log import FeedbackLog, FeedbackSettings, open_feedback_log
from serving.adapters.feedback_records import event_record, read_event
from serving.adapters.history_records import packed
from serving.adapters.log_segments import read_log, segments_of
from serving.recommend.ports import EventReceipt, Impression, ShopperEvent, StoredHistory
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.events import EventType
from shop.feedback import MAGIC, Record, RecordKind, decode_record, whole_records
from tests.unit.feedback_writer import an_event, open_histories, open_log

ROOT = Path(__file__).resolve().parents[2]
_NONE = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FeedbackLog]:
    histories = open_histories(tmp_path)
    opened = open_log(tmp_path, histories)
    yield opened
    opened.close()
    histories.close()


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


def test_acknowledged_event_is_on_disk_and_in_the_history(log: FeedbackLog, tmp_path: Path) -> None:
    receipt = record(log, [an_event("a"), an_event("b", product_id="lamp-2", time_ms=2_000)])
    assert receipt == EventReceipt(accepted=2, duplicates=0)
    assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "b"]
    histories = log._histories
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
    log: FeedbackLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(log, [an_event("a"), an_event("b", shopper="bob")])
    histories = log._histories
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


def a_log_of_three(folder: Path) -> tuple[Path, list[Record]]:
    """A finished segment with the events a, b and c, and where each stands."""
    histories = open_histories(folder)
    log = open_log(folder, histories)
    for number, key in enumerate("abc"):
        record(log, [an_event(key, time_ms=1_000 + number, product_id=f"lamp-{key}")])
    log.close()
    histories.close()
    ((_, segment),) = segments_of(folder / "feedback" / "writer-0")
    return segment, list(whole_records(segment.read_bytes()))


def reopened(folder: Path) -> StoredHistory | None:
    histories = open_histories(folder)
    open_log(folder, histories).close()
    history = asyncio.run(histories.of("ada", timeout_s=1.0))
    histories.close()
    return history


def damaged_files(folder: Path) -> list[Path]:
    return sorted((folder / "feedback" / "writer-0").glob("*.damaged*"))


@pytest.mark.parametrize("histories_are_lost", [True, False])
@pytest.mark.parametrize("part", ["length", "checksum", "payload", "hole"])
def test_a_damaged_record_costs_no_other(
    tmp_path: Path, part: str, histories_are_lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    segment, (_, b, _) = a_log_of_three(tmp_path)
    raw = bytearray(segment.read_bytes())
    where = {
        "length": (0, 4),
        "checksum": (4, 8),
        "payload": (30, 31),
        "hole": (0, b.end - b.begin),
    }
    begin, end = where[part]
    raw[b.begin + begin : b.begin + end] = bytes(
        0 if part == "hole" else byte ^ 0xFF for byte in raw[b.begin + begin : b.begin + end]
    )
    segment.write_bytes(raw)
    if histories_are_lost:
        for file in (tmp_path / "histories.lmdb").iterdir():
            file.unlink()

    for _ in range(2):  # and again: nothing is mended twice
        history = reopened(tmp_path)
        assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "c"]
        (kept,) = damaged_files(tmp_path)
        assert kept.read_bytes() == raw
        assert history is not None
        known = ("lamp-a", "lamp-c") if histories_are_lost else ("lamp-a", "lamp-b", "lamp-c")
        assert history.product_ids == known
    assert "kept aside" in caplog.text


def test_a_damaged_last_record_is_kept_aside_too(tmp_path: Path) -> None:
    segment, (*_, last) = a_log_of_three(tmp_path)
    raw = bytearray(segment.read_bytes())
    raw[last.end - 1] ^= 1
    segment.write_bytes(raw)
    reopened(tmp_path)
    assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "b"]
    assert [kept.read_bytes() for kept in damaged_files(tmp_path)] == [raw]


def test_a_segment_without_its_first_bytes_keeps_its_records(tmp_path: Path) -> None:
    segment, _ = a_log_of_three(tmp_path)
    segment.write_bytes(b"rubbish!" + segment.read_bytes()[8:])
    reopened(tmp_path)
    assert [event.idempotency_key for event in logged_events(tmp_path)] == ["a", "b", "c"]
    assert len(damaged_files(tmp_path)) == 1


def test_a_file_that_is_damaged_again_is_kept_again(tmp_path: Path) -> None:
    segment, (_, b, _) = a_log_of_three(tmp_path)
    for at in (b.begin + 30, len(MAGIC) + 30):
        raw = bytearray(segment.read_bytes())
        raw[at] ^= 0xFF
        segment.write_bytes(raw)
        reopened(tmp_path)
    assert [event.idempotency_key for event in logged_events(tmp_path)] == ["c"]
    assert len(damaged_files(tmp_path)) == 2


def test_a_segment_that_died_before_its_first_record_is_removed(tmp_path: Path) -> None:
    for remains in (b"", MAGIC[:3], MAGIC, b"\0" * 20, MAGIC + b"\0" * 20, MAGIC + b"\x10\0"):
        folder = tmp_path / "feedback" / "writer-0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "000000000001.log").write_bytes(remains)
        reopened(tmp_path)
        assert segments_of(folder) == []
        assert damaged_files(tmp_path) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=12), st.data())
def test_every_record_beside_the_damage_is_read(queries: list[str], data: st.DataObject) -> None:
    written = [
        event_record(an_event(str(number), query=query, product_id="kind"))
        for number, query in enumerate(queries)
    ]
    raw = bytearray(MAGIC + b"".join(written))
    begin = data.draw(st.integers(0, len(raw) - 1))
    end = data.draw(st.integers(begin + 1, min(len(raw), begin + 300)))
    raw[begin:end] = data.draw(st.binary(min_size=end - begin, max_size=end - begin))
    found = [each.payload for each in whole_records(bytes(raw))]
    at, beside = len(MAGIC), []
    for each in written:
        if at + len(each) <= begin or at >= end:
            beside.append(each[8:])
        at += len(each)
    assert [payload for payload in found if payload in beside] == beside


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
