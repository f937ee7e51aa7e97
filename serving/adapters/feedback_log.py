"""Feedback log: what shoppers did and what they were shown, on disk before anyone is told so.

One thread writes. It takes what has queued up while the last group went to the disk, writes all of
it, syncs once, puts the events into the histories, and then acknowledges them (group commit). An
acknowledged event is in the log, on disk, and visible to the next request; while the histories
cannot be reached, it is on disk, and visible when they are back (`history_following`). Shown lists
take the same way but wait for nothing: losing one costs a training example.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from serving.adapters.feedback_records import event_record, impression_record
from serving.adapters.history_following import HistoryFollower, recover
from serving.adapters.history_store import HistoryWrites
from serving.adapters.log_mending import mend_segments
from serving.adapters.log_segments import (
    Position,
    SegmentFile,
    WriterFolder,
    abandoned_writers,
    claim_writer,
)
from serving.recommend.ports import EventReceipt, Impression, ShopperEvent
from shop.errors import DependencyError, DependencyTimeout, DependencyUnavailable, Overloaded

logger = logging.getLogger(__name__)

_DEPENDENCY = "feedback"
_IDLE_S = 0.1  # how long shown lists may wait for company
_MAX_GROUP = 256  # batches in one group: more would only delay the first of them
_RETRY_AFTER_MS = 200


@dataclass(frozen=True, slots=True)
class FeedbackSettings:
    """How the log is cut, and how much may wait for the disk."""

    segment_bytes: int = 16 << 20  # read whole when a writer recovers, so not much of its memory
    segment_age_s: float = 3_600.0  # training never waits longer for a finished file
    queued_batches: int = 1_024  # at 5 ms a sync and 256 a group this is 20 ms of waiting
    queued_impressions: int = 10_000  # about a minute at 150 requests a second, 20 MB
    history_map_bytes: int = 8 << 30  # address space, not disk; 1 M shoppers took 6 kB each
    max_shoppers: int = 1_000_000  # beyond, those idle for longest are forgotten

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0")


@dataclass(slots=True)
class FeedbackCounts:
    """What happened to feedback since the start. Read it from anywhere."""

    events: int = 0  # acknowledged, duplicates not counted
    duplicates: int = 0
    impressions: int = 0
    lost_impressions: int = 0
    lost_events: int = 0  # of those that nobody waited for
    failed_groups: int = 0
    damaged_histories: int = 0  # could not be read, and began anew


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Events of one call, and who waits for them."""

    events: Sequence[ShopperEvent]
    done: "asyncio.Future[EventReceipt]"
    loop: asyncio.AbstractEventLoop

    def succeed(self, receipt: EventReceipt) -> None:
        self._settle(lambda: self.done.set_result(receipt))

    def fail(self, error: Exception) -> None:
        self._settle(lambda: self.done.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        def unless_given_up() -> None:
            if not self.done.done():
                settle()

        try:
            self.loop.call_soon_threadsafe(unless_given_up)
        except RuntimeError:  # the loop was closed: nobody waits any more
            logger.debug("nobody waited for %d events", len(self.events))


class FeedbackLog:
    """An `EventStore` and an `ImpressionLog`. Open it with `open_feedback_log`; close it."""

    def __init__(
        self,
        writer: WriterFolder,
        histories: HistoryWrites,
        settings: FeedbackSettings,
        clock: Callable[[], float],
    ) -> None:
        self.counts = FeedbackCounts()
        self._writer = writer
        self._follower = HistoryFollower(histories, writer, clock)
        self._settings = settings
        self._clock = clock
        self._segment: SegmentFile | None = None
        self._next_segment = self._follower.next_segment
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()  # None: close
        self._impressions: deque[Impression] = deque()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="feedback-log", daemon=True)
        self._thread.start()

    @property
    def queued_batches(self) -> int:
        """Calls whose events are not on disk yet."""
        return self._batches.qsize()

    @property
    def queued_impressions(self) -> int:
        """Shown lists not yet written."""
        return len(self._impressions)

    @property
    def histories_are_behind(self) -> bool:
        """Whether there are events on disk that the histories have yet to get."""
        return self._follower.is_behind

    @property
    def is_writing(self) -> bool:
        """False once the log was closed, or its thread ended by a bug."""
        return not self._is_closing and self._thread.is_alive()

    def close(self) -> None:
        """Everything that was handed over is on disk when this returns."""
        self._is_closing = True
        self._batches.put(None)
        self._thread.join()
        self._writer.release()

    def put(self, impression: Impression) -> None:
        """Never blocks and never raises; what cannot be kept is counted."""
        if self._is_closing or len(self._impressions) >= self._settings.queued_impressions:
            self.counts.lost_impressions += 1
        else:
            self._impressions.append(impression)

    def note(self, event: ShopperEvent) -> None:
        """As `put`, for an event that nobody waits for. To be called from a running loop."""
        if not self.is_writing or self._batches.qsize() >= self._settings.queued_batches:
            self.counts.lost_events += 1
            return
        loop = asyncio.get_running_loop()
        batch = _Batch([event], loop.create_future(), loop)
        batch.done.add_done_callback(self._noted)
        self._batches.put(batch)

    def _noted(self, done: "asyncio.Future[EventReceipt]") -> None:
        if done.cancelled() or done.exception() is not None:
            self.counts.lost_events += 1

    async def record(self, events: Sequence[ShopperEvent], *, timeout_s: float) -> EventReceipt:
        """Returns once every event is on disk, and visible in the histories if they answer.

        After a DependencyTimeout they may still get there; asking again with the same keys is safe.
        """
        if not self.is_writing:
            raise DependencyUnavailable(_DEPENDENCY, "the log is closed")
        if self._batches.qsize() >= self._settings.queued_batches:
            raise Overloaded("too many events wait for the disk", _RETRY_AFTER_MS)
        loop = asyncio.get_running_loop()
        batch = _Batch(events, loop.create_future(), loop)
        self._batches.put(batch)
        try:
            return await asyncio.wait_for(batch.done, timeout_s)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"events not on disk within {timeout_s * 1000.0:.0f} ms"
            ) from error

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            self._write_group(group)
            self._look_after()
        if self._segment is not None:
            self._guarded(self._segment.close)

    def _next_group(self) -> tuple[list[_Batch], bool]:
        """What has queued up, after a short wait for the first; False at the end of the log."""
        group: list[_Batch] = []
        wait_s = _IDLE_S
        while len(group) < _MAX_GROUP:
            try:
                batch = self._batches.get(timeout=wait_s) if wait_s else self._batches.get_nowait()
            except queue.Empty:
                break
            if batch is None:
                return group, False
            group.append(batch)
            wait_s = 0.0
        return group, True

    def _write_group(self, group: list[_Batch]) -> None:
        impressions = [self._impressions.popleft() for _ in range(len(self._impressions))]
        if not group and not impressions:
            return
        before = None if self._segment is None else self._segment.end
        try:
            shown = [impression_record(impression) for impression in impressions]
            receipts = self._commit(group, shown)
        except (OSError, DependencyUnavailable, ValueError) as error:
            self._give_up(group, impressions, before, error)
            return
        self.counts.impressions += len(impressions)
        for batch, receipt in zip(group, receipts, strict=True):
            self.counts.events += receipt.accepted
            self.counts.duplicates += receipt.duplicates
            batch.succeed(receipt)

    def _commit(self, group: list[_Batch], shown: list[bytes]) -> list[EventReceipt]:
        segment = self._current_segment()
        if not group:
            segment.append(shown)
            return []

        def write(events: Sequence[ShopperEvent]) -> Position:
            segment.append([*shown, *(event_record(event) for event in events)])
            segment.sync()
            return segment.end

        is_new = iter(self._follower.commit([e for batch in group for e in batch.events], write))
        self.counts.damaged_histories = self._follower.damaged_count
        accepted = [sum(islice(is_new, len(batch.events))) for batch in group]
        pairs = zip(group, accepted, strict=True)
        return [EventReceipt(count, len(batch.events) - count) for batch, count in pairs]

    def _give_up(
        self,
        group: list[_Batch],
        impressions: list[Impression],
        before: Position | None,
        error: Exception,
    ) -> None:
        """Nothing of this group was acknowledged; the next one gets a new segment."""
        logger.error("feedback could not be written: %s", error)
        self.counts.failed_groups += 1
        self.counts.lost_impressions += len(impressions)
        if self._segment is not None:
            segment, self._segment = self._segment, None
            end = before if before is not None else Position(segment.number, 0)
            self._guarded(lambda: segment.abandon(end))
        for batch in group:
            batch.fail(DependencyUnavailable(_DEPENDENCY, str(error)))

    def _current_segment(self) -> SegmentFile:
        if self._segment is None:
            number, self._next_segment = self._next_segment, self._next_segment + 1
            self._segment = SegmentFile(self._writer.path, number, self._clock())
        return self._segment

    def _look_after(self) -> None:
        """Between groups: begin a new segment, bring the histories up to date."""
        now_s = self._clock()
        segment = self._segment
        if segment is not None and (
            segment.size_bytes >= self._settings.segment_bytes
            or now_s - segment.opened_s >= self._settings.segment_age_s
        ):
            self._segment = None
            self._guarded(segment.close)
        self._guarded(self._follower.look_after)
        self.counts.damaged_histories = self._follower.damaged_count

    def _guarded(self, action: Callable[[], None]) -> None:
        """An error here costs no acknowledged event, so it must not end the thread."""
        try:
            action()
        except (OSError, DependencyUnavailable) as error:
            logger.error("feedback log: %s", error)


def open_feedback_log(
    root: Path,
    histories: HistoryWrites,
    settings: FeedbackSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> FeedbackLog:
    """A log under `root`, after what earlier writers left behind was taken into the histories.

    Blocks while it recovers: about a second per 100,000 events that the histories had lost. Where
    they cannot be reached, this writer's own events get there later, others' at the next start.
    """
    root.mkdir(parents=True, exist_ok=True)
    for abandoned in abandoned_writers(root):
        with closing(abandoned.lock):
            _recover(abandoned, histories)
    writer = claim_writer(root)
    _recover(writer, histories)  # someone may have died between the two
    return FeedbackLog(writer, histories, settings, clock)


def _recover(writer: WriterFolder, histories: HistoryWrites) -> None:
    try:
        # Mending may have to set the checkpoint back, so it waits for the histories too.
        mend_segments(writer, histories)
        recover(histories, writer)
    except DependencyError as error:
        logger.error("%s: not all of it is in the histories: %s", writer.name, error)
