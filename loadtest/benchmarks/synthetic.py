"""Synthetic: catalogues of any size and vectors such as training leaves, without a world.

Shapes: R catalogue rows, D vector size, B shoppers.
"""

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import Catalogue

SIZE = 64  # as the releases' vectors
CATEGORIES, BRANDS = 50, 200


def some_vectors(count: int, *, seed: int = 1) -> NDArray[np.float32]:
    """[count + 1, D] unit vectors in overlapping clusters of very different size; row 0 zeros."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(500, SIZE)).astype(np.float32)
    vectors = centres[rng.zipf(1.3, count + 1) % len(centres)]
    vectors += rng.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    return vectors


def some_shoppers(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """[B, D] unit vectors near some product."""
    rng = np.random.default_rng(2)
    near = vectors[rng.integers(1, len(vectors), count)]
    shoppers = near + 0.1 * rng.normal(size=near.shape)
    shoppers /= np.linalg.norm(shoppers, axis=1, keepdims=True)
    return np.asarray(shoppers, dtype=np.float32)


def a_catalogue(count: int) -> Catalogue:
    """P1 … of even categories and brands, half of them cheaper than 40.00."""
    rng = np.random.default_rng(3)
    category, brand = (rng.integers(1, most + 1, count + 1) for most in (CATEGORIES, BRANDS))
    price = np.exp(rng.normal(np.log(4_000), 0.8, count + 1)).astype(np.int64)
    category[0] = brand[0] = price[0] = 0
    ids = np.array(["", *(f"P{row}" for row in range(1, count + 1))], dtype=np.str_)
    return Catalogue(
        product_ids=ids,
        titles=ids,
        category_codes=category,
        brand_codes=brand,
        category_names=("", *(f"category {n}" for n in range(1, CATEGORIES + 1))),
        brand_names=("", *(f"brand {n}" for n in range(1, BRANDS + 1))),
        list_price_minor=price,
        cost_minor=price // 2,
        cost_known=price > 0,
        currency="EUR",
    )
