"""FAISS order: the nearest rows in an order that depends on nothing but vectors and rows.

Where rows are equally near, FAISS returns any of them, in any order, by how its lists lie in
memory. Products with the same features have the same vector, so that is no rarity. Here the lowest
rows come first: an index then finds the same, whole or in parts (`serving.adapters.shards`).

Shapes: M rows found, best first.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows and cosines [M], best first."""


def nearest_in_order(search: Callable[[int], Found], wanted: int, most: int) -> Found:
    """The `wanted` nearest, best first and of equally near ones the lowest rows.

    `search` finds as many as it is asked for, in FAISS's order, or fewer if there are no more; it
    is asked for `most` at most.
    """
    count = wanted + 1  # one more shows whether the last place was drawn among equals
    while True:
        count = min(count, most)
        rows, cosines = search(count)
        is_all = rows.size < count or count >= most
        if is_all or rows.size <= wanted or cosines[-1] < cosines[wanted - 1]:
            break
        count *= 2
    if (cosines[1:] == cosines[:-1]).any():
        at = np.lexsort((rows, -cosines))
        rows, cosines = rows[at], cosines[at]
    return rows[:wanted], cosines[:wanted]


def found_by_faiss(
    cosines: NDArray[np.float32], rows: NDArray[np.int64], *, without: int = NO_PRODUCT
) -> Found:
    """What FAISS found for one vector, [1, M] each, without the -1 with which it pads.

    `without`: row 0 if that is no product; below 0 where it is one, as in all parts but the first.
    """
    at = np.flatnonzero((rows[0] > max(without, -1)) & np.isfinite(cosines[0]))
    return rows[0][at].astype(np.int64, copy=False), cosines[0][at]
