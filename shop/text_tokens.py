"""Text tokens: a text as hashed words and character trigrams, as the text encoder reads it.

A word nobody has written before still shares trigrams with those that were (Bojanowski et al.,
"Enriching Word Vectors with Subword Information", TACL 2017).

Shapes: L token slots.
"""

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shop.words import words_of

TEXT_SLOTS = 128  # L: the longest specification of the world has 14 words and 75 trigrams
WORD_BUCKETS = 16_384
TRIGRAM_BUCKETS = 16_384
TOKEN_COUNT = 1 + WORD_BUCKETS + TRIGRAM_BUCKETS  # ids in use; 0 is no token


def text_tokens(text: str) -> NDArray[np.int64]:
    """[L] ids, 0 where there is no token: every word once, then their trigrams while they fit."""
    words = list(dict.fromkeys(words_of(text)))[:TEXT_SLOTS]
    ids = [_tokens_of(word)[0] for word in words]
    for word in words:
        if len(ids) >= TEXT_SLOTS:
            break
        ids += _tokens_of(word)[1]
    tokens = np.zeros(TEXT_SLOTS, dtype=np.int64)
    tokens[: len(ids)] = ids[:TEXT_SLOTS]
    return tokens


@lru_cache(maxsize=16_384)  # hashing a word in Python takes 3 µs
def _tokens_of(word: str) -> tuple[int, tuple[int, ...]]:
    marked = f"<{word}>"
    trigrams = {marked[at : at + 3]: None for at in range(len(marked) - 2)}
    return (
        1 + zlib.crc32(word.encode()) % WORD_BUCKETS,
        tuple(1 + WORD_BUCKETS + zlib.crc32(each.encode()) % TRIGRAM_BUCKETS for each in trigrams),
    )
