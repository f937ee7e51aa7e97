"""Events: what shoppers do, under the same names online, in the log and in training.

Shapes: T past interactions, S signals.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

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
    }
)
HISTORY_CODES: NDArray[np.int64] = np.array(sorted(EVENT_CODES[t] for t in HISTORY_TYPES))

# What a history keeps beside: how a visit goes. They take no place among the deeds.
SIGNAL_TYPES: frozenset[EventType] = frozenset({EventType.DWELL, EventType.SEARCH})
SIGNAL_CODES: NDArray[np.int64] = np.array(sorted(EVENT_CODES[t] for t in SIGNAL_TYPES))

# Kept per shopper. Features count within them, so stores and training must cut alike.
HISTORY_LIMIT = 200
SIGNAL_LIMIT = 100

# What counts as wanting a product: the two-tower model's positives.
WANTED_TYPES: frozenset[EventType] = frozenset(
    {EventType.CLICK, EventType.CART, EventType.PURCHASE}
)


class PromotionSeen(IntEnum):
    """Whether a product was reduced when a shopper did something with it."""

    NOT_TOLD = 0
    NONE = 1
    PROMOTED = 2


def promotion_seen(discount: float | None) -> PromotionSeen:
    """From the share of the list price that was taken off; None = not told."""
    if discount is None:
        return PromotionSeen.NOT_TOLD
    return PromotionSeen.PROMOTED if discount > 0 else PromotionSeen.NONE


def signal_amount(event: EventType, *, dwell_ms: int, result_count: int | None) -> int | None:
    """What a signal measured: dwell in milliseconds, a search in results found.

    None where it tells nothing: such an event is logged, and no history keeps it.
    """
    if event is EventType.DWELL:
        return dwell_ms or None
    return result_count if event is EventType.SEARCH else None


_NONE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
_NOWHERE: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
_UNTOLD: NDArray[np.int8] = np.zeros(0, dtype=np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """How one shopper's visits went, oldest first.  Shapes: S signals."""

    event_codes: NDArray[np.int64]  # [S] of SIGNAL_TYPES
    times_ms: NDArray[np.int64]  # [S] not decreasing
    amounts: NDArray[np.int64]  # [S] see `signal_amount`
    session_mask: NDArray[np.bool_]  # [S] True where it belongs to this session

    def __post_init__(self) -> None:
        lengths = {getattr(self, name).shape for name in Signals.__slots__}
        if len(lengths) != 1:
            raise ValueError(f"signal columns differ in shape: {sorted(lengths)}")

    def __len__(self) -> int:
        return int(self.event_codes.size)


NO_SIGNALS = Signals(_NONE, _NONE, _NONE, _NOWHERE)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One shopper's past interactions, oldest first, products as catalogue rows (0 = unknown)."""

    product_rows: NDArray[np.int64]  # [T]
    event_codes: NDArray[np.int64]  # [T] see EVENT_CODES
    times_ms: NDArray[np.int64]  # [T] Unix milliseconds, not decreasing
    session_mask: NDArray[np.bool_]  # [T] True where the interaction belongs to this session
    # [T] see PromotionSeen; left out: nothing is told
    promotions: NDArray[np.int8] = field(default_factory=lambda: _UNTOLD)
    signals: Signals = NO_SIGNALS

    def __post_init__(self) -> None:
        if self.promotions is _UNTOLD:
            untold = np.zeros(self.product_rows.shape, dtype=np.int8)
            object.__setattr__(self, "promotions", untold)
        columns = ("product_rows", "event_codes", "times_ms", "session_mask", "promotions")
        lengths = {getattr(self, name).shape for name in columns}
        if len(lengths) != 1:
            raise ValueError(f"history columns differ in shape: {sorted(lengths)}")

    def __len__(self) -> int:
        return int(self.product_rows.size)

    @staticmethod
    def empty() -> "History":
        """The history of a shopper nobody has seen."""
        return History(_NONE, _NONE, _NONE, _NOWHERE)
