"""Product tokens: what a product is, as hashed words: even a product nobody touched has a vector.

Shapes: R catalogue rows, L token slots.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.data.snapshot import Snapshot

_SINGLE_FIELDS = ("category", "brand", "material", "use", "season", "style", "colour")
_TITLE_WORDS = 12  # the longest titles of Online Retail have 8
_SLOTS = len(_SINGLE_FIELDS) + 1 + _TITLE_WORDS
_WORD = re.compile(r"[a-z0-9]+")
_PRICE_STEPS = 3.0  # buckets per factor e of price


@dataclass(frozen=True, slots=True, eq=False)
class ProductTokens:
    """Every product's tokens. 0 is no token."""

    tokens: NDArray[np.int64]  # [R, L] 0..bucket_count
    weights: NDArray[np.float32]  # [R, L] all words of a title weigh as much as one other field


def product_tokens(snapshot: Snapshot, bucket_count: int) -> ProductTokens:
    """Category, brand, attributes, price bucket and title words, hashed into `bucket_count`."""
    return tokens_of(snapshot.products, bucket_count)


def tokens_of(table: pa.Table, bucket_count: int) -> ProductTokens:
    """The same of any products with a snapshot's columns; row 0 is no product."""
    names = ["title", "price_minor", *_SINGLE_FIELDS]
    products = table.select(names).to_pylist()
    tokens = np.zeros((len(products) + 1, _SLOTS), dtype=np.int64)
    weights = np.zeros((len(products) + 1, _SLOTS), dtype=np.float32)
    for row, product in enumerate(products, start=1):
        found = list(single_tokens(product))
        words = list(dict.fromkeys(_WORD.findall(str(product["title"]).lower())))[:_TITLE_WORDS]
        names_and_weights = [(name, 1.0) for name in found]
        names_and_weights += [(f"title={word}", len(words) ** -0.5) for word in words]
        for slot, (name, weight) in enumerate(names_and_weights):
            tokens[row, slot] = zlib.crc32(name.encode()) % bucket_count + 1
            weights[row, slot] = weight
    return ProductTokens(tokens, weights)


def single_tokens(product: Mapping[str, Any]) -> Iterator[str]:
    """Every attribute that the product has, and its price bucket."""
    for field in _SINGLE_FIELDS:
        if product[field]:
            yield f"{field}={product[field]}"
    if product["price_minor"]:
        yield f"price={int(np.log1p(product['price_minor']) * _PRICE_STEPS)}"
