"""Nearest: the largest of every row of a block of similarities, as the tables keep them.

Shapes: R catalogue rows, K neighbours.
"""

import numpy as np
from numpy.typing import NDArray


def best_of_rows(
    similarity: NDArray[np.floating], count: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """[block, K] the most similar rows and their scores; padded with row 0."""
    kept = min(count, similarity.shape[1])
    rows = np.argpartition(-similarity, kept - 1, axis=1)[:, :kept]
    scores = np.take_along_axis(similarity, rows, axis=1).astype(np.float32)
    order = np.lexsort((rows, -scores), axis=1)
    rows = np.take_along_axis(rows, order, axis=1)
    scores = np.take_along_axis(scores, order, axis=1)
    padding = ((0, 0), (0, count - kept))
    return (
        np.pad(np.where(scores > 0, rows, 0).astype(np.int32), padding),
        np.pad(scores, padding),
    )
