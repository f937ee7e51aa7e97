"""Logged: what the gateway's log tells, shopper by shopper and call by call."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shop.events import (
    EVENT_CODES,
    HISTORY_TYPES,
    EventType,
    PromotionSeen,
    promotion_seen,
    signal_amount,
)
from shop.feedback import RecordKind, decode_record, whole_records

_TYPE_OF = {code: event for event, code in EVENT_CODES.items()}


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One remembered event, in the order in which its history got it."""

    type: EventType
    product_id: str
    session_id: str
    time_ms: int
    promotion: PromotionSeen
    amount: int | None

    @staticmethod
    def of(fields: Mapping[str, Any]) -> "LoggedEvent | None":
        """From a record of the log; None if no history keeps such an event."""
        kind = EventType(fields["type"])
        amount = signal_amount(
            kind, dwell_ms=fields.get("dwell_ms", 0), result_count=fields.get("result_count")
        )
        if kind not in HISTORY_TYPES and amount is None:
            return None
        return LoggedEvent(
            kind,
            fields["product_id"],
            fields["session_id"],
            fields["time_ms"],
            promotion_seen(fields.get("discount")),
            amount,
        )


@dataclass(slots=True)
class Log:
    """What one or several writers logged, shopper by shopper."""

    events: dict[str, list[LoggedEvent]] = field(default_factory=lambda: defaultdict(list))
    writers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    calls: list[dict[str, Any]] = field(default_factory=list)  # impressions with features
    _known: set[tuple[str, str]] = field(default_factory=set)

    @property
    def shoppers(self) -> set[str]:
        """Who was shown a list."""
        return {call["shopper"] for call in self.calls}

    def read(self, writer: str, segments: Iterable[bytes]) -> None:
        """Take in a writer's segments, oldest first. Raises ValueError for what is no record."""
        for segment in segments:
            for record in whole_records(segment):
                self._take(writer, *decode_record(record.payload))

    def _take(self, writer: str, kind: RecordKind, fields: dict[str, Any]) -> None:
        shopper = fields["shopper"]
        if kind is RecordKind.IMPRESSION:
            if fields.get("features_crc32"):
                self.calls.append(fields)
            return
        key = (shopper, fields["idempotency_key"])
        if key in self._known:  # a log may hold an event twice
            return
        self._known.add(key)
        event = LoggedEvent.of(fields)
        if event is None:
            return
        self.events[shopper].append(event)
        self.writers[shopper].add(writer)


def read_imported(path: Path, shoppers: Iterable[str]) -> dict[str, list[LoggedEvent]]:
    """What a release's histories.parquet fills an empty store with, for those of `shoppers`."""
    found = {}
    table = pq.read_table(path)
    wanted = pc.is_in(table["user_id"], value_set=pa.array(sorted(shoppers), pa.string()))
    for row in table.filter(wanted).to_pylist():
        promotions = row.get("promotions") or [PromotionSeen.NOT_TOLD] * len(row["event_codes"])
        columns = (row[name] for name in ("event_codes", "product_ids", "session_ids", "times_ms"))
        deeds = zip(*columns, promotions, strict=True)
        found[row["user_id"]] = [
            LoggedEvent(_TYPE_OF[code], product, session, time_ms, PromotionSeen(promotion), None)
            for code, product, session, time_ms, promotion in deeds
        ]
        if row.get("signal_codes"):
            found[row["user_id"]] += _imported_signals(row)
    return found


def _imported_signals(row: Mapping[str, Any]) -> list[LoggedEvent]:
    columns = ("signal_codes", "signal_session_ids", "signal_times_ms", "signal_amounts")
    return [
        LoggedEvent(_TYPE_OF[code], "", session, time_ms, PromotionSeen.NOT_TOLD, amount)
        for code, session, time_ms, amount in zip(*(row[name] for name in columns), strict=True)
    ]
