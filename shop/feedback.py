"""Feedback: the form in which events and shown lists stand in the log that training reads.

A segment of the log is MAGIC and then records, each

    length u32 | CRC-32 of the payload u32 | payload: a MessagePack map with "kind"

little-endian. What is damaged is passed over up to the next whole record: behind bytes that a disk
lost stand events that were acknowledged. A record cut short at the very end never was.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgpack

MAGIC = b"VTRNLOG1"
MAX_RECORD_BYTES = 1 << 20  # an event has at most 4 kB, a list of 500 products 40 kB
_HEAD = struct.Struct("<II")


# Every payload begins with a map's head, of so many bytes, and this key: where to look for the next
# record behind a damaged one.
_FIRST_KEY: bytes = msgpack.packb("kind")
_MAP_HEAD_BYTES = (1, 3, 5)


class RecordKind(StrEnum):
    """What a record tells of."""

    EVENT = "event"  # what a shopper did
    IMPRESSION = "impression"  # a list that was shown


def encode_record(kind: RecordKind, fields: Mapping[str, Any]) -> bytes:
    """One framed record. Raises ValueError if it is larger than MAX_RECORD_BYTES."""
    payload: bytes = msgpack.packb({"kind": kind.value, **fields})
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes, at most {MAX_RECORD_BYTES}")
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def decode_record(payload: bytes) -> tuple[RecordKind, dict[str, Any]]:
    """Kind and fields. Raises ValueError if this is no record of this format."""
    try:
        fields = msgpack.unpackb(payload)
        return RecordKind(fields.pop("kind")), fields
    except (KeyError, AttributeError, msgpack.UnpackException) as error:
        raise ValueError(f"not a feedback record: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record of a segment."""

    begin: int  # where it stands in the segment
    end: int
    payload: bytes


def whole_records(segment: bytes, start: int = 0) -> Iterator[Record]:
    """Every whole record from byte `start` on, whatever stands between them."""
    at = max(start, len(MAGIC)) if segment.startswith(MAGIC) else start
    while (record := _record_at(segment, at) or _next_record(segment, at)) is not None:
        yield record
        at = record.end


def is_cut_short(segment: bytes, at: int) -> bool:
    """Whether all from byte `at` on is what a dying writer leaves: half a record, or a hole."""
    if len(segment) - at < _HEAD.size or not any(segment[at:]):  # file systems fill holes with 0
        return True
    length, _ = _HEAD.unpack_from(segment, at)
    return bool(0 < length <= MAX_RECORD_BYTES and at + _HEAD.size + length > len(segment))


def _record_at(segment: bytes, at: int) -> Record | None:
    if at + _HEAD.size > len(segment):
        return None
    length, checksum = _HEAD.unpack_from(segment, at)
    end = at + _HEAD.size + length
    # A hole that the file system filled with zeros is no empty record: no payload is empty.
    if not 0 < length <= MAX_RECORD_BYTES or end > len(segment):
        return None
    payload = segment[at + _HEAD.size : end]
    return Record(at, end, payload) if zlib.crc32(payload) == checksum else None


def _next_record(segment: bytes, at: int) -> Record | None:
    """The first whole record that begins at `at` or behind it."""
    key_at = segment.find(_FIRST_KEY, at)
    while key_at >= 0:
        for head_bytes in _MAP_HEAD_BYTES:
            begin = key_at - head_bytes - _HEAD.size
            record = _record_at(segment, begin) if begin >= at else None
            if record is not None:
                return record
        key_at = segment.find(_FIRST_KEY, key_at + 1)
    return None
