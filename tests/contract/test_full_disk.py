"""A disk that is full, in earnest: nothing is acknowledged that is not on it, nothing piles up."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.adapters.feedback_log import FeedbackLog
from serving.adapters.log_segments import segments_of
from serving.recommend.ports import EventReceipt
from shop.errors import DependencyUnavailable
from tests.contract.small_disk import SmallDisk, a_small_disk
from tests.unit.feedback_writer import an_event, open_histories, open_log
from tests.unit.test_feedback_log import an_impression, logged_events

DISK_BYTES = 256 << 10
FAILED_GROUPS = 20
PATIENCE_S = 20.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with a_small_disk(tmp_path / "disk", size_bytes=DISK_BYTES) as mounted:
        yield mounted


def record(log: FeedbackLog, key: str) -> EventReceipt:
    return asyncio.run(log.record([an_event(key)], timeout_s=PATIENCE_S))


def record_fails(log: FeedbackLog, key: str) -> bool:
    """Whether the event is refused as a lost dependency, told why."""
    try:
        record(log, key)
    except DependencyUnavailable as error:
        return "No space left" in str(error)
    return False


def until_refused(log: FeedbackLog, name: str) -> tuple[list[str], str]:
    """The keys that were acknowledged, and the first that was not: a last page may have room."""
    kept: list[str] = []
    for number in range(200):
        if record_fails(log, f"{name}-{number}"):
            return kept, f"{name}-{number}"
        kept.append(f"{name}-{number}")
    raise AssertionError("the disk never was full")


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


def test_a_full_disk_refuses_events_keeps_the_acknowledged_and_takes_more_when_there_is_room(
    disk: SmallDisk, tmp_path: Path
) -> None:
    with closing(open_histories(tmp_path)) as histories:
        with closing(open_log(disk.root, histories)) as log:
            disk.fill()
            kept, refused = until_refused(log, "first")
            disk.clear()
            assert record(log, refused).accepted == 1  # its caller was told to send it again
            disk.fill()
            more, refused_again = until_refused(log, "second")
            assert log.is_writing
            assert record_fails(log, refused_again)
        keys = [event.idempotency_key for event in logged_events(disk.root)]
    assert keys == [*kept, refused, *more]


def test_lists_that_are_shown_while_the_disk_is_full_leave_no_files_behind(
    disk: SmallDisk, tmp_path: Path
) -> None:
    with closing(open_histories(tmp_path)) as histories:
        with closing(open_log(disk.root, histories)) as log:
            disk.fill()
            for failed in range(1, FAILED_GROUPS + 1):
                log.put(an_impression(f"r{failed}"))
                eventually(lambda failed=failed: log.counts.failed_groups >= failed)
            assert log.counts.lost_impressions >= FAILED_GROUPS
            assert len(segments_of(disk.root / "feedback" / "writer-0")) <= 1
            disk.clear()
            assert record(log, "after").accepted == 1
        assert [event.idempotency_key for event in logged_events(disk.root)] == ["after"]


def test_histories_on_a_full_disk_cost_no_acknowledged_event(
    disk: SmallDisk, tmp_path: Path
) -> None:
    with (
        closing(open_histories(disk.root)) as histories,
        closing(open_log(tmp_path, histories)) as log,
    ):
        assert record(log, "before").accepted == 1
        disk.fill()
        assert all(record(log, f"full-{number}").accepted == 1 for number in range(20))
        assert log.is_writing
        disk.clear()
        eventually(lambda: not log.histories_are_behind)
        # Whichever way they got there, each counts once.
        assert record(log, "full-0").duplicates == 1
        history = asyncio.run(histories.of("ada", timeout_s=PATIENCE_S))
    assert history is not None
    assert history.times_ms.size == 21
