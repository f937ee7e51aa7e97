"""Price limits: between which prices a suggestion must stay, product by product, and why.

Each limit gives a least and a most price; together they leave a band, or none where they contradict
each other. A limit that cannot be checked, because what it needs is unknown, leaves no band either:
what cannot be shown to be allowed is not suggested.

Shapes: N products, L limits (the order of `BANDS`).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

MAX_PRICE_MINOR = 10**12  # ten billion in major units: beyond it a figure is a fault, not a price


class PriceLimit(StrEnum):
    """What a suggestion never breaks."""

    FLOOR = "floor"
    CEILING = "ceiling"
    LIST_FLOOR = "list_floor"  # a share of the list price of the catalogue
    LIST_CEILING = "list_ceiling"
    MIN_MARGIN = "min_margin"
    STEP = "step"  # per change
    DAY_STEP = "day_step"  # against every price of the last 24 hours
    PROMOTION_FREEZE = "promotion_freeze"
    ENDING = "ending"


BANDS = tuple(limit for limit in PriceLimit if limit is not PriceLimit.ENDING)
_AT: dict[PriceLimit, int] = {limit: at for at, limit in enumerate(BANDS)}


@dataclass(frozen=True, slots=True)
class PriceLimits:
    """The hard limits of one shop. The defaults are careful choices; a shop sets its own."""

    floor_minor: int = 1
    ceiling_minor: int = 100_000_000
    floor_share: float = 0.6  # of the list price that the release was made with
    ceiling_share: float = 1.4
    min_margin: float = 0.1  # of the price, after cost
    step_share: float = 0.05  # of the current price: below what most shoppers notice
    day_step_share: float = 0.1
    # No change while a promotion runs or begins within this time. Where a reduction must name the
    # lowest price of the 30 days before (Directive 98/6/EC, article 6a), set 30 days.
    freeze_before_ms: int = 604_800_000
    endings: tuple[int, ...] = (9,)  # of the price, modulo `ending_modulus_minor`; none: any
    ending_modulus_minor: int = 10

    def __post_init__(self) -> None:
        """Raises ValueError, naming the limit first, for one that no price could keep."""
        _require(self.floor_minor >= 1, "floor_minor: must be at least 1")
        _require(
            self.floor_minor <= self.ceiling_minor <= MAX_PRICE_MINOR,
            f"ceiling_minor: must be floor_minor to {MAX_PRICE_MINOR}",
        )
        _require(0.0 < self.floor_share <= 1.0, "floor_share: must be above 0 and at most 1")
        _require(1.0 <= self.ceiling_share <= 100.0, "ceiling_share: must be 1 to 100")
        _require(0.0 <= self.min_margin < 1.0, "min_margin: must be 0 or more, and below 1")
        for name in ("step_share", "day_step_share"):
            _require(0.0 < getattr(self, name) < 1.0, f"{name}: must be above 0 and below 1")
        _require(self.freeze_before_ms >= 0, "freeze_before_ms: must not be below 0")
        modulus = self.ending_modulus_minor
        _require(1 <= modulus <= 1_000_000, "ending_modulus_minor: must be 1 to 1000000")
        _require(
            all(0 <= ending < modulus for ending in self.endings) and len(self.endings) <= 100,
            "endings: must be at most 100 numbers from 0 to below ending_modulus_minor",
        )


@dataclass(frozen=True, slots=True, eq=False)
class LimitedBy:
    """What the limits need to know. Anything not known, or not sensible, is NaN."""

    current_minor: NDArray[np.int64]  # [N] above 0 and at most MAX_PRICE_MINOR
    list_minor: NDArray[np.int64]  # [N] likewise
    cost_minor: NDArray[np.float64]  # [N]
    frozen: NDArray[np.bool_]  # [N] a promotion runs or is about to
    lowest_minor: NDArray[np.float64]  # [N] of the last 24 hours
    highest_minor: NDArray[np.float64]  # [N]
    calendar_known: NDArray[np.bool_]  # [N] False: `frozen` means nothing


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """What each limit allows. An unknown limit allows everything here, and is told as unknown."""

    least_minor: NDArray[np.int64]  # [N, L]
    most_minor: NDArray[np.int64]  # [N, L]
    unknown: NDArray[np.bool_]  # [N, L]

    @property
    def low_minor(self) -> NDArray[np.int64]:
        """[N] of all limits together."""
        return np.asarray(self.least_minor.max(axis=1), dtype=np.int64)

    @property
    def high_minor(self) -> NDArray[np.int64]:
        """[N] of all limits together; below `low_minor` where they contradict each other."""
        return np.asarray(self.most_minor.min(axis=1), dtype=np.int64)

    def ends_of(self, at: int) -> tuple[PriceLimit, PriceLimit]:
        """Which limits set the low and the high end of one product's band."""
        return (
            BANDS[int(self.least_minor[at].argmax())],
            BANDS[int(self.most_minor[at].argmin())],
        )


