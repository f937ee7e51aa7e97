"""Event columns: simulated events as aligned arrays, before they are named and written.

Shapes: E events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events by row numbers: shoppers 0-based, products as catalogue rows 1..P,
    0 for a search."""

    times_ms: NDArray[np.int64]  # [E]
    shoppers: NDArray[np.int32]  # [E]
    sessions: NDArray[np.int64]  # [E]
    requests: NDArray[np.int64]  # [E] the list that showed the product
    products: NDArray[np.int32]  # [E]
    codes: NDArray[np.int8]  # [E] shop.events.EVENT_CODES
    placements: NDArray[np.int8]  # [E] into showing.PLACEMENTS
    positions: NDArray[np.int16]  # [E] 1-based
    quantities: NDArray[np.int32]  # [E]
    price_minor: NDArray[np.int64]  # [E] shown or paid
    discounts: NDArray[np.float32]  # [E] share of the list price, 0..1
    devices: NDArray[np.int8]  # [E] into lexicon.DEVICES
    amounts: NDArray[np.int32]  # [E] dwell: milliseconds; search: results found; else 0

    def __len__(self) -> int:
        return int(self.times_ms.size)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "EventColumns":
        """The events at a mask or at positions, in that order."""
        return EventColumns(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def in_time_order(self) -> "EventColumns":
        """Sorted by time; lists stay whole and top to bottom, deeds stay in order of cause."""
        return self.where(np.lexsort((self.positions, self.codes, self.requests, self.times_ms)))


def concatenated(parts: Sequence[EventColumns]) -> EventColumns:
    """All parts, one after another; no parts make no events."""
    if not parts:
        return _none()
    return EventColumns(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(parts[0])}
    )


def _none() -> EventColumns:
    small, whole, wide = np.zeros(0, np.int8), np.zeros(0, np.int32), np.zeros(0, np.int64)
    return EventColumns(
        times_ms=wide,
        shoppers=whole,
        sessions=wide,
        requests=wide,
        products=whole,
        codes=small,
        placements=small,
        positions=np.zeros(0, np.int16),
        quantities=whole,
        price_minor=wide,
        discounts=np.zeros(0, np.float32),
        devices=small,
        amounts=whole,
    )
