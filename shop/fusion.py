"""Fusion: one order out of several rankings of the same products.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a product's score is the sum of
1 / (60 + rank) over the rankings that have it, ranks from 1. Only ranks count, so a cosine and a
BM25 score need no common scale.

Shapes: N products, M of one ranking.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RANK_CONSTANT = 60.0  # the paper's; it found the choice to matter little


def fused(rankings: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows [N], best first, and their scores [N]. Each ranking [M] has its best row first.

    Of equal scores the lower row comes first, so that the same rankings give the same order.
    """
    if not rankings:
        return np.zeros(0, np.int64), np.zeros(0, np.float64)
    parts = [1.0 / (RANK_CONSTANT + 1.0 + np.arange(ranking.size)) for ranking in rankings]
    rows, places = np.unique(np.concatenate(list(rankings)), return_inverse=True)
    scores = np.zeros(rows.size)
    np.add.at(scores, places, np.concatenate(parts))
    order = np.argsort(-scores, kind="stable")
    return rows[order].astype(np.int64), scores[order]


def relevance(scores: NDArray[np.float32], power: float) -> NDArray[np.float64]:
    """[N] above 0, at most 1: each product's fused score against the best one's, sharpened.

    scores [N, 2 or more], a column per ranking by its own measure, NaN where it lacks the product.
    What no ranking has counts like the last one of all of them.
    """
    fused_scores = np.zeros(len(scores))
    for column in scores.T:
        found = np.flatnonzero(~np.isnan(column))
        ascending = np.sort(column[found])
        better = found.size - np.searchsorted(ascending, column[found], side="right")
        fused_scores[found] += 1.0 / (RANK_CONSTANT + 1.0 + better)  # equals share a rank
    has_score = fused_scores > 0.0
    if not has_score.any():
        return np.ones(len(scores))
    fused_scores[~has_score] = fused_scores[has_score].min()
    return np.asarray((fused_scores / fused_scores.max()) ** power)
