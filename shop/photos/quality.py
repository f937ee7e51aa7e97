"""Quality: whether a photo may stand on a page: the shop's limits, and a model trained on photos.

Shapes: F features, N photos.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.descriptions.faults import Fault, FaultKind
from shop.photos.measures import FEATURES, PhotoMeasures, feature_row

_RIDGE = 1.0
_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What a shop asks of its photos."""

    least_side: int = 400  # pixels, of the shorter side
    most_aspect: float = 2.0  # longer side by shorter
    most_blur: float = 0.55
    brightness: tuple[float, float] = (0.08, 0.95)  # of the subject
    most_clipped: float = 0.35  # of the subject, black or white
    least_background: float = 0.25  # evenness; 1 is one colour
    subject: tuple[float, float] = (0.05, 0.97)  # share of the picture
    least_quality: float = 0.5  # by the model


def photo_faults(
    width: int, height: int, measures: PhotoMeasures, limits: PhotoLimits
) -> tuple[Fault, ...]:
    """What is wrong by the limits, each with the figure and what is wanted."""
    return tuple(_faults(width, height, measures, limits))


def _faults(
    width: int, height: int, measures: PhotoMeasures, limits: PhotoLimits
) -> Iterator[Fault]:
    short, long = sorted((width, height))
    if short < limits.least_side:
        yield _fault(
            f"is {width} × {height} pixels; the shorter side has {limits.least_side} or more"
        )
    if long > limits.most_aspect * short:
        yield _fault(f"is {long / short:.1f} times as long as wide; {limits.most_aspect:g} at most")
    if measures.blur > limits.most_blur:
        yield _fault(f"is blurred: {measures.blur:.2f}, {limits.most_blur:g} at most")
    dark, bright = limits.brightness
    if measures.brightness < dark:
        yield _fault(f"is too dark: {measures.brightness:.2f}, {dark:g} or more")
    if measures.brightness > bright:
        yield _fault(f"is too bright: {measures.brightness:.2f}, {bright:g} at most")
    clipped = measures.dark + measures.bright
    if clipped > limits.most_clipped:
        yield _fault(f"{clipped:.0%} of the subject is plain black or white")
    if measures.background < limits.least_background:
        wanted = f"{limits.least_background:g} or more"
        yield _fault(f"has a restless background: {measures.background:.2f} even, {wanted}")
    least, most = limits.subject
    if not least <= measures.subject <= most:
        yield _fault(f"shows a subject that fills {measures.subject:.0%} of it")


def _fault(reason: str) -> Fault:
    return Fault(FaultKind.PHOTO, "", reason)


@dataclass(frozen=True, slots=True, eq=False)
class QualityModel:
    """Logistic regression on a photo's figures, as a thumbnail."""

    weights: NDArray[np.float64]  # [2 F]
    bias: float
    mean: NDArray[np.float64]  # [2 F] of the features it was trained on
    scale: NDArray[np.float64]  # [2 F]
    side: int  # pixels of the longer side, of the thumbnails
    version: str

    def score(self, measures: PhotoMeasures) -> float:
        """Probability, 0 to 1, that nothing spoilt this photo."""
        row = (feature_row(measures) - self.mean) / self.scale
        logit = float(np.clip(row, -8.0, 8.0) @ self.weights) + self.bias
        return float(1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0))))


def fit_quality(
    rows: NDArray[np.float64], is_good: NDArray[np.bool_], *, side: int, version: str
) -> QualityModel:
    """By Newton's method on the logistic loss with a ridge, each class weighing half.

    rows [N, 2 F] are `feature_row`s of both classes.
    """
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    design = np.c_[np.clip((rows - mean) / scale, -8.0, 8.0), np.ones(len(rows))]
    target = is_good.astype(np.float64)
    half = len(rows) / 2.0
    share = np.where(is_good, half / max(target.sum(), 1), half / max((1 - target).sum(), 1))
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[-1] = 1e-6  # the bias is free
    weights = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        slope = design.T @ (share * (chance - target)) + ridge * weights
        curve = (design * (share * chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        weights = weights - np.linalg.solve(curve, slope)
    return QualityModel(weights[:-1], float(weights[-1]), mean, scale, side, version)


MODEL_COLUMNS = 2 * FEATURES
