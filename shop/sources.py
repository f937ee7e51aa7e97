"""Sources: what proposes candidates beside the two-tower model. Each source is a function.

`allowed` [R] restricts every source to the rows where it holds; None allows all.
Shapes: R catalogue rows, T history, M proposed.
"""

import numpy as np
from numpy.typing import NDArray

from shop.blend import Proposal
from shop.candidates import Source
from shop.catalogue import Catalogue
from shop.events import EVENT_CODE_COUNT, EVENT_CODES, WANTED_TYPES, EventType, History
from shop.neighbours import (
    REACH,
    RECENCY_DECAY,
    ItemItemScores,
    Neighbours,
    score_neighbours,
)
from shop.popularity import Popularity, RowMask
from shop.source_tables import Arrivals, Listed

_REFUSED_TYPES = (EventType.REMOVE, EventType.RETURN)
# By event code. A look-up costs a tenth of np.isin, whose overhead is most of it at this size.
_IS_WANTED, _IS_REFUSED = (np.zeros(EVENT_CODE_COUNT, dtype=np.bool_) for _ in range(2))
_IS_WANTED[[EVENT_CODES[event] for event in WANTED_TYPES]] = True
_IS_REFUSED[[EVENT_CODES[event] for event in _REFUSED_TYPES]] = True
_TRIES_PER_FIND = 4  # random rows drawn for each one wanted; a filter refuses many
_CART = EVENT_CODES[EventType.CART]
_LEAVES_CART = [
    EVENT_CODES[event] for event in (EventType.REMOVE, EventType.ABANDON, EventType.PURCHASE)
]
# Tastes in attributes change more slowly than what goes together, so content looks further back
# than item–item. On the world 0.9 and 50 find 0.198 of the truth's best 500, 0.7 and 20 0.163.
_CONTENT_DECAY, _CONTENT_REACH = 0.9, 50
_MS_PER_DAY = 86_400_000


def from_neighbours(
    scored: ItemItemScores,
    count: int,
    allowed: RowMask | None,
    source: Source = Source.ITEM_ITEM,
) -> Proposal:
    """The highest scored: bought by those who bought what this shopper looked at, or alike."""
    if allowed is not None:
        kept = allowed[scored.rows]
        scored = ItemItemScores(scored.rows[kept], scored.scores[kept])
    rows, scores = scored.best(count)
    return Proposal(source, rows, scores)


def cart_scores(history: History, neighbours: Neighbours) -> ItemItemScores | None:
    """Item–item scores in which this session's cart counts as what was touched last.

    None if the cart is empty, or among the last views anyway: then the usual scores hold.
    """
    in_cart = history.session_mask & (history.event_codes == _CART)
    if not in_cart.any():
        return None
    at = _open_cart(history, np.flatnonzero(in_cart))
    views = np.flatnonzero(history.product_rows > 0)[-REACH:]
    if at.size == 0 or views.size == 0 or at[0] >= views[0]:
        return None
    order = np.concatenate([np.delete(np.arange(len(history)), at), at])
    moved = History(
        history.product_rows[order],
        history.event_codes[order],
        history.times_ms[order],
        history.session_mask[order],
    )
    return score_neighbours(moved, neighbours)


def _open_cart(history: History, carted: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of `carted` whose product has not left the cart since."""
    leaves = np.flatnonzero(np.isin(history.event_codes, _LEAVES_CART))
    gone = (history.product_rows[leaves] == history.product_rows[carted][:, None]) & (
        leaves > carted[:, None]
    )
    is_open: NDArray[np.bool_] = ~gone.any(axis=1) & (history.product_rows[carted] > 0)
    return carted[is_open]


def content_scores(history: History, content: Neighbours) -> ItemItemScores:
    """Products by how much they are like, in specification and title, what was looked at."""
    return score_neighbours(history, content, decay=_CONTENT_DECAY, reach=_CONTENT_REACH)


def from_list(source: Source, listed: Listed, count: int, allowed: RowMask | None) -> Proposal:
    """The best of a list that the release holds."""
    rows, scores = listed.rows, listed.scores
    if allowed is not None:
        kept = allowed[rows]
        rows, scores = rows[kept], scores[kept]
    return Proposal(source, rows[:count], scores[:count])


def fresh_rows(arrivals: Arrivals, now_ms: int, fresh_days: float) -> NDArray[np.int64]:
    """Rows of the products added in the last `fresh_days`, latest first."""
    return arrivals.since(now_ms - int(fresh_days * _MS_PER_DAY))


def from_fresh(
    fresh: NDArray[np.int64],
    catalogue: Catalogue,
    nearby: NDArray[np.int64],
    count: int,
    allowed: RowMask | None,
) -> Proposal:
    """Latest arrivals, those in the categories at hand (`nearby`, codes) before the others.

    `fresh` is `fresh_rows`. The score falls from 1 by place.
    """
    if allowed is not None:
        fresh = fresh[allowed[fresh]]
    is_near = np.zeros(len(catalogue.category_names), dtype=np.bool_)
    is_near[nearby] = True
    is_near[0] = False  # no category is none in common
    near = is_near[catalogue.category_codes[fresh]]
    rows = np.concatenate([fresh[near], fresh[~near]])[:count]
    scores = 1.0 - np.arange(rows.size) / max(1, rows.size)
    return Proposal(Source.FRESH, rows, scores.astype(np.float32))


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
    row_count: int,
    count: int,
    allowed: RowMask | None,
    generator: np.random.Generator,
    *,
    fresh: NDArray[np.int64] | None = None,
    fresh_share: float = 0.0,
) -> Proposal:
    """Products drawn evenly from the catalogue; fewer than `count` where few are allowed.

    A share of them, `fresh_share`, is drawn evenly from `fresh` instead, as far as these reach.
    """
    if row_count < 2:
        return Proposal(Source.EXPLORATION, np.zeros(0, np.int64), np.zeros(0, np.float32))
    drawn = generator.integers(1, row_count, size=_TRIES_PER_FIND * count)
    first: list[int] = []
    if fresh is not None and fresh.size:
        wanted = round(fresh_share * count)
        tried = fresh[generator.integers(0, fresh.size, size=_TRIES_PER_FIND * wanted)]
        if allowed is not None:
            tried = tried[allowed[tried]]
        first = _distinct(tried.tolist(), wanted).tolist()
    if allowed is not None:
        drawn = drawn[allowed[drawn]]
    rows = _distinct([*first, *drawn.tolist()], count)
    return Proposal(Source.EXPLORATION, rows, np.zeros(rows.size, dtype=np.float32))


def _distinct(rows: list[int], count: int) -> NDArray[np.int64]:
    """The first `count` different ones. At this size a dict is quicker than np.unique."""
    return np.array(list(dict.fromkeys(rows))[:count], dtype=np.int64)
