"""Popularity: the products most bought, over all and within categories, ready to be read off.

Shapes: R catalogue rows, P products, G categories, M rows taken.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import DENSE_ROWS, NO_PRODUCT

RowMask = NDArray[np.bool_]  # [R]

# So few of a large catalogue are sorted, where looking down the whole list would take 1.5 ms for
# each million products.
_FEW_ROWS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """Products by popularity. Build it once per release with `Popularity.of`: it sorts them all."""

    rows: NDArray[np.int64]  # [P] most popular first
    score_of: NDArray[np.float32]  # [R] share of the most popular product's purchases
    shelves: NDArray[np.int64]  # [P] the same rows category by category, most popular first
    shelf_starts: NDArray[np.intp]  # [G + 1] where each category begins in `shelves`

    @staticmethod
    def of(
        popular_rows: NDArray[np.int64],
        popularity: NDArray[np.float32],
        category_codes: NDArray[np.int64],
    ) -> "Popularity":
        """From the release's tables: popular_rows [P], popularity [R], category_codes [R]."""
        codes = category_codes[popular_rows]
        by_category = np.argsort(codes, kind="stable")
        category_count = int(category_codes.max(initial=0)) + 1
        starts = np.searchsorted(codes[by_category], np.arange(category_count + 1))
        return Popularity(popular_rows, popularity, popular_rows[by_category], starts)

    def best(self, count: int, allowed: RowMask | None) -> NDArray[np.int64]:
        """[M] at most `count` rows, most popular first."""
        is_large = allowed is not None and allowed.size > DENSE_ROWS
        if allowed is not None and is_large and np.count_nonzero(allowed) <= _FEW_ROWS:
            return self._best_of(np.flatnonzero(allowed), count)
        return _first_allowed(self.rows, count, allowed)

    def _best_of(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        rows = rows[rows != NO_PRODUCT]
        return rows[np.argsort(-self.score_of[rows], kind="stable")][:count]

    def best_in(
        self, categories: NDArray[np.int64], count: int, allowed: RowMask | None
    ) -> NDArray[np.int64]:
        """[M] at most `count` rows of these categories together, most popular first."""
        shelves = [
            _first_allowed(self.shelves[start:end], count, allowed)
            for start, end in self._bounds(categories)
        ]
        if not shelves:
            return np.zeros(0, dtype=np.int64)
        rows = np.concatenate(shelves)
        return rows[np.argsort(-self.score_of[rows], kind="stable")][:count]

    def _bounds(self, categories: NDArray[np.int64]) -> list[tuple[int, int]]:
        known = sorted({code for code in categories.tolist() if code > 0})  # 0 is no category
        return [(int(self.shelf_starts[c]), int(self.shelf_starts[c + 1])) for c in known]


def _first_allowed(
    rows: NDArray[np.int64], count: int, allowed: RowMask | None
) -> NDArray[np.int64]:
    """The first `count` rows that are allowed. Looks in widening steps, seldom at all of them."""
    if allowed is None:
        return rows[:count]
    found: list[NDArray[np.int64]] = []
    missing, at, step = count, 0, max(64, 2 * count)
    while missing > 0 and at < rows.size:
        piece = rows[at : at + step]
        found.append(piece[allowed[piece]][:missing])
        missing -= found[-1].size
        at, step = at + step, step * 2
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
