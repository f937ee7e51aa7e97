"""Slate: the ordered list to show.

Shapes: K products of a slate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """Products in the order shown, as aligned columns."""

    rows: NDArray[np.int64]  # [K] catalogue rows
    at: NDArray[np.intp]  # [K] positions in the offers and scores of this call
    values: NDArray[np.float64]  # [K] expected value, minor units
    propensities: NDArray[np.float64]  # [K] probability of this product at this position
    explored: NDArray[np.bool_]  # [K]
    rules: tuple[tuple[str, ...], ...]  # [K] names of the rules that moved the product

    def __len__(self) -> int:
        return int(self.rows.size)
