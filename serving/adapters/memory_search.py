"""Memory search: twins of the search ports, for tests only.

Shapes: R catalogue rows, L token slots, D text vector size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.adapters.memory import Temper
from shop.words import forms, words_of


@dataclass(slots=True, eq=False)
class MemoryTextEncoder(Temper):
    """A text's tokens, each thrown onto one of D axes: texts that share words are near."""

    size: int = 64
    texts: list[NDArray[np.int64]] = field(default_factory=list)

    async def text_vector(
        self, token_ids: NDArray[np.int64], *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        self.texts.append(token_ids)
        await self.act()
        return bag_of_tokens(token_ids, self.size)


def bag_of_tokens(token_ids: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """[D] unit length."""
    bag = np.bincount(token_ids[token_ids > 0] % size, minlength=size).astype(np.float32)
    length = float(np.linalg.norm(bag))
    return np.eye(1, size, dtype=np.float32)[0] if length == 0.0 else bag / np.float32(length)


@dataclass(slots=True, eq=False)
class MemoryLexical(Temper):
    """Counts the words that a text shares with the query. texts [R], row 0 is no product."""

    texts: Sequence[str] = ("",)

    async def search(
        self,
        words: Sequence[str],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and shared words, best first."""
        await self.act()
        asked = {form for word in words for form in forms(word)}
        shared = np.array([len(asked & set(_all_forms(text))) for text in self.texts])
        shared[0] = 0
        if allowed is not None:
            shared[~allowed] = 0
        best = np.argsort(-shared, kind="stable")[: max(0, min(count, np.count_nonzero(shared)))]
        return best.astype(np.int64), shared[best].astype(np.float32)


def _all_forms(text: str) -> list[str]:
    return [form for word in words_of(text) for form in forms(word)]
