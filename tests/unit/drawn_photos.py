"""Photos drawn by a seed: a thing with a pattern before a plain wall."""

import io

import numpy as np
from PIL import Image

from shop.photos.measures import Pixels


def a_photo(seed: int = 1, *, width: int = 120, height: int = 160) -> Pixels:
    """Sharp, well lit, before an even background; another seed is another thing."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), rng.integers(150, 220, 3), np.float64)
    top, left = height // 5, width // 5
    thing = np.kron(rng.uniform(30, 225, (8, 6, 3)), np.ones((height // 13, width // 10, 1)))
    pixels[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
    return np.clip(pixels + rng.normal(0, 1.5, pixels.shape), 0, 255).astype(np.uint8)


def as_file(pixels: Pixels, kind: str = "JPEG", **options: object) -> bytes:
    """As somebody would hand it in."""
    kept = io.BytesIO()
    Image.fromarray(pixels).save(kept, kind, **options)
    return kept.getvalue()
