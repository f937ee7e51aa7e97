"""Algorithms: one file each, all judged through the same small protocol."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.examples import Moments


class Retriever(Protocol):
    """Proposes products for shoppers at moments."""

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] catalogue rows, best first, 0 where it has nothing more to propose."""
        ...
