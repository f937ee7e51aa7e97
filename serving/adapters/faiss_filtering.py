"""FAISS filtering: the three ways to the nearest of some rows, and which one is quickest when.

- exact: the allowed rows' own vectors, all compared. Nothing is missed.
- selector: FAISS skips the others (`IDSelectorBitmap`; `IDSelectorBatch` takes 1.1 to 3 times as
  long at every share); in an index of cells, the rarer they are, the more of these are visited.
- over-fetch: a search of everything for more than is wanted, the others dropped afterwards.

Shapes: D vector size, R catalogue rows, M allowed rows.
"""

import math
from enum import StrEnum
from typing import Any

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from serving.adapters.faiss_order import Found, nearest_in_order
from shop.catalogue import NO_PRODUCT

faiss: Any = faiss_library  # its stubs know neither the search parameters nor the subclasses

# Where one way becomes quicker than the next, as `vitrine bench filters` measures it: 64 numbers a
# row, 600 nearest wanted, one thread. Exact against selector: 0.02 against 0.05 ms for 0.1 % of
# 19,000 rows, 0.3 ms both for 20 % of them; in 1,264 cells of 100,000 rows 0.06 against 0.7 ms for
# 0.1 %, 0.7 against 1.1 ms for 10 %, 1.5 against 1.0 ms for 20 %. A million rows in 1,024 cells,
# measured once: 0.5 against 5.9 ms for 0.1 %, 12.5 ms both for 10 %.
EXACT_SHARE = 0.25
EXACT_SHARE_IN_CELLS = 0.12
# Over-fetch against selector: 0.40 against 0.41 ms where 95 % of 19,000 rows pass, 0.42 against
# 0.47 ms in those cells, with the recall of a search of everything (.94 of the 600 nearest). Where
# 70 % pass it is no quicker without cells, and in cells finds less: .93, and .88 at 30 %.
OVER_FETCH_SHARE = 0.9
_MARGIN = 1.1  # over-fetched beyond the share that passes: vectors alike pass or fail together
_MARGIN_ROWS = 20
EXACT_ROW_S = 1.5e-7  # gathering and comparing one row; a million rows' cache misses included
SCAN_ROW_S = 1e-9  # looking for the allowed rows among all


class Way(StrEnum):
    """How the nearest allowed rows are found."""

    EXACT = "exact"
    SELECTOR = "selector"
    OVER_FETCH = "over_fetch"


def way_for(allowed_count: int, row_count: int, *, in_cells: bool, has_vectors: bool) -> Way:
    """The quickest way where so many of the rows are allowed.

    Without vectors at hand there is no exact way.
    """
    share = allowed_count / max(1, row_count)
    if has_vectors and share <= (EXACT_SHARE_IN_CELLS if in_cells else EXACT_SHARE):
        return Way.EXACT
    return Way.OVER_FETCH if share >= OVER_FETCH_SHARE else Way.SELECTOR


def over_fetch_count(wanted: int, allowed_count: int, row_count: int) -> int:
    """How many of all rows to ask for, so that `wanted` are left; never more than there are."""
    needed = math.ceil(_MARGIN * wanted * row_count / max(1, allowed_count)) + _MARGIN_ROWS
    return min(row_count, needed)


def exact_nearest(
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    wanted: int,
    allowed: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `wanted` nearest to query [1, D] of the allowed [R] rows of vectors [R, D], best first.

    Compares them in the caller's thread alone.
    """
    rows = np.flatnonzero(allowed)
    return exact_nearest_of(vectors, query, wanted, rows[rows != NO_PRODUCT])


def exact_nearest_of(
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    wanted: int,
    rows: NDArray[np.int64],
) -> Found:
    """The same of these rows [M], ascending, whatever they are."""
    if rows.size == 0 or wanted <= 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    gathered = vectors[rows]

    def search(count: int) -> Found:
        # No product of matrices: BLAS would wake threads, and on busy cores wait 15 ms for them.
        cosines, places = faiss.knn(query, gathered, count, metric=faiss.METRIC_INNER_PRODUCT)
        return rows[places[0]], cosines[0]

    return nearest_in_order(search, wanted, rows.size)


def selector_for(allowed: NDArray[np.bool_]) -> Any:
    """Pushes the restriction [R] into a search."""
    bits = np.packbits(allowed, bitorder="little")
    bits[:1] &= np.uint8(0b1111_1110)  # row 0 is no product
    return faiss.IDSelectorBitmap(bits)  # its Python wrapper keeps `bits` alive


def cells_to_visit(index: Any, allowed_count: int) -> int:
    """The rarer what is allowed, the more, so that as many are found.

    `index` is FAISS's own, or whatever else says `ntotal`, `nlist` and `nprobe`.
    """
    rarity = int(index.ntotal) / max(1, allowed_count)
    return min(int(index.nlist), math.ceil(int(index.nprobe) * rarity))


def stored_vectors(index: Any) -> NDArray[np.float32] | None:
    """[R, D] the vectors that a flat index holds, shared with it; None: another kind."""
    if not isinstance(index, faiss.IndexFlat):
        return None
    flat = faiss.rev_swig_ptr(index.get_xb(), int(index.ntotal) * int(index.d))
    vectors: NDArray[np.float32] = flat.reshape(int(index.ntotal), int(index.d))
    return vectors
