"""Local time: the shop's clock against UTC, for gateway and training alike.

Offsets are looked up per quarter of an hour, which is as finely as any zone changes today.
"""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

UTC_ZONE = "UTC"
_QUARTER_MS = 900_000


def is_time_zone(name: str) -> bool:
    """Whether `name` is a zone of the IANA database that is installed here, as Europe/Berlin."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a path, a folder, bytes that are no zone
        return False
    return True


def utc_offset_minutes(time_zone: str, now_ms: int) -> int:
    """The zone's clock minus UTC at `now_ms`; seconds are dropped.

    Raises ZoneInfoNotFoundError or ValueError for what `is_time_zone` refuses.
    """
    return _offset(time_zone, now_ms // _QUARTER_MS)


def utc_offsets_minutes(time_zone: str, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """[B] as `utc_offset_minutes` at every one of these times."""
    if time_zone == UTC_ZONE:
        return np.zeros(times_ms.size, dtype=np.int64)
    quarters, quarter_of = np.unique(times_ms // _QUARTER_MS, return_inverse=True)
    offsets = [_offset(time_zone, int(quarter)) for quarter in quarters]
    return np.array(offsets, dtype=np.int64)[quarter_of]


@lru_cache(maxsize=4096)  # a gateway passes a few quarters, training months of them
def _offset(time_zone: str, quarter: int) -> int:
    moment = datetime.fromtimestamp(quarter * (_QUARTER_MS // 1000), tz=UTC)
    offset = moment.astimezone(ZoneInfo(time_zone)).utcoffset()
    if offset is None:
        raise ValueError(f"{time_zone} has no offset")
    return int(offset.total_seconds() // 60)
