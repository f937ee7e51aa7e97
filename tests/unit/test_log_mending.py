"""Damage in the log costs the damaged record, and no other."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.adapters.feedback_records import event_record
from serving.adapters.log_segments import segments_of
from serving.recommend.ports import StoredHistory
from shop.feedback import MAGIC, Record, whole_records
from tests.unit.feedback_writer import an_event, open_histories, open_log
from tests.unit.test_feedback_log import logged_events, record


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
