"""Candidates: products worth scoring, from the two-tower model and the sources beside it.

Shapes: R catalogue rows, D vector size, N candidates, M proposed by one source.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.recommend.beside import Beside
from serving.recommend.call import Call
from serving.recommend.fallbacks import or_fallback
from serving.recommend.filtering import allowed_rows, filled, rows_passing
from serving.recommend.found_rows import check_found, note_share
from serving.recommend.history import Past
from serving.recommend.request import Degradation, Stage
from serving.recommend.search import Search as Query
from serving.recommend.search_candidates import search_candidates
from serving.recommend.search_ports import SearchParts
from shop.active_rules import ActivePin
from shop.blend import Proposal, make_room, stack, with_more
from shop.blend_policies import Warmth, blend
from shop.candidates import SOURCE_COUNT, Candidates, Source
from shop.catalogue import is_one_of
from shop.errors import DependencyUnavailable
from shop.features import ShopperFeatures
from shop.neighbours import ItemItemScores
from shop.popularity import RowMask


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What retrieval leaves for the stages after it."""

    candidates: Candidates
    user_vector: NDArray[np.float32] | None  # [D] None: the user tower was lost
    item_item: ItemItemScores
    fallback: bool  # the two-tower model had no part in it


async def find_candidates(call: Call, past: Past, features: ShopperFeatures) -> Found:
    """At most `quotas.looked_up` products inside the filter, best first, none of them excluded.

    With a filter that is not strict, a short list is followed by products that pass it relaxed.
    """
    parts = call.deps.release.search
    if call.search is not None and call.search.words and parts is not None:
        return await _found_by_query(call, call.search, parts, past, features)
    allowed = await allowed_rows(call)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_from_two_tower(call, features, allowed))
        await asyncio.sleep(0)  # its question goes out before we work on the rest
        beside = Beside.of(call, past)
        proposals = beside.proposals(allowed)
    user_vector, nearest = asked.result()
    if nearest is None:
        candidates = stack(beside.instead(allowed), _reach(call))
    else:
        candidates = _blended(beside, [nearest, *proposals])
    candidates = _without(candidates, call.excluded_rows)
    if call.rules is not None and call.rules.pins:
        candidates = _pinned_first(candidates, call, call.rules.pins)
    if call.ask.promotions:
        candidates = await _with_promoted(candidates, beside, allowed)
    if call.ask.filter is not None and not call.ask.strict_filtering:
        candidates = await filled(candidates, call, beside.nearby_and_alike)
    return Found(candidates, user_vector, beside.item_item, fallback=nearest is None)


def _blended(beside: Beside, proposals: Sequence[Proposal]) -> Candidates:
    call, settings = beside.call, beside.call.deps.settings
    warmth = Warmth(
        Warmth.of_shopper(len(beside.past.history), settings.blend.weights),
        call.deps.product_warmth,
    )
    policy = settings.blend.policy_of(call.ask.context.placement)
    return blend(policy, proposals, settings.blend, settings.quotas, warmth, _reach(call))


async def _found_by_query(
    call: Call, query: Query, parts: SearchParts, past: Past, features: ShopperFeatures
) -> Found:
    """The same for a query: what fits it, and the shopper's vector for the ranker."""
    allowed = await allowed_rows(call)
    async with asyncio.TaskGroup() as group:
        tower = group.create_task(_timed_vector(call, features))
        found = group.create_task(search_candidates(call, query, parts, allowed))
    candidates, is_fallback = found.result()
    if call.rules is not None and call.rules.pins:
        candidates = _pinned_first(candidates, call, call.rules.pins)
    beside = Beside.of(call, past)
    if call.ask.promotions:
        candidates = await _with_promoted(candidates, beside, allowed)
    return Found(candidates, tower.result(), beside.item_item, fallback=is_fallback)


def _reach(call: Call) -> int:
    """How many to find. Promoted products come last and must not be cut off again."""
    quotas = call.deps.settings.quotas
    return quotas.candidates if call.ask.promotions else quotas.looked_up


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


async def _with_promoted(
    candidates: Candidates, beside: Beside, allowed: RowMask | None
) -> Candidates:
    """`candidates` with enough for every promotion's places among them, if the shop has as many.

    Twice the places are enough: some will turn out unsellable, seldom more than half.
    """
    call, limit = beside.call, beside.call.deps.settings.quotas.candidates
    needed = np.zeros(len(candidates), dtype=np.bool_)
    if call.rules is not None:
        needed[: len(call.rules.pins)] = True  # they lead
    more = candidates.taken(np.zeros(0, dtype=np.intp))
    for promotion in call.ask.promotions:
        enough = min(2 * promotion.slots(call.ask.page_size), promotion.slots(limit))
        passing = await rows_passing(call, promotion.filter)
        if passing is None:
            continue
        mask = passing.copy()
        mask[call.excluded_rows] = False
        if allowed is not None:
            mask &= allowed
        there = np.flatnonzero(mask[candidates.rows])[:enough]
        needed[there] = True
        mask[candidates.rows] = False
        mask[more.rows] = False
        sources = [beside.item_item_first(enough, mask), beside.popular_nearby(enough, mask)]
        more = with_more(more, stack(sources, enough), enough - there.size)
    return make_room(candidates, more, needed, limit)


async def _from_two_tower(
    call: Call, features: ShopperFeatures, allowed: RowMask | None
) -> tuple[NDArray[np.float32] | None, Proposal | None]:
    user_vector = await _timed_vector(call, features)
    if user_vector is None:
        return None, None
    quota = call.deps.settings.quotas.two_tower
    if quota == 0:  # switched off: the vector is for the ranker alone
        none = Proposal(Source.TWO_TOWER, np.zeros(0, np.int64), np.zeros(0, np.float32))
        return user_vector, none
    # What others leave free is filled from here; excluded products may be among the nearest.
    count = max(quota, _reach(call)) + call.excluded_rows.size
    return user_vector, await _nearest(call, user_vector, count, allowed)


async def _timed_vector(call: Call, features: ShopperFeatures) -> NDArray[np.float32] | None:
    with call.timed(Stage.TOWER):
        return await vector_of(call, features, lost=Degradation.FALLBACK_CANDIDATES)


async def vector_of(
    call: Call, features: ShopperFeatures, *, lost: Degradation
) -> NDArray[np.float32] | None:
    """[D] of unit length; None, with `lost` noted, without the user tower."""
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
        lost=lost,
        losses=call.losses,
    )


async def _nearest(
    call: Call, user_vector: NDArray[np.float32], count: int, allowed: RowMask | None
) -> Proposal | None:
    within_s = call.within_s(call.deps.settings.budgets.index_ms)

    async def asked() -> Proposal:
        index = call.deps.release.index
        found = await index.search(user_vector, count, allowed=allowed, timeout_s=within_s)
        note_share(found, call.losses)
        rows, cosines = found
        row_count = call.deps.release.tables.catalogue.product_ids.size
        check_found(rows, cosines, row_count=row_count, where="index")
        return Proposal(Source.TWO_TOWER, rows, cosines)

    return await or_fallback(
        asked(),
        within_s=within_s,
        fallback=None,
        stage=Stage.CANDIDATES,
        lost=Degradation.FALLBACK_CANDIDATES,
        losses=call.losses,
    )


def _without(candidates: Candidates, rows: NDArray[np.int64]) -> Candidates:
    if rows.size == 0:
        return candidates
    return candidates.taken(np.flatnonzero(~is_one_of(candidates.rows, rows)))