def price_bands(known: LimitedBy, limits: PriceLimits) -> Bands:
    """The band of every limit, rounded inwards to whole minor units."""
    count = known.current_minor.size
    least = np.ones((count, len(BANDS)))
    most = np.full((count, len(BANDS)), float(MAX_PRICE_MINOR))
    unknown = np.zeros((count, len(BANDS)), dtype=np.bool_)
    current, listed = known.current_minor, known.list_minor
    least[:, _AT[PriceLimit.FLOOR]] = limits.floor_minor
    most[:, _AT[PriceLimit.CEILING]] = limits.ceiling_minor
    least[:, _AT[PriceLimit.LIST_FLOOR]] = listed * limits.floor_share
    most[:, _AT[PriceLimit.LIST_CEILING]] = listed * limits.ceiling_share
    least[:, _AT[PriceLimit.MIN_MARGIN]] = known.cost_minor / (1.0 - limits.min_margin)
    unknown[:, _AT[PriceLimit.MIN_MARGIN]] = ~np.isfinite(known.cost_minor)
    _put(least, most, PriceLimit.STEP, current, current, limits.step_share)
    # The current price is one of the last 24 hours, whatever the calendar has seen of them.
    seen = np.stack([known.lowest_minor, known.highest_minor, current])
    lowest, highest = np.fmin.reduce(seen), np.fmax.reduce(seen)
    _put(least, most, PriceLimit.DAY_STEP, highest, lowest, limits.day_step_share)
    day_known = np.isfinite(known.lowest_minor) & np.isfinite(known.highest_minor)
    unknown[:, _AT[PriceLimit.DAY_STEP]] = ~day_known
    freeze = _AT[PriceLimit.PROMOTION_FREEZE]
    unknown[:, freeze] = ~known.calendar_known
    least[known.frozen, freeze] = most[known.frozen, freeze] = current[known.frozen]
    least[unknown], most[unknown] = 1.0, MAX_PRICE_MINOR
    least = np.ceil(np.clip(least, 1.0, 2.0 * MAX_PRICE_MINOR))
    most = np.floor(np.clip(most, 0.0, MAX_PRICE_MINOR))
    return Bands(least.astype(np.int64), most.astype(np.int64), unknown)


def _put(
    least: NDArray[np.float64],
    most: NDArray[np.float64],
    limit: PriceLimit,
    down_from: NDArray[np.float64] | NDArray[np.int64],
    up_from: NDArray[np.float64] | NDArray[np.int64],
    share: float,
) -> None:
    least[:, _AT[limit]] = down_from * (1.0 - share)
    most[:, _AT[limit]] = up_from * (1.0 + share)


def nearest_ending(
    price_minor: NDArray[np.int64],
    low_minor: NDArray[np.int64],
    high_minor: NDArray[np.int64],
    limits: PriceLimits,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[N] the nearest price within low..high that ends as it should, and whether there is one.

    Of two equally near prices the lower. `price_minor` must lie within low..high; without endings
    it is its own nearest.
    """
    if not limits.endings:
        return price_minor, np.ones(price_minor.size, dtype=np.bool_)
    modulus = limits.ending_modulus_minor
    best, found = price_minor.copy(), np.zeros(price_minor.size, dtype=np.bool_)
    distance = np.full(price_minor.size, np.iinfo(np.int64).max)
    for ending in sorted(set(limits.endings)):
        first = low_minor + (ending - low_minor) % modulus
        last = high_minor - (high_minor - ending) % modulus
        below = price_minor - (price_minor - ending) % modulus
        for candidate in (below, below + modulus):
            near = np.clip(candidate, first, np.maximum(first, last))
            away = np.abs(near - price_minor)
            nearer = (away < distance) | ((away == distance) & (near < best))
            takes = (first <= last) & nearer
            best[takes], distance[takes] = near[takes], away[takes]
            found |= takes
    return best, found


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
