"""History records: how one shopper's history stands in the store, and how events are added to it.

Shapes: T interactions, at most HISTORY_LIMIT.
"""

from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

from serving.recommend.ports import ShopperEvent, StoredHistory
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODES, HISTORY_CODES, HISTORY_LIMIT

_DEPENDENCY = "histories"
_RECORD_VERSION = 1


class DamagedHistory(DependencyUnavailable):
    """A stored record cannot be read. The store works; this one shopper's past is lost."""


def extended(before: StoredHistory | None, events: Sequence[ShopperEvent]) -> StoredHistory:
    """The history with these events in order of time; only the newest HISTORY_LIMIT stay."""
    codes = np.array([EVENT_CODES[event.type] for event in events], dtype=np.int64)
    times = np.array([event.time_ms for event in events], dtype=np.int64)
    products = tuple(event.product_id for event in events)
    sessions = tuple(event.session_id for event in events)
    country, device = _newest_profile(events)
    if before is not None:
        codes = np.concatenate([before.event_codes, codes])
        times = np.concatenate([before.times_ms, times])
        products, sessions = before.product_ids + products, before.session_ids + sessions
        country, device = country or before.country, device or before.device
    order = np.argsort(times, kind="stable")[-HISTORY_LIMIT:]
    return StoredHistory(
        product_ids=tuple(products[at] for at in order),
        event_codes=codes[order],
        times_ms=times[order],
        session_ids=tuple(sessions[at] for at in order),
        segment="" if before is None else before.segment,
        country=country,
        device=device,
    )


def _newest_profile(events: Sequence[ShopperEvent]) -> tuple[str, str]:
    country = next((event.country for event in reversed(events) if event.country), "")
    device = next((event.device for event in reversed(events) if event.device), "")
    return country, device


def packed(history: StoredHistory) -> bytes:
    """The bytes to store: about 30 an interaction, less where sessions repeat."""
    sessions = {name: at for at, name in enumerate(dict.fromkeys(history.session_ids))}
    raw: bytes = msgpack.packb(
        (
            _RECORD_VERSION,
            (history.segment, history.country, history.device),
            history.product_ids,
            history.event_codes.astype(np.int8).tobytes(),
            history.times_ms.astype("<i8").tobytes(),
            tuple(sessions),
            bytes(sessions[name] for name in history.session_ids),  # at most 200 of them: a byte
        )
    )
    return raw


def unpacked(raw: bytes) -> StoredHistory:
    """What `packed` stored. Raises DamagedHistory, and nothing else, if it is anything else."""
    try:
        version, profile, products, codes, times, sessions, session_at = msgpack.unpackb(raw)
        if version != _RECORD_VERSION:
            raise ValueError(f"version {version!r}")
        segment, country, device = profile
        history = StoredHistory(
            product_ids=tuple(products),
            event_codes=np.frombuffer(codes, dtype=np.int8).astype(np.int64),
            times_ms=np.frombuffer(times, dtype="<i8").astype(np.int64),
            session_ids=tuple([sessions[at] for at in session_at]),
            segment=segment,
            country=country,
            device=device,
        )
        _check(history)
    except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
        raise DamagedHistory(_DEPENDENCY, f"a record is damaged: {error!r}") from error
    return history


def _check(history: StoredHistory) -> None:
    """Raises ValueError if the columns differ in length, or hold what is no text."""
    lengths = {
        len(history.product_ids),
        len(history.session_ids),
        history.event_codes.size,
        history.times_ms.size,
    }
    if len(lengths) != 1:
        raise ValueError(f"columns of {sorted(lengths)}")
    profile = (history.segment, history.country, history.device)
    if {type(text) for text in (*history.product_ids, *history.session_ids, *profile)} != {str}:
        raise ValueError("a name is no text")


def imported(row: dict[str, Any]) -> tuple[str, StoredHistory]:
    """One row of histories.parquet, cut to the newest HISTORY_LIMIT that a history keeps."""
    codes = np.array(row["event_codes"], dtype=np.int64)
    times = np.array(row["times_ms"], dtype=np.int64)
    in_order = np.argsort(times, kind="stable")
    kept = in_order[np.isin(codes[in_order], HISTORY_CODES)][-HISTORY_LIMIT:]
    products, sessions = row["product_ids"], row["session_ids"]
    return row["user_id"], StoredHistory(
        product_ids=tuple([products[at] for at in kept]),
        event_codes=codes[kept],
        times_ms=times[kept],
        session_ids=tuple([sessions[at] for at in kept]),
        segment=row["segment"] or "",
        country=row["country"] or "",
        device=row["device"] or "",
    )
