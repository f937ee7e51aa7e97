"""Event fields: what both kinds of event on the wire say alike, logged or told with a request."""

from collections.abc import Mapping, Sequence

from serving.field_checks import MAX_ID_BYTES, FieldChecks
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import RecentEvent
from shop.events import (
    EVENT_CODES,
    HISTORY_TYPES,
    SIGNAL_TYPES,
    EventType,
    promotion_seen,
    signal_amount,
)

EVENT_TYPES: Mapping[str, EventType] = {event.value: event for event in EventType}
_RECENT_TYPES = tuple(
    event.value for event in EventType if event in HISTORY_TYPES or event in SIGNAL_TYPES
)
_MAX_RECENT_EVENTS = 200
_MAX_DWELL_MS = 7 * 86_400_000  # a page left open for a week; features cut it at half an hour
_MAX_RESULTS = 1_000_000_000


def recent_events(
    checks: FieldChecks, events: Sequence[pb.RecentEvent], now_ms: int, clock_offset_ms: int
) -> tuple[RecentEvent, ...]:
    """Checked, their times by the shop's clock."""
    checks.count("recent_events", len(events), _MAX_RECENT_EVENTS)
    return tuple(
        _recent_event(checks, f"recent_events[{at}].", event, now_ms, clock_offset_ms)
        for at, event in enumerate(events[:_MAX_RECENT_EVENTS])
    )


def _recent_event(
    checks: FieldChecks, path: str, event: pb.RecentEvent, now_ms: int, clock_offset_ms: int
) -> RecentEvent:
    name = checks.one_of(f"{path}type", event.type, _RECENT_TYPES)
    kind = EVENT_TYPES.get(name, EventType.CLICK)  # never seen where the type is wrong
    product_id = checks.text(
        f"{path}product_id",
        event.product_id,
        MAX_ID_BYTES,
        required=kind is not EventType.SEARCH,
    )
    time_ms = shop_time_ms(checks, f"{path}time_ms", event.time_ms, now_ms, clock_offset_ms)
    amount = signal_amount(
        kind,
        dwell_ms=dwell_ms_of(checks, path, event, kind),
        result_count=result_count_of(checks, path, event, kind),
    )
    promotion = promotion_seen(discount_of(checks, path, event))
    return RecentEvent(EVENT_CODES[kind], product_id, time_ms, promotion, amount)


def shop_time_ms(
    checks: FieldChecks, field: str, value: int, now_ms: int, clock_offset_ms: int
) -> int:
    """A caller's time by the shop's clock, which reads `now_ms`; 0 is now."""
    if value == 0:
        return now_ms
    return checks.time_ms(field, value, now_ms - clock_offset_ms) + clock_offset_ms


def dwell_ms_of(
    checks: FieldChecks, path: str, event: pb.Event | pb.RecentEvent, kind: EventType
) -> int:
    """How long a product was looked at; 0 = not told."""
    if event.dwell_ms and kind is not EventType.DWELL:
        checks.add(f"{path}dwell_ms", "is for events of type dwell only")
    return checks.whole(f"{path}dwell_ms", event.dwell_ms, 0, _MAX_DWELL_MS)


def dwell_ms_in_seconds(kind: EventType, value: float) -> int:
    """What a dwell event tells in the older field, which holds seconds; 0 = nothing."""
    if kind is not EventType.DWELL or not value > 0.0:
        return 0
    return round(min(value * 1000.0, float(_MAX_DWELL_MS)))


def result_count_of(
    checks: FieldChecks, path: str, event: pb.Event | pb.RecentEvent, kind: EventType
) -> int | None:
    """How much a search found; None = not told."""
    if not event.HasField("result_count"):
        return None
    if kind is not EventType.SEARCH:
        checks.add(f"{path}result_count", "is for events of type search only")
    return checks.whole(f"{path}result_count", event.result_count, 0, _MAX_RESULTS)


def discount_of(checks: FieldChecks, path: str, event: pb.Event | pb.RecentEvent) -> float | None:
    """The share of the list price that was taken off; None = not told."""
    if not event.HasField("discount"):
        return None
    return checks.real(f"{path}discount", event.discount, 0.0, 1.0)
