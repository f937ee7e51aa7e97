"""Retrieval questions: what shoppers wanted in a window, asked of any algorithm the same way.

Two protocols. *Window*: one list at the window's start against everything wanted within it. *Next*:
one list just before a wish, with everything known until then, against that one product.

Shapes: Q questions, K proposed products.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.features import FeatureSchema
from training.algorithms import Retriever
from training.data.snapshot import Snapshot
from training.evaluation import hits_of, recall_at
from training.examples import Moments, moments_at, moments_of_events, wanted_touches

LIST_SIZES = (20, 500)
_CHUNK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Moments, and what was wanted after each."""

    moments: Moments  # [Q]
    wanted_rows: Sequence[NDArray[np.int64]]  # [Q] distinct catalogue rows, at least one each

    @property
    def wanted_counts(self) -> NDArray[np.int64]:
        """[Q]"""
        return np.array([rows.size for rows in self.wanted_rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.moments)


def window_questions(
    snapshot: Snapshot,
    schema: FeatureSchema,
    *,
    start_ms: int,
    end_ms: int,
    limit: int | None = None,
    seed: int = 0,
) -> Questions:
    """Every shopper who wanted something in the window, arriving at its start; `limit` samples."""
    at = _touches_between(snapshot, start_ms, end_ms)
    users = snapshot.events.user_rows[at].astype(np.int64)
    rows = snapshot.events.product_rows[at].astype(np.int64)
    asked = _sampled(np.unique(users), limit, seed)
    pairs = np.unique(np.stack([users, rows], axis=1)[np.isin(users, asked)], axis=0)
    cuts = np.searchsorted(pairs[:, 0], asked[1:])
    return Questions(moments_at(snapshot, schema, asked, start_ms), np.split(pairs[:, 1], cuts))


def next_questions(
    snapshot: Snapshot,
    schema: FeatureSchema,
    *,
    start_ms: int,
    end_ms: int,
    limit: int | None = None,
    seed: int = 0,
) -> Questions:
    """Every wish in the window, asked just before it; `limit` samples."""
    at = _sampled(_touches_between(snapshot, start_ms, end_ms), limit, seed)
    rows = snapshot.events.product_rows[at].astype(np.int64)
    return Questions(moments_of_events(snapshot, schema, at), list(rows[:, None]))


def _touches_between(snapshot: Snapshot, start_ms: int, end_ms: int) -> NDArray[np.intp]:
    at = wanted_touches(snapshot).events_at
    times = snapshot.events.times_ms[at]
    return at[(times >= start_ms) & (times < end_ms)]


def _sampled(values: NDArray[np.int64], limit: int | None, seed: int) -> NDArray[np.int64]:
    if limit is None or values.size <= limit:
        return values
    return np.sort(np.random.default_rng(seed).choice(values, limit, replace=False))


def recalls(
    retriever: Retriever, questions: Questions, sizes: Sequence[int] = LIST_SIZES
) -> dict[int, float]:
    """Mean share of the wanted products among the first proposed, for each list size."""
    hits = np.zeros((len(questions), max(sizes)), dtype=np.bool_)
    for start in range(0, len(questions), _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, len(questions)))
        proposed = retriever.best_rows(questions.moments.at(chunk), max(sizes))
        hits[chunk] = hits_of(proposed, [questions.wanted_rows[q] for q in chunk.tolist()])
    counts = questions.wanted_counts
    return {size: recall_at(hits, counts, size) for size in sizes}
