"""Item–item neighbours: products bought or viewed by the same shoppers (Linden, Smith & York 2003).

Serves as a candidate source, as a ranker feature and as the fallback when the user tower is lost.
Shapes: R catalogue rows, K neighbours of each, T past interactions, N candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import DENSE_ROWS
from shop.events import History

RECENCY_DECAY = 0.7  # weight of the p-th most recent product is RECENCY_DECAY ** p
REACH = 20  # 0.7 ** 20 < 0.001: older products no longer move the order


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The K most similar products of every product, most similar first; row 0 pads."""

    rows: NDArray[np.int32]  # [R, K]
    scores: NDArray[np.float32]  # [R, K] >= 0, 0 where padded


@dataclass(frozen=True, slots=True, eq=False)
class ItemItemScores:
    """Products with a positive item–item score for one shopper, ascending by row."""

    rows: NDArray[np.int64]  # [M]
    scores: NDArray[np.float32]  # [M] > 0

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """[N] the scores of `rows`, 0 where a product has none."""
        if self.rows.size == 0:
            return np.zeros(rows.size, dtype=np.float32)
        at = np.minimum(np.searchsorted(self.rows, rows), self.rows.size - 1)
        return np.where(self.rows[at] == rows, self.scores[at], np.float32(0)).astype(np.float32)

    def best(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` highest-scored rows and their scores, best first, ties by row."""
        rows, scores = self.rows, self.scores
        if 0 < count < scores.size // 2:  # sorting a part is worth finding it
            least = np.partition(scores, scores.size - count)[scores.size - count]
            near = np.flatnonzero(scores >= least)  # with all that tie for the last place
            rows, scores = rows[near], scores[near]
        order = np.argsort(-scores, kind="stable")[:count]  # the rows ascend already
        return rows[order], scores[order]


def score_neighbours(
    history: History, neighbours: Neighbours, *, decay: float = RECENCY_DECAY, reach: int = REACH
) -> ItemItemScores:
    """Sum the neighbours of the `reach` most recent products, the p-th weighted by decay ** p."""
    recent = history.product_rows[::-1]
    recent = recent[recent > 0][:reach]
    if recent.size == 0 or neighbours.rows.shape[1] == 0:
        return ItemItemScores(np.zeros(0, np.int64), np.zeros(0, np.float32))
    weights = (decay ** np.arange(recent.size)).astype(np.float32)
    rows = neighbours.rows[recent].ravel()
    scores = (neighbours.scores[recent] * weights[:, None]).ravel()
    unique: NDArray[np.int64]
    if neighbours.rows.shape[0] <= DENSE_ROWS:  # adds in the same order, so to the same bits
        summed = np.bincount(rows, weights=scores).astype(np.float32)
        summed[0] = 0.0  # row 0 pads
        unique = np.flatnonzero(summed > 0)
        return ItemItemScores(unique, summed[unique])
    unique, inverse = np.unique(rows, return_inverse=True)
    summed = np.bincount(inverse, weights=scores, minlength=unique.size).astype(np.float32)
    keep = (unique > 0) & (summed > 0)
    return ItemItemScores(unique[keep].astype(np.int64), summed[keep])
