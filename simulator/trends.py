"""Trends: what people look for, as waves over the words of a catalogue, from word, week and seed.

Each term has its usual share of searches. About one week in sixteen a wave begins: within half a
day a term is searched up to nine times as often, and half of that is gone every day and a half,
which is how attention to news decays (Wu & Huberman, "Novelty and collective attention", PNAS 2007,
with decay by the hour; shops' waves last days).

Shapes: T terms, W weeks that are remembered.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.errors import DataRejected
from shop.surroundings import term_key, words_of
from simulator.campaigns import even_bits

MAX_TERMS = 200
_WEEK_MS, _HOUR_MS = 7 * 86_400_000, 3_600_000
_BEGINS = 1.0 / 16.0  # chance of a wave, a week
_RISE_HOURS, _HALF_LIFE_HOURS = 12.0, 36.0
_LEAST_PEAK, _MOST_PEAK = 1.0, 8.0  # above 1
_REMEMBERED_WEEKS = 3  # after which nothing is left of a wave
_DRAWS = 3  # for each term and week
_NOISE = 0.1  # of the hour, as a logarithm
_RAREST, _COMMONEST = 0.003, 0.2  # share of titles: rarer words are names, commoner say nothing


def search_terms_of(products: Path) -> tuple[str, ...]:
    """What people may look for: categories, then words of many titles, but not of most.

    Raises DataRejected if the table cannot be read.
    """
    try:
        table = pq.read_table(products, columns=["title", "category"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataRejected(f"{products} is no products table: {error}") from error
    categories = sorted({name for name in table["category"].to_pylist() if name})
    words = _telling_words(title or "" for title in table["title"].to_pylist())
    different = {term_key(term): term for term in reversed((*categories, *words))}
    return tuple(reversed(different.values()))[:MAX_TERMS]


def _telling_words(titles: Iterable[str]) -> list[str]:
    counted: Counter[str] = Counter()
    total = 0
    for title in titles:
        total += 1
        counted.update(set(words_of(title)))
    found = [
        (count, word)
        for word, count in counted.items()
        if _RAREST <= count / total <= _COMMONEST and re.fullmatch(r"[^\W\d]{3,}", word)
    ]
    return [word for _, word in sorted(found, reverse=True)]


def lifts_at(keys: NDArray[np.uint64], time_ms: int, seed: int) -> NDArray[np.float64]:
    """[T] how many times its usual share each term has now; keys [T] by `product_keys`."""
    weeks = time_ms // _WEEK_MS - np.arange(_REMEMBERED_WEEKS + 1)[:, None]  # [W, 1]
    chance, at, height = (
        _share(keys, weeks * _DRAWS + which, seed) for which in range(_DRAWS)
    )  # [W, T] each
    peak = np.where(chance < _BEGINS, _LEAST_PEAK + (_MOST_PEAK - _LEAST_PEAK) * height, 0.0)
    hours = (time_ms - (weeks + at) * _WEEK_MS) / _HOUR_MS
    lift = 1.0 + (peak * _wave(hours)).sum(axis=0)
    hour = np.array(time_ms // _HOUR_MS)
    noise = _share(keys, -hour, seed) - 0.5
    return np.asarray(lift * np.exp(_NOISE * np.sqrt(12.0) * noise))


def _share(keys: NDArray[np.uint64], when: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Even between 0 and 1."""
    return (even_bits(keys, when, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _wave(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 before it begins, 1 at its height."""
    decay = 0.5 ** (np.maximum(hours - _RISE_HOURS, 0.0) / _HALF_LIFE_HOURS)
    return np.asarray(np.clip(hours / _RISE_HOURS, 0.0, 1.0) * decay)
