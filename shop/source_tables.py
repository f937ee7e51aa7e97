"""Source tables: what the sources beside the two-tower model read, made once for each release.

They are made when a release is exported (`export.source_tables`), so a call only looks things up.

Shapes: R catalogue rows, K neighbours of each, U shoppers, G segments, M products of one list,
F arrivals.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shop.features import Context
from shop.neighbours import Neighbours

DIMENSIONS = ("segment", "country", "device", "day_part")
ARRIVAL_DAYS = 60  # a release lists what was added so many days before its data ended, or later
DAY_PARTS = ("night", "morning", "afternoon", "evening")  # six hours each, from midnight
_KEY_BYTES = 8  # two of a million shoppers share a key with a probability of 3e-8


def shopper_key(shopper: str) -> int:
    """What a shopper is found by; the release need not carry names for it."""
    digest = hashlib.blake2b(shopper.encode(), digest_size=_KEY_BYTES).digest()
    return int.from_bytes(digest, "big")


def day_part(time_ms: int, utc_offset_minutes: int) -> str:
    """One of DAY_PARTS, by the shopper's clock."""
    local_hour = (time_ms // 60_000 + utc_offset_minutes) // 60 % 24
    return DAY_PARTS[local_hour // 6]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Products and what a source thinks of them, best first."""

    rows: NDArray[np.int64]  # [M] no duplicates
    scores: NDArray[np.float32]  # [M] > 0


NOTHING = Listed(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class ShopperLists:
    """For every known shopper what those who bought alike bought too; row 0 pads."""

    keys: NDArray[np.uint64]  # [U] `shopper_key`, ascending
    rows: NDArray[np.int32]  # [U, M] best first
    scores: NDArray[np.float32]  # [U, M]

    def of(self, shopper: str) -> Listed:
        """Nothing for a shopper whom the release does not know."""
        key = np.uint64(shopper_key(shopper))
        at = int(np.searchsorted(self.keys, key))
        if at == self.keys.size or self.keys[at] != key:
            return NOTHING
        return _listed(self.rows[at], self.scores[at])


@dataclass(frozen=True, slots=True, eq=False)
class SegmentLists:
    """What sells best to whom; the dimension that tells most of it comes first."""

    dimensions: tuple[str, ...]  # of DIMENSIONS
    segments: tuple[tuple[str, str], ...]  # [G] dimension and value
    rows: NDArray[np.int32]  # [G, M] best first; row 0 pads
    scores: NDArray[np.float32]  # [G, M]
    _at: dict[tuple[str, str], int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_at", {each: at for at, each in enumerate(self.segments)})

    def of(self, context: Context) -> Listed:
        """By the first dimension of which the call says something known; else nothing."""
        for dimension in self.dimensions:
            at = self._at.get((dimension, _value(context, dimension)))
            if at is not None:
                return _listed(self.rows[at], self.scores[at])
        return NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Products added to the catalogue lately, latest first."""

    rows: NDArray[np.int64]  # [F]
    added_ms: NDArray[np.int64]  # [F] not rising

    def since(self, time_ms: int) -> NDArray[np.int64]:
        """Rows added at this time or later, latest first."""
        # Ascending is what searchsorted wants; a negated view of a few hundred costs 1 µs.
        return self.rows[: int(np.searchsorted(-self.added_ms, -time_ms, side="right"))]


@dataclass(frozen=True, slots=True, eq=False)
class SourceTables:
    """All of them."""

    content: Neighbours  # by specification and title
    user_user: ShopperLists
    segments: SegmentLists
    arrivals: Arrivals
    wishes: NDArray[np.int32]  # [R] how often each product was wanted: how far behaviour is known

    @staticmethod
    def empty(row_count: int) -> "SourceTables":
        """Tables that propose nothing."""
        none = np.zeros((row_count, 0), dtype=np.int32)
        return SourceTables(
            Neighbours(none, none.astype(np.float32)),
            ShopperLists(np.zeros(0, np.uint64), none[:0], none[:0].astype(np.float32)),
            SegmentLists((), (), none[:0], none[:0].astype(np.float32)),
            Arrivals(np.zeros(0, np.int64), np.zeros(0, np.int64)),
            np.zeros(row_count, dtype=np.int32),
        )


def _value(context: Context, dimension: str) -> str:
    if dimension == "day_part":
        return day_part(context.now_ms, context.utc_offset_minutes)
    return str(getattr(context, dimension))


def _listed(rows: NDArray[np.int32], scores: NDArray[np.float32]) -> Listed:
    there = int(np.count_nonzero(rows))  # row 0 pads at the end
    return Listed(rows[:there].astype(np.int64), scores[:there])
