"""Candidates: products worth scoring for one shopper.

Shapes: N candidates, S sources (see `Source`).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Source(IntEnum):
    """Where a candidate came from; the value is its column in `Candidates.source_scores`."""

    TWO_TOWER = 0
    ITEM_ITEM = 1
    HISTORY = 2
    POPULAR = 3
    EXPLORATION = 4
    TEXT = 5  # the meaning of a query's words
    LEXICAL = 6  # the words themselves


SOURCE_COUNT = len(Source)


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
