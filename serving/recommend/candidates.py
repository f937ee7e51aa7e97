"""Candidates: products worth scoring, from the two-tower model and the sources beside it.

Shapes: R catalogue rows, D vector size, N candidates, M proposed by one source.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.fallbacks import or_fallback
from serving.recommend.history import Past
from serving.recommend.request import Degradation, Stage
from shop.active_rules import ActivePin
from shop.blend import Proposal, interleave, make_room, stack, with_more
from shop.candidates import SOURCE_COUNT, Candidates, Source
from shop.errors import DependencyUnavailable
from shop.events import History
from shop.features import ShopperFeatures
from shop.neighbours import ItemItemScores, score_neighbours
from shop.popularity import RowMask
from shop.sources import from_chance, from_history, from_neighbours, from_popularity

# Of the newest products of a history: enough to tell what this visit is about.
_NEARBY_PRODUCTS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What retrieval leaves for the stages after it."""

    candidates: Candidates
    user_vector: NDArray[np.float32] | None  # [D] None: the user tower was lost
    item_item: ItemItemScores
    fallback: bool  # the two-tower model had no part in it


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """What the sources beside the two-tower model go by."""

    call: Call
    history: History
    item_item: ItemItemScores
    nearby: NDArray[np.int64]  # category codes of what the visit is about

    @staticmethod
    def of(call: Call, history: History) -> "_Search":
        catalogue = call.deps.release.tables.catalogue
        ids = [*call.ask.context_product_ids, *call.ask.cart_product_ids]
        rows = catalogue.rows_of(ids)
        if not rows.any():
            rows = history.product_rows[-_NEARBY_PRODUCTS:]
        nearby = catalogue.category_codes[rows]
        return _Search(call, history, _item_item_scores(call, history), nearby)

    def item_item_first(self, count: int, allowed: RowMask | None) -> Proposal:
        return from_neighbours(self.item_item, count, allowed)

    def popular_nearby(self, count: int, allowed: RowMask | None) -> Proposal:
        return from_popularity(self.call.deps.popularity, self.nearby, count, allowed)


async def find_candidates(call: Call, past: Past, features: ShopperFeatures) -> Found:
    """At most `quotas.looked_up` products inside the filter, best first, none of them excluded.

    With a filter that is not strict, a short list is followed by products from outside it.
    """
    quotas, allowed = call.deps.settings.quotas, _allowed(call)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_from_two_tower(call, features, allowed))
        await asyncio.sleep(0)  # its question goes out before we work on the rest
        search = _Search.of(call, past.history)
        beside = _beside(search, allowed)
    user_vector, nearest = asked.result()
    if nearest is None:
        candidates = stack(_instead(search, allowed), _reach(call))
    else:
        candidates = interleave([nearest, *beside], quotas, _reach(call))
    candidates = _without(candidates, call.excluded_rows)
    if call.rules is not None and call.rules.pins:
        candidates = _pinned_first(candidates, call, call.rules.pins)
    if call.ask.promotions:
        candidates = _with_promoted(candidates, search, allowed)
    if call.ask.filter is not None and not call.ask.strict_filtering:
        candidates = _filled(candidates, search)
    return Found(candidates, user_vector, search.item_item, fallback=nearest is None)


def _reach(call: Call) -> int:
    """How many to find. Promoted products come last and must not be cut off again."""
    quotas = call.deps.settings.quotas
    return quotas.candidates if call.ask.promotions else quotas.looked_up


def _allowed(call: Call) -> RowMask | None:
    """[R] where to search; None is everywhere: a few refused rows are dropped later."""
    if call.ask.filter is None:
        return _allowed_by_rules(call)
    allowed = call.deps.filter_masks.of(call.ask.filter, call.ask.context.now_ms).copy()
    allowed[call.excluded_rows] = False
    by_rules = _allowed_by_rules(call)
    if by_rules is not None:
        allowed &= by_rules
    return allowed


def _allowed_by_rules(call: Call) -> RowMask | None:
    """[R] what rules leave, if they take much away. Read only."""
    return None if call.rules is None else call.rules.allowed


def _item_item_scores(call: Call, history: History) -> ItemItemScores:
    """Empty, and noted as lost, if the table names products that the catalogue does not have."""
    tables = call.deps.release.tables
    scored = score_neighbours(history, tables.neighbours)
    if scored.rows.size == 0 or int(scored.rows[-1]) < tables.catalogue.product_ids.size:
        return scored
    call.losses.add(Stage.CANDIDATES, Degradation.SOURCE_LOST)
    return ItemItemScores(np.zeros(0, np.int64), np.zeros(0, np.float32))


def _beside(search: _Search, allowed: RowMask | None) -> list[Proposal]:
    """Everything that is read from the release's own tables, while the tower is at work."""
    call, quotas = search.call, search.call.deps.settings.quotas
    row_count = call.deps.release.tables.catalogue.product_ids.size
    return [
        search.item_item_first(quotas.item_item, allowed),
        from_history(search.history, quotas.history, allowed),
        search.popular_nearby(quotas.popular, allowed),
        from_chance(row_count, quotas.exploration, allowed, call.pool_generator()),
    ]


def _instead(search: _Search, allowed: RowMask | None) -> list[Proposal]:
    """What stands in for the two-tower model: item–item, then popular in the categories at hand."""
    quotas = search.call.deps.settings.quotas
    return [
        search.item_item_first(quotas.looked_up, allowed),
        from_history(search.history, quotas.history, allowed),
        search.popular_nearby(quotas.looked_up, allowed),
    ]


