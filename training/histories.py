"""Histories: what shoppers had done before a moment, as the online store would hold it then.

Shapes: U shoppers, H kept events of all shoppers, B moments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.events import (
    EVENT_CODES,
    HISTORY_CODES,
    HISTORY_LIMIT,
    SIGNAL_CODES,
    SIGNAL_LIMIT,
    EventType,
    History,
    PromotionSeen,
    Signals,
)
from training.data.snapshot import Snapshot

NO_SESSION = np.iinfo(np.int64).min  # of a moment outside every session
_TIME_BITS = 43  # Unix milliseconds until the year 2248 fit beside 2 million shoppers in an int64


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """What histories keep of one kind of event; one shopper's stand together, oldest first."""

    starts: NDArray[np.int64]  # [U + 1] where each shopper's events begin
    product_rows: NDArray[np.int64]  # [H] 0 = none
    event_codes: NDArray[np.int64]  # [H]
    times_ms: NDArray[np.int64]  # [H]
    session_ids: NDArray[np.int64]  # [H]
    promotions: NDArray[np.int8]  # [H] see PromotionSeen
    amounts: NDArray[np.int64]  # [H] see shop.events.signal_amount; 0 where nothing is measured
    keys: NDArray[np.int64]  # [H] shopper and time in one ascending number
    limit: int  # so many of a shopper count, the newest

    def spans(self, user_rows: NDArray[np.int64], times_ms: NDArray[np.int64]) -> "Spans":
        """What each shopper did strictly before the moment."""
        ends = np.searchsorted(self.keys, _key(user_rows, times_ms), side="left")
        return Spans(np.maximum(self.starts[user_rows], ends - self.limit), ends)


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """The events that count at each of B moments, as positions in `Remembered`."""

    starts: NDArray[np.int64]  # [B]
    ends: NDArray[np.int64]  # [B]

    def flat(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All of them, one after another: [·] which moment each is for, and [·] where it stands."""
        counts = self.ends - self.starts
        moment_of = np.repeat(np.arange(counts.size), counts)
        offsets = np.repeat(self.ends - np.cumsum(counts), counts)
        return moment_of, np.arange(moment_of.size) + offsets


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """All shoppers' interactions, and beside them the signals of how their visits went."""

    interactions: Remembered
    signals: Remembered

    def history_at(self, user_row: int, time_ms: int, session_id: int = NO_SESSION) -> History:
        """What the shopper had done strictly before `time_ms`, as the online store holds it."""
        whom, when = np.array([user_row]), np.array([time_ms])
        _, at = self.interactions.spans(whom, when).flat()
        _, signals_at = self.signals.spans(whom, when).flat()
        return History(
            self.interactions.product_rows[at],
            self.interactions.event_codes[at],
            self.interactions.times_ms[at],
            self.interactions.session_ids[at] == session_id,
            self.interactions.promotions[at],
            Signals(
                self.signals.event_codes[signals_at],
                self.signals.times_ms[signals_at],
                self.signals.amounts[signals_at],
                self.signals.session_ids[signals_at] == session_id,
            ),
        )


def _key(user_rows: NDArray[np.int64], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    return (user_rows.astype(np.int64) << _TIME_BITS) | times_ms


def build_histories(snapshot: Snapshot) -> Histories:
    """What histories keep of all shoppers; equal times keep the file's order."""
    events = snapshot.events
    is_deed = np.isin(events.codes, HISTORY_CODES)
    is_dwell = events.codes == EVENT_CODES[EventType.DWELL]
    # A dwell that was not measured tells nothing; a search without results is a dead end.
    is_signal = np.isin(events.codes, SIGNAL_CODES) & (~is_dwell | (events.amounts > 0))
    return Histories(
        _remembered(snapshot, np.flatnonzero(is_deed), HISTORY_LIMIT),
        _remembered(snapshot, np.flatnonzero(is_signal), SIGNAL_LIMIT),
    )


def _remembered(snapshot: Snapshot, kept: NDArray[np.intp], limit: int) -> Remembered:
    events = snapshot.events
    order = kept[np.argsort(events.user_rows[kept], kind="stable")]
    users = events.user_rows[order].astype(np.int64)
    times = events.times_ms[order]
    is_promoted = events.discounts[order] > 0
    return Remembered(
        starts=np.searchsorted(users, np.arange(snapshot.user_ids.size + 1)).astype(np.int64),
        product_rows=events.product_rows[order].astype(np.int64),
        event_codes=events.codes[order].astype(np.int64),
        times_ms=times,
        session_ids=events.session_ids[order],
        promotions=np.where(is_promoted, PromotionSeen.PROMOTED, PromotionSeen.NONE).astype(
            np.int8
        ),
        amounts=events.amounts[order].astype(np.int64),
        keys=_key(users, times),
        limit=limit,
    )
