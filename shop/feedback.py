"""Feedback: the form in which events and shown lists stand in the log that training reads.

A segment of the log is MAGIC and then records, each

    length u32 | CRC-32 of the payload u32 | payload: a MessagePack map with "kind"

little-endian. A record that is cut short or does not match its checksum ends the segment: whatever
stands behind it was never acknowledged.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgpack

MAGIC = b"VTRNLOG1"
MAX_RECORD_BYTES = 1 << 20  # an event has at most 4 kB, a list of 500 products 40 kB
_HEAD = struct.Struct("<II")


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


def whole_records(segment: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Every whole record from byte `start` on: where it ends, and its payload.

    `start` is 0 or the end of a record. Nothing comes of what is no segment.
    """
    if segment[: len(MAGIC)] != MAGIC:
        return
    at = max(start, len(MAGIC))
    while at + _HEAD.size <= len(segment):
        length, checksum = _HEAD.unpack_from(segment, at)
        end = at + _HEAD.size + length
        payload = segment[at + _HEAD.size : end]
        # A hole that the file system filled with zeros is no empty record: no payload is empty.
        if not 0 < length <= MAX_RECORD_BYTES or len(payload) < length:
            return
        if zlib.crc32(payload) != checksum:
            return
        yield end, payload
        at = end