def _pinned_first(candidates: Candidates, call: Call, pins: Sequence[ActivePin]) -> Candidates:
    """`candidates` led by the pinned products, so that no later cut takes them away.

    As many as before, or as there are pins.
    """
    pinned = np.array([pin.row for pin in pins], dtype=np.int64)
    pinned = pinned[~np.isin(pinned, call.excluded_rows)]
    unscored = np.full((pinned.size, SOURCE_COUNT), np.nan, dtype=np.float32)
    is_pinned = np.isin(candidates.rows, pinned)
    found = candidates.taken(np.flatnonzero(is_pinned))
    first = with_more(found, Candidates(pinned, unscored), pinned.size)
    both = with_more(first, candidates, len(candidates))
    return both.taken(np.arange(min(len(both), max(_reach(call), pinned.size))))


def _with_promoted(candidates: Candidates, search: _Search, allowed: RowMask | None) -> Candidates:
    """`candidates` with enough for every promotion's places among them, if the shop has as many.

    Twice the places are enough: some will turn out unsellable, seldom more than half.
    """
    call, limit = search.call, search.call.deps.settings.quotas.candidates
    needed = np.zeros(len(candidates), dtype=np.bool_)
    if call.rules is not None:
        needed[: len(call.rules.pins)] = True  # they lead
    more = candidates.taken(np.zeros(0, dtype=np.intp))
    for promotion in call.ask.promotions:
        enough = min(2 * promotion.slots(call.ask.page_size), promotion.slots(limit))
        mask = call.deps.filter_masks.of(promotion.filter, call.ask.context.now_ms).copy()
        mask[call.excluded_rows] = False
        if allowed is not None:
            mask &= allowed
        there = np.flatnonzero(mask[candidates.rows])[:enough]
        needed[there] = True
        mask[candidates.rows] = False
        mask[more.rows] = False
        sources = [search.item_item_first(enough, mask), search.popular_nearby(enough, mask)]
        more = with_more(more, stack(sources, enough), enough - there.size)
    return make_room(candidates, more, needed, limit)


def _filled(candidates: Candidates, search: _Search) -> Candidates:
    """`candidates`, followed by enough from outside the filter for a page, if they are few.

    Twice a page is enough: some will turn out unsellable, seldom more than half.
    """
    enough = 2 * search.call.ask.page_size
    room = min(enough, search.call.deps.settings.quotas.candidates - len(candidates))
    if len(candidates) >= enough or room == 0:
        return candidates
    excluded = search.call.excluded_rows
    reach = enough + len(candidates) + excluded.size  # each source may repeat all of those first
    allowed = _allowed_by_rules(search.call)
    outside = stack(
        [search.item_item_first(reach, allowed), search.popular_nearby(reach, allowed)], 2 * reach
    )
    return with_more(candidates, _without(outside, excluded), room)


async def _from_two_tower(
    call: Call, features: ShopperFeatures, allowed: RowMask | None
) -> tuple[NDArray[np.float32] | None, Proposal | None]:
    with call.timed(Stage.TOWER):
        user_vector = await _user_vector(call, features)
    if user_vector is None:
        return None, None
    quota = call.deps.settings.quotas.two_tower
    if quota == 0:  # switched off: the vector is for the ranker alone
        none = Proposal(Source.TWO_TOWER, np.zeros(0, np.int64), np.zeros(0, np.float32))
        return user_vector, none
    # What others leave free is filled from here; excluded products may be among the nearest.
    count = max(quota, _reach(call)) + call.excluded_rows.size
    return user_vector, await _nearest(call, user_vector, count, allowed)


async def _user_vector(call: Call, features: ShopperFeatures) -> NDArray[np.float32] | None:
    within_s = call.within_s(call.deps.settings.budgets.tower_ms)

    async def asked() -> NDArray[np.float32]:
        tower = call.deps.release.user_tower
        vector = await tower.user_vector(features, timeout_s=within_s)
        size = call.deps.release.tables.schema.vector_size
        if vector.shape != (size,) or not np.isfinite(vector).all():
            raise DependencyUnavailable("triton", "the user vector is misshapen or not finite")
        return vector

    return await or_fallback(
        asked(),
        within_s=within_s,
        fallback=None,
        stage=Stage.CANDIDATES,
        lost=Degradation.FALLBACK_CANDIDATES,
        losses=call.losses,
    )


async def _nearest(
    call: Call, user_vector: NDArray[np.float32], count: int, allowed: RowMask | None
) -> Proposal | None:
    within_s = call.within_s(call.deps.settings.budgets.index_ms)

    async def asked() -> Proposal:
        index = call.deps.release.index
        rows, cosines = await index.search(user_vector, count, allowed=allowed, timeout_s=within_s)
        proposal = Proposal(Source.TWO_TOWER, rows, cosines)
        _check(proposal, row_count=call.deps.release.tables.catalogue.product_ids.size)
        return proposal

    return await or_fallback(
        asked(),
        within_s=within_s,
        fallback=None,
        stage=Stage.CANDIDATES,
        lost=Degradation.FALLBACK_CANDIDATES,
        losses=call.losses,
    )


def _check(proposal: Proposal, *, row_count: int) -> None:
    """Raises DependencyUnavailable: one bad row number would break every later stage."""
    rows, scores = proposal.rows, proposal.scores
    sound = (
        rows.shape == scores.shape
        and np.isfinite(scores).all()
        and (rows.size == 0 or (rows.min() > 0 and rows.max() < row_count))
        and len(set(rows.tolist())) == rows.size
    )
    if not sound:
        raise DependencyUnavailable("index", "proposed what does not exist")


def _without(candidates: Candidates, rows: NDArray[np.int64]) -> Candidates:
    if rows.size == 0:
        return candidates
    return candidates.taken(np.flatnonzero(~np.isin(candidates.rows, rows)))
