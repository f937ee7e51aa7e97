"""Message sizes: what is refused before protobuf has read it.

A message can be a hundred times as large in memory as on the wire: an empty element takes two bytes
there. 16 MiB of empty events were 2 GB and 6 s of the event loop, from one caller with one call. So
the elements are counted on the wire first, which costs a sound call a comparison.
"""

from collections.abc import Mapping
from types import MappingProxyType

from serving.admission import AdmissionSettings
from serving.codec import MAX_EVENTS, MAX_MANY

_SURELY_READ = 8 << 10  # up to here nothing is worth a look: 4,096 empty elements are 1 MB
_PACKAGE = "/vitrine.v1."
_RECOMMENDATIONS = "/vitrine.v1.Recommendations/"
_BATCHES: Mapping[str, int] = MappingProxyType(
    {f"{_RECOMMENDATIONS}LogEvents": MAX_EVENTS, f"{_RECOMMENDATIONS}RecommendMany": MAX_MANY}
)
_VARINT_BITS = 70
_OTHER_FIELDS = 16  # that a later version may put beside the elements
_USUAL = AdmissionSettings()


def too_large(method: str, raw: bytes, limits: AdmissionSettings = _USUAL) -> str:
    """Why a message of this method is not read; "" if it may be. `method` as in its HTTP/2 path."""
    if len(raw) <= min(_SURELY_READ, limits.recommend_kb << 10):
        return ""
    if not method.startswith(_PACKAGE):
        return ""
    most_elements = _BATCHES.get(method)
    most_bytes = (limits.recommend_kb if most_elements is None else limits.batch_kb) << 10
    if len(raw) > most_bytes:
        return f"has {len(raw)} bytes, at most {most_bytes} are read"
    if most_elements is not None and not has_at_most(raw, most_elements + _OTHER_FIELDS):
        return f"has more than {most_elements} elements; send them in several calls"
    return ""


def has_at_most(raw: bytes, most: int) -> bool:
    """Whether so many fields stand at the top level of a message. True also of what is none.

    Looks no further than it has to: at most `most` fields.
    """
    at, size, count = 0, len(raw), 0
    while at < size:
        if count == most:
            return False
        count += 1
        tag, at = _varint(raw, at)
        match tag & 7:
            case 0:  # a number
                _, at = _varint(raw, at)
            case 1:
                at += 8
            case 2:  # bytes, texts, messages
                length, at = _varint(raw, at)
                at += length
            case 5:
                at += 4
            # Groups: what is inside counts too. 6 and 7 mean nothing: no message.
    return True


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends; the end of the message if it does not."""
    value = shift = 0
    while at < len(raw) and shift < _VARINT_BITS:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return value, len(raw)
