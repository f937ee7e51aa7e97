"""Search ports: what answering a query needs from the outside, beside what every call needs.

Shapes: L token slots, D text vector size, R catalogue rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.recommend.ports import VectorIndex
from shop.search_vocabulary import SearchVocabulary


class TextEncoder(Protocol):
    """Text → vector."""

    async def text_vector(
        self, token_ids: NDArray[np.int64], *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length, for token ids [L] of `shop.text_tokens`."""
        ...


class LexicalIndex(Protocol):
    """Products by the words that they are described with."""

    async def search(
        self,
        words: Sequence[str],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows that have any of the words and their BM25 scores, best first, at most `count`.

        allowed [R] restricts the search to rows where it holds; None allows all.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SearchParts:
    """What a release brings to be searched by text."""

    vocabulary: SearchVocabulary
    encoder: TextEncoder
    index: VectorIndex  # over the products' text vectors
    lexical: LexicalIndex
