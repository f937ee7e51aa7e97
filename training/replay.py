"""Replay: the features of logged calls, computed again from the log by the code that trains.

Every shown list carries the CRC-32 of the tensors that the models got, what its request told of
the visit, and how many events its shopper's history held when it was read. From that and the
logged events `replay` makes the same tensors with `training.examples`; a digest that differs means
that the gateway and training no longer see the same shopper.

Not every call can be judged (`Replay.is_judged`): a log that lacks events, several writers of one
shopper's events (which came first is not known), another release's features.

Shapes: B calls, H events of all calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.events import (
    EVENT_CODES,
    HISTORY_LIMIT,
    HISTORY_TYPES,
    SIGNAL_LIMIT,
    History,
    PromotionSeen,
    Signals,
)
from shop.features import PLACEMENTS, FeatureSchema, ShopperFeatures
from shop.session import Deed, with_session
from training.examples import Moments, ShopperBatch, batch_of_spans
from training.histories import Histories, Remembered, Spans
from training.logged import Log, LoggedEvent

_CHUNK = 1_000  # calls at once
_THIS_SESSION = 1
_NO_HISTORY = "NO_HISTORY"  # the gateway's reason for an answer without the stored history
_NO_ROWS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """The tensors of the logged calls, and whether they are those that were sent."""

    request_ids: tuple[str, ...]  # [B] in the order of the log
    histories: tuple[History, ...]  # [B] what the gateway knew of the shopper
    features: tuple[ShopperFeatures, ...]  # [B]
    is_judged: NDArray[np.bool_]  # [B] False: the log does not tell enough
    is_equal: NDArray[np.bool_]  # [B] the digest is the logged one

    @property
    def unequal(self) -> tuple[str, ...]:
        """The requests that show that parity is lost."""
        wrong = self.is_judged & ~self.is_equal
        return tuple(self.request_ids[at] for at in np.flatnonzero(wrong))


def replay(
    log: Log,
    schema: FeatureSchema,
    product_ids: Sequence[str],
    *,
    release: str,
    imported: Mapping[str, Sequence[LoggedEvent]],
) -> Replay:
    """The calls that `release` answered, computed again.

    product_ids [R] is its catalogue, row 0 is no product. `imported` is what the store was filled
    with before the log begins, by shopper.
    """
    row_of = {name: row for row, name in enumerate(product_ids) if row > 0}
    calls = [call for call in log.calls if call["release"] == release]
    histories = [_history(call, log, row_of, imported) for call in calls]
    features: list[ShopperFeatures] = []
    for start in range(0, len(calls), _CHUNK):
        part = slice(start, start + _CHUNK)
        features += _features(calls[part], histories[part], schema)
    sent = np.array([call["features_crc32"] for call in calls], dtype=np.int64)
    ours = np.array([each.crc32() for each in features], dtype=np.int64)
    return Replay(
        tuple(call["request_id"] for call in calls),
        tuple(histories),
        tuple(features),
        np.array([_is_judged(call, log) for call in calls], dtype=np.bool_),
        ours == sent,
    )


def _is_judged(call: Mapping[str, Any], log: Log) -> bool:
    shopper, revision = call["shopper"], call["history_revision"]
    if shopper not in log.events:
        return bool(revision == 0)
    return len(log.writers[shopper]) == 1 and revision <= len(log.events[shopper])


def _history(
    call: Mapping[str, Any],
    log: Log,
    row_of: Mapping[str, int],
    imported: Mapping[str, Sequence[LoggedEvent]],
) -> History:
    """What the gateway knew: stored before the call was made, and told with it."""
    shopper, now_ms = call["shopper"], call["time_ms"]
    known: list[LoggedEvent] = []
    if shopper and _NO_HISTORY not in call["degraded"]:
        logged = log.events.get(shopper, [])
        known = [*imported.get(shopper, ()), *logged[: call["history_revision"]]]
    deeds = [
        Deed(code, row_of.get(product, 0), time_ms, PromotionSeen(promotion), amount)
        for code, product, time_ms, promotion, amount in call["recent_events"]
    ]
    return with_session(
        _stored(known, call["session_id"], row_of, now_ms),
        deeds,
        context_rows=_rows(call["context_product_ids"], row_of),
        cart_rows=_rows(call["cart_product_ids"], row_of),
        now_ms=now_ms,
    )


def _rows(product_ids: Sequence[str], row_of: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([row_of.get(name, 0) for name in product_ids], dtype=np.int64)


def _stored(
    events: Sequence[LoggedEvent], session: str, row_of: Mapping[str, int], now_ms: int
) -> History:
    deeds = _newest([event for event in events if event.type in HISTORY_TYPES], HISTORY_LIMIT)
    signals = _newest([e for e in events if e.type not in HISTORY_TYPES], SIGNAL_LIMIT)
    return History(
        _rows([event.product_id for event in deeds], row_of),
        *_common(deeds, session, now_ms),
        np.array([event.promotion for event in deeds], dtype=np.int8),
        _signals(signals, session, now_ms),
    )


def _signals(events: Sequence[LoggedEvent], session: str, now_ms: int) -> Signals:
    codes, times, in_session = _common(events, session, now_ms)
    amounts = np.array([event.amount for event in events], dtype=np.int64)
    return Signals(codes, times, amounts, in_session)


def _common(
    events: Sequence[LoggedEvent], session: str, now_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Codes, times (none later than now) and which are of this session."""
    codes = np.array([EVENT_CODES[event.type] for event in events], dtype=np.int64)
    times = np.array([min(event.time_ms, now_ms) for event in events], dtype=np.int64)
    in_session = [bool(session) and event.session_id == session for event in events]
    return codes, times, np.array(in_session, dtype=np.bool_)


