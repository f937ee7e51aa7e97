"""Found rows: what a search brought back, looked over before any other stage relies on it.

Shapes: M rows found.
"""

import numpy as np
from numpy.typing import NDArray

from serving.recommend.ports import PartlyFound
from serving.recommend.request import Losses, Stage
from shop.errors import DependencyUnavailable


def check_found(
    rows: NDArray[np.int64], scores: NDArray[np.float32], *, row_count: int, where: str
) -> None:
    """Raises DependencyUnavailable: one bad row number would break every later stage.

    rows [M] must be different products of a catalogue of `row_count` rows, scores [M] finite.
    """
    sound = (
        rows.shape == scores.shape
        and np.isfinite(scores).all()
        and (rows.size == 0 or (rows.min() > 0 and rows.max() < row_count))
        and len(set(rows.tolist())) == rows.size
    )
    if not sound:
        raise DependencyUnavailable(where, "proposed what does not exist")


def note_share(found: tuple[NDArray[np.int64], NDArray[np.float32]], losses: Losses) -> None:
    """Notes PARTIAL_INDEX if a part of the index could not be searched."""
    if isinstance(found, PartlyFound):
        losses.searched(Stage.CANDIDATES, found.searched_share)
