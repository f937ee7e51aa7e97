"""Sources: what proposes candidates beside the two-tower model. Each source is a function.

`allowed` [R] restricts every source to the rows where it holds; None allows all.
Shapes: R catalogue rows, T history, M proposed.
"""

import numpy as np
from numpy.typing import NDArray

from shop.blend import Proposal
from shop.candidates import Source
from shop.events import EVENT_CODE_COUNT, EVENT_CODES, WANTED_TYPES, EventType, History
from shop.neighbours import RECENCY_DECAY, ItemItemScores
from shop.popularity import Popularity, RowMask

_REFUSED_TYPES = (EventType.REMOVE, EventType.RETURN)
# By event code. A look-up costs a tenth of np.isin, whose overhead is most of it at this size.
_IS_WANTED, _IS_REFUSED = (np.zeros(EVENT_CODE_COUNT, dtype=np.bool_) for _ in range(2))
_IS_WANTED[[EVENT_CODES[event] for event in WANTED_TYPES]] = True
_IS_REFUSED[[EVENT_CODES[event] for event in _REFUSED_TYPES]] = True
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
    codes = history.event_codes
    telling = (history.product_rows > 0) & (_IS_WANTED[codes] | _IS_REFUSED[codes])
    latest: dict[int, int] = {}  # product → the code of its latest event; the last one wins
    for row, code in zip(
        history.product_rows[telling].tolist(), codes[telling].tolist(), strict=True
    ):
        latest.pop(row, None)  # so that the order is by the latest event
        latest[row] = code
    rows = np.array([row for row, code in reversed(latest.items()) if _IS_WANTED[code]], np.int64)
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
    rows = _distinct([*near.tolist(), *anywhere.tolist()], count)
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
    rows = _distinct(drawn.tolist(), count)
    return Proposal(Source.EXPLORATION, rows, np.zeros(rows.size, dtype=np.float32))


def _distinct(rows: list[int], count: int) -> NDArray[np.int64]:
    """The first `count` different ones. At this size a dict is quicker than np.unique."""
    return np.array(list(dict.fromkeys(rows))[:count], dtype=np.int64)
