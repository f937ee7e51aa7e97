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
    scores = np.bincount(places, weights=np.concatenate(parts), minlength=rows.size)
    order = np.argsort(-scores, kind="stable")
    return rows[order].astype(np.int64), scores[order]


def relevance(scores: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """[N] 0..1 of fused scores [N], best first: the share of the best score, sharpened."""
    return (scores / scores[0]) ** power if scores.size else scores
