"""History records: how one shopper's history stands in the store, and how events are added to it.

Shapes: T interactions, at most HISTORY_LIMIT, S signals, at most SIGNAL_LIMIT.
"""

from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from serving.recommend.ports import (
    NO_STORED_SIGNALS,
    ShopperEvent,
    StoredHistory,
    StoredSignals,
)
from shop.errors import DependencyUnavailable
from shop.events import (
    EVENT_CODES,
    HISTORY_CODES,
    HISTORY_LIMIT,
    HISTORY_TYPES,
    SIGNAL_CODES,
    SIGNAL_LIMIT,
    SIGNAL_TYPES,
    EventType,
    promotion_seen,
    signal_amount,
)

_DEPENDENCY = "histories"
_RECORD_VERSION = 2
_DWELL = EVENT_CODES[EventType.DWELL]
_EMPTY: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
_NOTHING = StoredHistory((), _EMPTY, _EMPTY, (), "", "", "")


class DamagedHistory(DependencyUnavailable):
    """A stored record cannot be read. The store works; this one shopper's past is lost."""


def is_remembered(event: ShopperEvent) -> bool:
    """Whether a history keeps this event: deeds, and signals that tell something."""
    return event.type in HISTORY_TYPES or _amount(event) is not None


def _amount(event: ShopperEvent) -> int | None:
    return signal_amount(event.type, dwell_ms=event.dwell_ms, result_count=event.result_count)


def extended(before: StoredHistory | None, events: Sequence[ShopperEvent]) -> StoredHistory:
    """The history with these remembered events in order of time; only the newest stay."""
    before = before or _NOTHING
    deeds = [event for event in events if event.type in HISTORY_TYPES]
    signals = [event for event in events if event.type in SIGNAL_TYPES]
    country, device = _newest_profile(events)
    codes, times, order = _merged(before.event_codes, before.times_ms, deeds, HISTORY_LIMIT)
    products = before.product_ids + tuple(event.product_id for event in deeds)
    sessions = before.session_ids + tuple(event.session_id for event in deeds)
    promotions = [promotion_seen(event.discount) for event in deeds]
    return StoredHistory(
        product_ids=tuple([products[at] for at in order]),
        event_codes=codes,
        times_ms=times,
        session_ids=tuple([sessions[at] for at in order]),
        segment=before.segment,
        country=country or before.country,
        device=device or before.device,
        promotions=np.concatenate([before.promotions, np.array(promotions, np.int8)])[order],
        signals=_with_signals(before.signals, signals) if signals else before.signals,
        revision=before.revision + len(events),
    )


def _merged(
    codes: NDArray[np.int64], times: NDArray[np.int64], events: Sequence[ShopperEvent], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.intp]]:
    """Codes and times with these events, oldest first, and where each stood before that."""
    codes = np.concatenate([codes, np.array([EVENT_CODES[e.type] for e in events], np.int64)])
    times = np.concatenate([times, np.array([event.time_ms for event in events], np.int64)])
    order = np.argsort(times, kind="stable")[-limit:]
    return codes[order], times[order], order


def _with_signals(before: StoredSignals, events: Sequence[ShopperEvent]) -> StoredSignals:
    codes, times, order = _merged(before.event_codes, before.times_ms, events, SIGNAL_LIMIT)
    amounts = np.array([_amount(event) for event in events], dtype=np.int64)
    sessions = before.session_ids + tuple(event.session_id for event in events)
    return StoredSignals(
        codes,
        times,
        np.concatenate([before.amounts, amounts])[order],
        tuple([sessions[at] for at in order]),
    )


def _newest_profile(events: Sequence[ShopperEvent]) -> tuple[str, str]:
    country = next((event.country for event in reversed(events) if event.country), "")
    device = next((event.device for event in reversed(events) if event.device), "")
    return country, device


def packed(history: StoredHistory) -> bytes:
    """The bytes to store: about 30 an interaction, less where sessions repeat; 14 a signal."""
    raw: bytes = msgpack.packb(
        (
            _RECORD_VERSION,
            (history.segment, history.country, history.device),
            history.product_ids,
            history.event_codes.astype(np.int8).tobytes(),
            history.times_ms.astype("<i8").tobytes(),
            *_packed_sessions(history.session_ids),
            history.promotions.tobytes(),
            _packed_signals(history.signals) if len(history.signals) else (),
            history.revision,
        )
    )
    return raw


def _packed_sessions(names: tuple[str, ...]) -> tuple[tuple[str, ...], bytes]:
    """Each name once, and which it is: at most 200 of them, a byte."""
    numbers = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return tuple(numbers), bytes([numbers[name] for name in names])


def _packed_signals(signals: StoredSignals) -> tuple[Any, ...]:
    return (
        signals.event_codes.astype(np.int8).tobytes(),
        signals.times_ms.astype("<i8").tobytes(),
        signals.amounts.astype("<i4").tobytes(),
        *_packed_sessions(signals.session_ids),
    )


