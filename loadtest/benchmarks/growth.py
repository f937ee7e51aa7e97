"""Growth: how a figure grows with a size, as a power law fitted in logarithms.  Shapes: m sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Growth:
    """figure ≈ factor × size ^ power; `r2` says how much of it the law explains."""

    factor: float
    power: float
    r2: float

    def at(self, size: float) -> float:
        """What the law says for this size."""
        return float(self.factor * size**self.power)

    def said(self) -> str:
        """For a table."""
        return f"size^{self.power:.2f} (R² {self.r2:.3f})"


def fitted(sizes: Sequence[float], figures: Sequence[float]) -> Growth:
    """Least squares of [m] logarithms. Raises ValueError of fewer than two, or not positive."""
    if len(sizes) < 2 or min(*sizes, *figures) <= 0:
        raise ValueError("a law needs two sizes and more, all sizes and figures above 0")
    x, y = np.log(np.array(sizes)), np.log(np.array(figures))
    power, level = np.polyfit(x, y, 1)
    spread = float(np.sum((y - y.mean()) ** 2))
    unexplained = float(np.sum((y - power * x - level) ** 2))
    r2 = 1.0 - unexplained / spread if spread > 1e-12 else 1.0
    return Growth(float(np.exp(level)), float(power), r2)
