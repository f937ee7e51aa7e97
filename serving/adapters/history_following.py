"""History following: how a writer's events get from its log into the histories, now or later.

The log comes first. Where the histories cannot be reached, events are acknowledged as soon as they
are on disk; once the histories answer again, they get what they missed from the log, a part at a
time beside what is new. How far they are is their own checkpoint, so a store that came back empty,
or older than it was, gets all that it lost.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from serving.adapters.feedback_records import read_event
from serving.adapters.history_store import HistoryChanges, HistoryWrites
from serving.adapters.log_segments import START, Position, WriterFolder, records_after, segments_of
from serving.recommend.ports import ShopperEvent
from shop.errors import DependencyError

logger = logging.getLogger(__name__)

_ASK_AGAIN_S = 1.0  # asking costs the writer a time-out, and those who wait for it
_LOOK_EVERY_S = 5.0
_REPLAYED_AT_ONCE = 1_000
_CAUGHT_UP_AT_ONCE = 200  # beside requests: 30 ms of this process's CPU at a time, with Redis

WriteToLog = Callable[[list[ShopperEvent]], Position]


class HistoryFollower:
    """One writer's events in the histories. Of the writer's thread, but for reading its counts."""

    def __init__(
        self, histories: HistoryWrites, writer: WriterFolder, clock: Callable[[], float]
    ) -> None:
        self.damaged_count = 0  # histories that could not be read, and began anew
        self.is_behind = False
        self.next_segment = writer.next_segment()
        self._histories = histories
        self._writer = writer
        self._clock = clock
        self._applied = START
        self._ask_again_s = 0.0
        self._looked_s = clock()
        self._backlog: Iterator[tuple[Position, bytes]] | None = None
        try:
            self._applied = histories.applied(writer.name)
        except DependencyError as error:
            self._fall_behind(error)
        # Behind the checkpoint even if old segments were moved away: a replay starts there.
        self.next_segment = max(self.next_segment, self._applied.segment + 1)

    def commit(self, events: Sequence[ShopperEvent], write: WriteToLog) -> list[bool]:
        """Writes the events that are new to the log, then to the histories; which those were.

        `write` returns where the log ends once they are on disk. Its errors pass through, and then
        nothing was done. Without the histories all events count as new; a replay knows better.
        """
        is_new: list[bool] | None = None
        if self._clock() >= self._ask_again_s:
            try:
                with self._histories.writing() as changes:
                    self._check(changes)
                    found = changes.first_seen(events)
                    fresh = [event for event, new in zip(events, found, strict=True) if new]
                    end = write(fresh)
                    is_new = found
                    # Only now: what the histories hold must be in the log, or a replay would not
                    # match.
                    changes.apply(fresh)
                    if not self.is_behind:
                        changes.checkpoint(self._writer.name, end)
                self.damaged_count += changes.damaged_count
                if not self.is_behind:
                    self._applied = end
            except DependencyError as error:
                self._fall_behind(error)
        if is_new is None:
            self.is_behind = True
            write(list(events))
            is_new = [True] * len(events)
        return is_new

    def look_after(self) -> None:
        """Between groups: gives the histories a part of what they missed; notices what they lost.

        Raises nothing that comes from the histories.
        """
        now_s = self._clock()
        if now_s < self._ask_again_s:
            return
        try:
            if self.is_behind:
                self._catch_up()
            elif now_s - self._looked_s >= _LOOK_EVERY_S:
                self._looked_s = now_s
                self._histories.sync()
                self._compare(self._histories.applied(self._writer.name))
        except DependencyError as error:
            self._fall_behind(error)

    def _check(self, changes: HistoryChanges) -> None:
        if not self.is_behind:
            self._compare(changes.applied(self._writer.name))

    def _compare(self, found: Position) -> None:
        if found != self._applied:
            logger.error("the histories lost what they had; they get it again from the log")
            self.is_behind = True

    def _fall_behind(self, error: DependencyError) -> None:
        if not self.is_behind:
            logger.error("events go to the log alone, the histories get them later: %s", error)
        self.is_behind = True
        self._ask_again_s = self._clock() + _ASK_AGAIN_S
        self._backlog = None

    def _catch_up(self) -> None:
        if self._backlog is None:
            self._backlog = records_after(self._writer.path, self._from_here())
        records = list(islice(self._backlog, _CAUGHT_UP_AT_ONCE))
        if not records:
            # At its end when it was read; what came since makes the next part.
            self._backlog = None
            ended_at = self._from_here()
            if next(records_after(self._writer.path, ended_at), None) is None:
                self._applied = self._histories.applied(self._writer.name)
                self.is_behind = False
                logger.warning("the histories have all that they missed")
            return
        self.damaged_count += _replay(self._histories, self._writer.name, records).damaged_count

    def _from_here(self) -> Position:
        """How far the histories are; START if that is beyond all that lies here."""
        applied = self._histories.applied(self._writer.name)
        last = max((number for number, _ in segments_of(self._writer.path)), default=0)
        return START if applied.segment > last else applied


def recover(histories: HistoryWrites, writer: WriterFolder) -> None:
    """Puts all that a log at rest holds, and the histories do not, into the histories.

    Raises DependencyError.
    """
    behind = records_after(writer.path, histories.applied(writer.name))
    replayed = 0
    while records := list(islice(behind, _REPLAYED_AT_ONCE)):
        replayed += _replay(histories, writer.name, records).event_count
    if replayed:
        logger.warning("%s: put %d events into the histories again", writer.name, replayed)


@dataclass(frozen=True, slots=True)
class _Replayed:
    event_count: int
    damaged_count: int


def _replay(
    histories: HistoryWrites, writer: str, records: Sequence[tuple[Position, bytes]]
) -> _Replayed:
    found = (read_event(payload) for _, payload in records)
    events = [event for event in found if event is not None]
    with histories.writing() as changes:
        is_new = changes.first_seen(events)
        fresh = [event for event, new in zip(events, is_new, strict=True) if new]
        changes.apply(fresh)
        changes.checkpoint(writer, records[-1][0])
    return _Replayed(len(fresh), changes.damaged_count)