def unpacked(raw: bytes) -> StoredHistory:
    """What `packed` stored, now or by an older version.

    Raises DamagedHistory, and nothing else, if it is anything else.
    """
    try:
        version, *fields = msgpack.unpackb(raw)
        if version == _RECORD_VERSION:
            history = _second_version(*fields)
        elif version == 1:
            history = _first_version(*fields)
        else:
            raise ValueError(f"version {version!r}")
        _check(history)
    except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
        raise DamagedHistory(_DEPENDENCY, f"a record is damaged: {error!r}") from error
    return history


def _second_version(
    profile: Any,
    products: Any,
    codes: bytes,
    times: bytes,
    sessions: Any,
    session_at: bytes,
    promotions: bytes,
    signals: Any,
    revision: int,
) -> StoredHistory:
    segment, country, device = profile
    if type(revision) is not int:
        raise ValueError(f"revision {revision!r}")
    return StoredHistory(
        product_ids=tuple(products),
        event_codes=np.frombuffer(codes, dtype=np.int8).astype(np.int64),
        times_ms=np.frombuffer(times, dtype="<i8").astype(np.int64),
        session_ids=tuple([sessions[at] for at in session_at]),
        segment=segment,
        country=country,
        device=device,
        promotions=np.frombuffer(promotions, dtype=np.int8),
        signals=_signals(*signals) if signals else NO_STORED_SIGNALS,
        revision=revision,
    )


def _signals(
    codes: bytes, times: bytes, amounts: bytes, sessions: Any, session_at: bytes
) -> StoredSignals:
    return StoredSignals(
        np.frombuffer(codes, dtype=np.int8).astype(np.int64),
        np.frombuffer(times, dtype="<i8").astype(np.int64),
        np.frombuffer(amounts, dtype="<i4").astype(np.int64),
        tuple([sessions[at] for at in session_at]),
    )


def _first_version(
    profile: Any, products: Any, codes: bytes, times: bytes, sessions: Any, session_at: bytes
) -> StoredHistory:
    """Before promotions and signals. Its dwells have no measure, and are none of the deeds now."""
    segment, country, device = profile
    kinds = np.frombuffer(codes, dtype=np.int8).astype(np.int64)
    times_ms = np.frombuffer(times, dtype="<i8").astype(np.int64)
    names = [sessions[at] for at in session_at]
    if not len(names) == len(products) == kinds.size == times_ms.size:
        raise ValueError(f"columns of {len(names)}, {len(products)}, {kinds.size}")
    kept = np.flatnonzero(kinds != _DWELL)
    return StoredHistory(
        product_ids=tuple([products[at] for at in kept]),
        event_codes=kinds[kept],
        times_ms=times_ms[kept],
        session_ids=tuple([names[at] for at in kept]),
        segment=segment,
        country=country,
        device=device,
    )


def _check(history: StoredHistory) -> None:
    """Raises ValueError if the columns differ in length, or hold what is no text."""
    lengths = {
        len(history.product_ids),
        len(history.session_ids),
        history.event_codes.size,
        history.times_ms.size,
        history.promotions.size,
    }
    signals = history.signals
    of_signals = {
        len(signals),
        signals.event_codes.size,
        signals.times_ms.size,
        signals.amounts.size,
    }
    if len(lengths) != 1 or len(of_signals) != 1:
        raise ValueError(f"columns of {sorted(lengths)}, signals of {sorted(of_signals)}")
    profile = (history.segment, history.country, history.device)
    names = (*history.product_ids, *history.session_ids, *signals.session_ids, *profile)
    if {type(text) for text in names} != {str}:
        raise ValueError("a name is no text")


def imported(row: dict[str, Any]) -> tuple[str, StoredHistory]:
    """One row of histories.parquet, cut to the newest that a history keeps.

    Files of older releases tell of no promotions and signals.
    """
    codes = np.array(row["event_codes"], dtype=np.int64)
    times = np.array(row["times_ms"], dtype=np.int64)
    kept = _newest(codes, times, HISTORY_CODES, HISTORY_LIMIT)
    products, sessions = row["product_ids"], row["session_ids"]
    promotions = np.array(row.get("promotions") or np.zeros(codes.size), dtype=np.int8)
    return row["user_id"], StoredHistory(
        product_ids=tuple([products[at] for at in kept]),
        event_codes=codes[kept],
        times_ms=times[kept],
        session_ids=tuple([sessions[at] for at in kept]),
        segment=row["segment"] or "",
        country=row["country"] or "",
        device=row["device"] or "",
        promotions=promotions[kept],
        signals=_imported_signals(row) if row.get("signal_codes") else NO_STORED_SIGNALS,
    )


def _imported_signals(row: dict[str, Any]) -> StoredSignals:
    codes = np.array(row["signal_codes"], dtype=np.int64)
    times = np.array(row["signal_times_ms"], dtype=np.int64)
    kept = _newest(codes, times, SIGNAL_CODES, SIGNAL_LIMIT)
    amounts, sessions = row["signal_amounts"], row["signal_session_ids"]
    return StoredSignals(
        codes[kept],
        times[kept],
        np.array(amounts, dtype=np.int64)[kept],
        tuple([sessions[at] for at in kept]),
    )


def _newest(
    codes: NDArray[np.int64], times: NDArray[np.int64], known: NDArray[np.int64], limit: int
) -> NDArray[np.intp]:
    in_order = np.argsort(times, kind="stable")
    return in_order[np.isin(codes[in_order], known)][-limit:]
