"""Events: what shoppers do, under the same names online, in the log and in training.

Shapes: T past interactions.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class EventType(StrEnum):
    """Everything a storefront reports. The values are what data sets, logs and the API carry."""

    IMPRESSION = "impression"
    CLICK = "click"
    CART = "cart"
    REMOVE = "remove"
    ABANDON = "abandon"
    PURCHASE = "purchase"
    RETURN = "return"
    REVIEW = "review"
    DWELL = "dwell"
    SEARCH = "search"


# Integer codes of event types inside models. 0 is padding. Never renumber: releases depend on them.
EVENT_CODES: dict[EventType, int] = {
    EventType.IMPRESSION: 1,
    EventType.CLICK: 2,
    EventType.CART: 3,
    EventType.REMOVE: 4,
    EventType.ABANDON: 5,
    EventType.PURCHASE: 6,
    EventType.RETURN: 7,
    EventType.REVIEW: 8,
    EventType.DWELL: 9,
    EventType.SEARCH: 10,
}
EVENT_CODE_COUNT = 16  # embedding rows; leaves room without changing trained shapes

# What a history keeps: deeds that tell taste. Impressions go to the log only, for training.
HISTORY_TYPES: frozenset[EventType] = frozenset(
    {
        EventType.CLICK,
        EventType.CART,
        EventType.REMOVE,
        EventType.ABANDON,
        EventType.PURCHASE,
        EventType.RETURN,
        EventType.REVIEW,
        EventType.DWELL,
    }
)
HISTORY_CODES: NDArray[np.int64] = np.array(sorted(EVENT_CODES[t] for t in HISTORY_TYPES))

# Interactions kept per shopper. Features count within them, so stores and training must cut alike.
HISTORY_LIMIT = 200

# What counts as wanting a product: the two-tower model's positives.
WANTED_TYPES: frozenset[EventType] = frozenset(
    {EventType.CLICK, EventType.CART, EventType.PURCHASE}
)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One shopper's past interactions, oldest first, products as catalogue rows (0 = unknown)."""

    product_rows: NDArray[np.int64]  # [T]
    event_codes: NDArray[np.int64]  # [T] see EVENT_CODES
    times_ms: NDArray[np.int64]  # [T] Unix milliseconds, not decreasing
    session_mask: NDArray[np.bool_]  # [T] True where the interaction belongs to this session

    def __post_init__(self) -> None:
        lengths = {
            a.shape for a in (self.product_rows, self.event_codes, self.times_ms, self.session_mask)
        }
        if len(lengths) != 1:
            raise ValueError(f"history columns differ in shape: {sorted(lengths)}")

    def __len__(self) -> int:
        return int(self.product_rows.size)

    @staticmethod
    def empty() -> "History":
        """The history of a shopper nobody has seen."""
        none = np.zeros(0, dtype=np.int64)
        return History(none, none, none, np.zeros(0, dtype=np.bool_))
