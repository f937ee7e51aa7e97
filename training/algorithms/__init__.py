"""Algorithms: one file each, all judged through the same small protocol."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from training.examples import Moments

Algorithm = Literal["all", "two-tower", "ranker", "item-item", "popularity", "search"]
ALGORITHMS: tuple[Algorithm, ...] = (
    "all",
    "two-tower",
    "ranker",
    "item-item",
    "popularity",
    "search",
)


class Retriever(Protocol):
    """Proposes products for shoppers at moments."""

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] catalogue rows, best first, 0 where it has nothing more to propose."""
        ...
