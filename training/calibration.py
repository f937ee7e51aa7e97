"""Calibration: make promised probabilities come true on held-out time.

A straight line over the logit (Platt 1999; temperature with a shift), fitted by Fisher scoring. A
head that hangs on another in the chain keeps its parent's probability as a fixed factor, so that
the product, which is what scoring reads, is what gets calibrated.

Shapes: E examples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 50
_SMALLEST = 1e-9
# Pseudo-examples that pull towards "leave it as it is": a handful of purchases proves little.
_PRIOR_STRENGTH = 1.0


@dataclass(frozen=True, slots=True)
class Affine:
    """Calibrated logit = scale · logit + shift."""

    scale: float
    shift: float

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated logits, same shape."""
        return self.scale * logits.astype(np.float64) + self.shift


IDENTITY = Affine(1.0, 0.0)


def fit_affine(
    logits: NDArray[np.floating],
    labels: NDArray[np.bool_],
    *,
    factor: NDArray[np.floating] | None = None,
) -> Affine:
    """The line that makes factor · sigmoid(line(logit)) the likeliest for `labels`.

    logits, labels and factor are [E]; factor defaults to 1. Without both outcomes, or where the
    fit would turn the order round, the logits are left as they are.
    """
    if labels.size == 0 or labels.all() or not labels.any():
        return IDENTITY
    z = logits.astype(np.float64)
    y = labels.astype(np.float64)
    given = np.ones_like(z) if factor is None else np.clip(factor.astype(np.float64), 0.0, 1.0)
    line = np.array([1.0, 0.0])
    loss = _loss(line, z, y, given)
    for _ in range(_STEPS):
        step = _fisher_step(line, z, y, given)
        moved, moved_loss = _backtracked(line, step, loss, z, y, given)
        if loss - moved_loss < 1e-10:
            break
        line, loss = moved, moved_loss
    return Affine(float(line[0]), float(line[1])) if line[0] > 0 else IDENTITY


def _probabilities(
    line: NDArray[np.float64], z: NDArray[np.float64], given: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    own = sigmoid(line[0] * z + line[1])
    return own, np.clip(given * own, _SMALLEST, 1.0 - _SMALLEST)


def _loss(
    line: NDArray[np.float64],
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    given: NDArray[np.float64],
) -> float:
    _, p = _probabilities(line, z, given)
    likelihood = -float(np.sum(y * np.log(p) + (1.0 - y) * np.log1p(-p)))
    prior = 0.5 * _PRIOR_STRENGTH * float((line[0] - 1.0) ** 2 + line[1] ** 2)
    return (likelihood + prior) / y.size


def _fisher_step(
    line: NDArray[np.float64],
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    given: NDArray[np.float64],
) -> NDArray[np.float64]:
    own, p = _probabilities(line, z, given)
    slope = given * own * (1.0 - own)  # dp / d(logit)
    spread = p * (1.0 - p)
    inputs = np.stack([z, np.ones_like(z)])
    prior_pull = _PRIOR_STRENGTH * (line - np.array([1.0, 0.0]))
    gradient = inputs @ ((p - y) * slope / spread) + prior_pull
    information = (inputs * (slope**2 / spread)) @ inputs.T + _PRIOR_STRENGTH * np.eye(2)
    return np.linalg.solve(information, gradient)


def _backtracked(
    line: NDArray[np.float64],
    step: NDArray[np.float64],
    loss: float,
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    given: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    for halvings in range(12):
        moved = line - step * 0.5**halvings
        moved_loss = _loss(moved, z, y, given)
        if moved_loss < loss:
            return moved, moved_loss
    return line, loss


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function, same shape, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
