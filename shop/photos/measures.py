"""Measures: sharpness, exposure, shape and background of a photo, and its figures for the model.

Shapes: H, W height and width in pixels, F features.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [H, W, 3] red, green, blue
_Grey = NDArray[np.float64]  # [H, W] 0 to 255

LEAST_SIDE = 16  # nothing can be said of less
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_BORDER = 0.06  # of the shorter side: what counts as background
_SUBJECT_DISTANCE = 40.0  # of 255, from the background's colour
_DARK, _BRIGHT = 12.0, 243.0
_SPAN = 9  # pixels of the blur that a photo is compared with


@dataclass(frozen=True, slots=True)
class PhotoMeasures:
    """One photo in figures. All but `noise`, `blocking` and `colours` are 0 to 1."""

    blur: float  # Crete et al. 2007: how little another blur takes away; 1 is all blurred
    sharpness: float  # share of the contrast that lies in the finest detail (Laplacian)
    brightness: float  # mean of the subject
    contrast: float  # standard deviation of the whole
    dark: float  # share of the subject that is black
    bright: float  # share of the subject that is white
    background: float  # evenness of the border; 1 is one colour
    subject: float  # share of the picture that is not of the border's colour
    noise: float  # standard deviation in grey levels, by Immerkær 1996
    blocking: float  # how much more neighbours differ on the 8 × 8 grid of JPEG than beside it
    colours: float  # Hasler and Süsstrunk 2003; 0 is grey
    saturation: float


FEATURES = len(PhotoMeasures.__dataclass_fields__)


def measured(pixels: Pixels) -> PhotoMeasures:
    """Figures of a photo; tens of milliseconds for half a million pixels.

    Raises ValueError if a side is shorter than LEAST_SIDE.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < LEAST_SIDE:
        raise ValueError(f"pixels {pixels.shape}: must be [H, W, 3], sides of {LEAST_SIDE} or more")
    colour = pixels.astype(np.float64)
    grey = colour @ _LUMA
    background, evenness = _background(colour)
    is_subject = np.abs(colour - background).max(axis=2) > _SUBJECT_DISTANCE
    # Of a picture without a subject the whole is looked at.
    subject = grey[is_subject] if is_subject.any() else grey.ravel()
    return PhotoMeasures(
        blur=_blur(grey),
        sharpness=_sharpness(grey),
        brightness=float(subject.mean()) / 255.0,
        contrast=min(float(grey.std()) / 127.5, 1.0),
        dark=float((subject < _DARK).mean()),
        bright=float((subject > _BRIGHT).mean()),
        background=evenness,
        subject=float(is_subject.mean()),
        noise=_noise(grey),
        blocking=_blocking(grey),
        colours=_colours(colour),
        saturation=_saturation(colour),
    )


def feature_row(measures: PhotoMeasures) -> NDArray[np.float64]:
    """[2 F] the figures and their squares: too much of a thing is as bad as too little."""
    row = np.array(astuple(measures), np.float64)
    row[_UNBOUNDED] = np.log1p(row[_UNBOUNDED])
    return np.concatenate([row, row * row])


_NAMES = tuple(PhotoMeasures.__dataclass_fields__)
_UNBOUNDED = [_NAMES.index(name) for name in ("noise", "blocking", "colours")]


def _background(colour: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The border's colour [3], and how even it is."""
    width = max(int(min(colour.shape[:2]) * _BORDER), 1)
    sides = (colour[:width], colour[-width:], colour[:, :width], colour[:, -width:])
    border = np.concatenate([side.reshape(-1, 3) for side in sides])
    spread = float(np.sqrt(border.var(axis=0).mean()))
    return np.median(border, axis=0), max(1.0 - spread / 64.0, 0.0)


def _blur(grey: _Grey) -> float:
    """Blurs once more and asks how much of the differences between neighbours that takes away."""
    found = []
    for axis in (0, 1):
        lines = np.moveaxis(grey, axis, 0)
        blurred = _running_mean(lines)
        before = np.abs(np.diff(lines, axis=0))
        lost = np.maximum(before - np.abs(np.diff(blurred, axis=0)), 0.0)
        total = float(before.sum())
        found.append((total - float(lost.sum())) / total if total else 1.0)
    return max(found)


def _running_mean(lines: _Grey) -> _Grey:
    """Mean over _SPAN neighbours along the first axis; ends repeat."""
    half = _SPAN // 2
    padded = np.pad(lines, ((half + 1, half), (0, 0)), mode="edge").cumsum(axis=0)
    mean: _Grey = (padded[_SPAN:] - padded[:-_SPAN]) / _SPAN
    return mean


def _sharpness(grey: _Grey) -> float:
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    detail, variance = float((4.0 * inner - around).var()), float(grey.var())
    # 20 is what independent pixels have: nothing can be sharper.
    return min(detail / (20.0 * variance), 1.0) if variance > 1.0 else 0.0


def _noise(grey: _Grey) -> float:
    """Of a mask that structures cancel in, the mean size (Immerkær 1996)."""
    rows = grey[:-2] - 2.0 * grey[1:-1] + grey[2:]
    mask = rows[:, :-2] - 2.0 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.sqrt(np.pi / 2.0) * np.abs(mask).mean() / 6.0)


def _blocking(grey: _Grey) -> float:
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(np.moveaxis(grey, axis, 0), axis=0)).mean(axis=1)
        on_grid = np.arange(steps.size) % 8 == 7
        beside = float(steps[~on_grid].mean())
        found.append(float(steps[on_grid].mean()) / beside if beside > 0.01 else 1.0)
    return max(found)


def _colours(colour: NDArray[np.float64]) -> float:
    red, green, blue = np.moveaxis(colour, 2, 0)
    first, second = red - green, 0.5 * (red + green) - blue
    spread = float(np.hypot(first.std(), second.std()))
    return spread + 0.3 * float(np.hypot(first.mean(), second.mean()))


def _saturation(colour: NDArray[np.float64]) -> float:
    most, least = colour.max(axis=2), colour.min(axis=2)
    return float(((most - least) / np.maximum(most, 1.0)).mean())
