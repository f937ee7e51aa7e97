"""Candidates: products worth scoring for one shopper.

Shapes: N candidates, S sources (see `Source`).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Source(IntEnum):
    """Where a candidate came from; the value is its column in `Candidates.source_scores`.

    Never renumber: page tokens carry a bit for each.
    """

    TWO_TOWER = 0
    ITEM_ITEM = 1
    HISTORY = 2
    POPULAR = 3
    EXPLORATION = 4
    CONTENT = 5
    USER_USER = 6
    SEGMENT_POPULAR = 7
    FRESH = 8
    TEXT = 9  # the meaning of a query's words
    LEXICAL = 10  # the words themselves


BY_QUERY = (Source.TEXT, Source.LEXICAL)  # what the others are blended without
BLENDED = tuple(source for source in Source if source not in BY_QUERY)
SOURCE_COUNT = len(Source)  # at most 16, the bits of a page token
_BIT_OF = (1 << np.arange(SOURCE_COUNT)).astype(np.uint16)


def source_bits(proposed: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """[N] a bit for every source that proposed the product, from [N, S]."""
    return proposed @ _BIT_OF


def proposed_of(bits: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """[N, S] which sources proposed the product, from [N]."""
    return (bits[:, None] & _BIT_OF) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Distinct products, best retrieval rank first, with each source's own score kept."""

    rows: NDArray[np.int64]  # [N] catalogue rows, no duplicates, never 0
    source_scores: NDArray[np.float32]  # [N, S] NaN where the source did not propose the product

    def __post_init__(self) -> None:
        if self.source_scores.shape != (self.rows.size, SOURCE_COUNT):
            raise ValueError(
                f"source_scores {self.source_scores.shape} does not fit {self.rows.size} rows"
            )

    def __len__(self) -> int:
        return int(self.rows.size)

    @property
    def proposed(self) -> NDArray[np.bool_]:
        """[N, S] which sources proposed the product."""
        return ~np.isnan(self.source_scores)

    def taken(self, positions: NDArray[np.intp]) -> "Candidates":
        """The candidates at these positions, in this order."""
        return Candidates(self.rows[positions], self.source_scores[positions])
