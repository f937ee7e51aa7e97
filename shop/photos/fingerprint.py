"""Fingerprint: 64 bits that stay alike when a photo is resized, re-encoded or lightly retouched.

The signs of its lowest frequencies against their median (Zauner 2010, perceptual hash).
Shapes: N photos.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_SIDE = 32  # pixels that are looked at
_KEPT = 8  # frequencies of each direction
ALIKE = 8  # bits of 64 that two prints of one photo may differ in


def fingerprint(grey: NDArray[np.float64]) -> int:
    """Of the whole photo, [H, W] in grey, H and W of at least 32."""
    small = _shrunk(_shrunk(grey, 0), 1)
    low = (_cosines() @ small @ _cosines().T).ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distances(print_of_one: int, others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """[N] bits that differ."""
    different = np.bitwise_xor(others, np.uint64(print_of_one))
    bits: NDArray[np.int64] = np.bitwise_count(different).astype(np.int64)
    return bits


def _shrunk(grey: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Means over _SIDE equal parts along one axis."""
    edges = np.linspace(0, grey.shape[axis], _SIDE + 1).round().astype(np.int64)
    sums = np.add.reduceat(grey, edges[:-1], axis=axis)
    lengths = np.diff(edges).astype(np.float64)
    return sums / (lengths[:, None] if axis == 0 else lengths)


@cache
def _cosines() -> NDArray[np.float64]:
    """[_KEPT, _SIDE] the lowest cosines but the constant one, which is brightness."""
    places = (np.arange(_SIDE) + 0.5) * np.pi / _SIDE
    return np.cos(np.outer(np.arange(1, _KEPT + 1), places))