def _newest(events: list[LoggedEvent], limit: int) -> list[LoggedEvent]:
    """In order of time, those of the same time in order of arrival, as stores keep them."""
    return sorted(events, key=lambda event: event.time_ms)[-limit:]


def _features(
    calls: Sequence[Mapping[str, Any]], histories: Sequence[History], schema: FeatureSchema
) -> Iterator[ShopperFeatures]:
    """One by one what training's batched code makes of these moments."""
    deeds, spans = _deeds(histories)
    signals, signal_spans = _signals_of(histories)
    moments = _moments(calls, schema)
    kept = Histories(deeds, signals)
    batch: ShopperBatch = batch_of_spans(kept, spans, signal_spans, moments, schema)
    for at in range(len(calls)):
        yield ShopperFeatures(*(getattr(batch, name)[at] for name in ShopperBatch.__slots__))


def _moments(calls: Sequence[Mapping[str, Any]], schema: FeatureSchema) -> Moments:
    def codes(name: str, vocabulary: tuple[str, ...]) -> NDArray[np.int64]:
        code_of = {value: code for code, value in enumerate(vocabulary, start=1)}
        return np.array([code_of.get(call[name], 0) for call in calls], dtype=np.int64)

    def numbers(name: str) -> NDArray[np.int64]:
        return np.array([call[name] for call in calls], dtype=np.int64)

    return Moments(
        user_rows=np.arange(len(calls)),
        times_ms=numbers("time_ms"),
        session_ids=np.full(len(calls), _THIS_SESSION, dtype=np.int64),
        devices=codes("device", schema.devices),
        countries=codes("country", schema.countries),
        segments=codes("segment", schema.segments),
        placements=codes("placement", PLACEMENTS),
        offsets_minutes=numbers("utc_offset_minutes"),
    )


def _deeds(histories: Sequence[History]) -> tuple[Remembered, Spans]:
    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(history, name) for history in histories])

    starts = _starts([len(history) for history in histories])
    codes = column("event_codes")
    return (
        Remembered(
            starts=starts,
            product_rows=column("product_rows"),
            event_codes=codes,
            times_ms=column("times_ms"),
            session_ids=column("session_mask").astype(np.int64) * _THIS_SESSION,
            promotions=column("promotions"),
            amounts=np.zeros(codes.size, dtype=np.int64),
            keys=_NO_ROWS,  # nothing is searched by time: what was known is given
            limit=HISTORY_LIMIT,
        ),
        Spans(starts[:-1], starts[1:]),
    )


def _signals_of(histories: Sequence[History]) -> tuple[Remembered, Spans]:
    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(history.signals, name) for history in histories])

    starts = _starts([len(history.signals) for history in histories])
    codes = column("event_codes")
    return (
        Remembered(
            starts=starts,
            product_rows=np.zeros(codes.size, dtype=np.int64),
            event_codes=codes,
            times_ms=column("times_ms"),
            session_ids=column("session_mask").astype(np.int64) * _THIS_SESSION,
            promotions=np.zeros(codes.size, dtype=np.int8),
            amounts=column("amounts"),
            keys=_NO_ROWS,
            limit=SIGNAL_LIMIT,
        ),
        Spans(starts[:-1], starts[1:]),
    )


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
