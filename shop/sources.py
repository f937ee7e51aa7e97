"""Sources: what proposes candidates beside the two-tower model. Each source is a function.

`allowed` [R] restricts every source to the rows where it holds; None allows all.
Shapes: R catalogue rows, T history, M proposed.
"""

import numpy as np
from numpy.typing import NDArray

from shop.blend import Proposal
from shop.candidates import Source
from shop.events import EVENT_CODES, WANTED_TYPES, EventType, History
from shop.neighbours import RECENCY_DECAY, ItemItemScores
from shop.popularity import Popularity, RowMask

_WANTED_CODES = np.array(sorted(EVENT_CODES[event] for event in WANTED_TYPES))
_REFUSED_CODES = np.array(
    sorted(EVENT_CODES[event] for event in (EventType.REMOVE, EventType.RETURN))
)
_TRIES_PER_FIND = 4  # random rows drawn for each one wanted; a filter refuses many


def from_neighbours(scored: ItemItemScores, count: int, allowed: RowMask | None) -> Proposal:
    """Products bought by those who bought what this shopper looked at."""
    if allowed is not None:
        kept = allowed[scored.rows]
        scored = ItemItemScores(scored.rows[kept], scored.scores[kept])
    rows, scores = scored.best(count)
    return Proposal(Source.ITEM_ITEM, rows, scores)


def from_history(history: History, count: int, allowed: RowMask | None) -> Proposal:
    """Products this shopper wanted before and has not refused since, latest first."""
    wanted = np.isin(history.event_codes, _WANTED_CODES)
    refused = np.isin(history.event_codes, _REFUSED_CODES)
    latest_first = (history.product_rows > 0) & (wanted | refused)
    rows = history.product_rows[latest_first][::-1]
    _, first = np.unique(rows, return_index=True)
    by_recency = np.sort(first)
    rows = rows[by_recency][wanted[latest_first][::-1][by_recency]]
    if allowed is not None:
        rows = rows[allowed[rows]]
    rows = rows[:count]
    scores = (RECENCY_DECAY ** np.arange(rows.size)).astype(np.float32)
    return Proposal(Source.HISTORY, rows, scores)


def from_popularity(
    popularity: Popularity,
    categories: NDArray[np.int64],
    count: int,
    allowed: RowMask | None,
) -> Proposal:
    """What sells best in these categories; what sells best anywhere makes up the number."""
    near = popularity.best_in(categories, count, allowed)
    anywhere = popularity.best(count, allowed)
    rows = np.concatenate([near, anywhere[~np.isin(anywhere, near)]])[:count]
    return Proposal(Source.POPULAR, rows, popularity.score_of[rows])


def from_chance(
    row_count: int, count: int, allowed: RowMask | None, generator: np.random.Generator
) -> Proposal:
    """Products drawn evenly from the catalogue; fewer than `count` where few are allowed."""
    if row_count < 2:
        return Proposal(Source.EXPLORATION, np.zeros(0, np.int64), np.zeros(0, np.float32))
    drawn = generator.integers(1, row_count, size=_TRIES_PER_FIND * count)
    if allowed is not None:
        drawn = drawn[allowed[drawn]]
    _, first = np.unique(drawn, return_index=True)
    rows = drawn[np.sort(first)][:count]
    return Proposal(Source.EXPLORATION, rows, np.zeros(rows.size, dtype=np.float32))
