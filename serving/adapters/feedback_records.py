"""Feedback records: events and shown lists as the log holds them, fields named as in the ports."""

from typing import Any

from serving.recommend.ports import Impression, ShopperEvent
from shop.events import EventType
from shop.feedback import RecordKind, decode_record, encode_record


def read_event(payload: bytes) -> ShopperEvent | None:
    """The event in a record; None if it tells of something else. Raises ValueError if damaged.

    Fields that only a later version knows are left out, so that a version can be taken back.
    """
    kind, fields = decode_record(payload)
    if kind is not RecordKind.EVENT:
        return None
    known = {name: fields[name] for name in ShopperEvent.__slots__ if name in fields}
    known["type"] = EventType(known["type"])
    return ShopperEvent(**known)


def event_record(event: ShopperEvent) -> bytes:
    """The framed record of an event."""
    return encode_record(RecordKind.EVENT, _fields(event) | {"type": event.type.value})


def impression_record(impression: Impression) -> bytes:
    """The framed record of a shown list."""
    return encode_record(RecordKind.IMPRESSION, _fields(impression))


def _fields(value: ShopperEvent | Impression) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
