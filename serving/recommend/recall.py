"""Recall: what one call takes from the cache, and what it leaves there for the next.

A hit saves the search. Of the ranking it saves what was ranked for today's prices; a product that
costs materially more or less by now, or that was not ranked (it could not be sold then), is ranked
now, alone. Nothing that lacks a part is kept: the next call has its own chance to find it.

Shapes: N offers, M ranked before, H heads.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.recommend.cache import RankingCache, Shape
from serving.recommend.cache_key import may_be_cached
from serving.recommend.call import Call
from serving.recommend.candidates import Found
from serving.recommend.filtering import rows_passing
from serving.recommend.history import Past
from serving.recommend.ranking import rank
from serving.recommend.ranking_record import Ranking
from serving.recommend.request import NO_USE, CacheStatus, CacheUse, Stage
from shop.candidates import BY_QUERY, source_bits
from shop.features import ShopperFeatures
from shop.neighbours import ItemItemScores, score_neighbours
from shop.offers import Offers
from shop.popularity import RowMask
from shop.scoring import Scores

_NO_SCORES = ItemItemScores(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(slots=True, eq=False)
class Known:
    """What is known of a list before it is worked out: nothing, or what an equal call found."""

    call: Call
    past: Past
    features: ShopperFeatures
    cache: RankingCache | None = None  # None: this call is answered without
    key: bytes = b""
    ranking: Ranking | None = None
    use: CacheUse = NO_USE
    is_news: bool = True  # whether there is more to be kept than was known

    @property
    def found(self) -> Found | None:
        """The candidates as they were found, if they were."""
        if self.ranking is None:
            return None
        return Found(
            self.ranking.candidates(),
            self.ranking.user_vector,
            # Needed only for what is ranked anew, so worked out there.
            _NO_SCORES,
            fallback=False,
        )

    async def ranked(self, found: Found, offers: Offers) -> Scores | None:
        """As `rank` finds them; what was ranked before for these prices is not asked again."""
        if self.ranking is None:
            return await rank(self.call, self.past, self.features, found, offers)
        heads = self.call.deps.release.tables.schema.heads
        limit = self.call.deps.settings.cache.material_change
        columns, is_known = _known(self.ranking, offers, limit)
        self.is_news = not is_known.all()
        if self.is_news:
            self.use = CacheUse(CacheStatus.PARTIAL, self.use.age_ms)
            at = np.flatnonzero(~is_known)
            fresh = await self._ranked_now(found, offers, at)
            if fresh is None:
                return None
            columns[at] = fresh.columns(heads)
        return Scores.from_columns(heads, columns) if len(offers) else None

    async def _ranked_now(
        self, found: Found, offers: Offers, at: NDArray[np.intp]
    ) -> Scores | None:
        neighbours = self.call.deps.release.tables.neighbours
        some = replace(
            found,
            candidates=found.candidates.taken(at),
            item_item=score_neighbours(self.past.history, neighbours),
        )
        return await rank(self.call, self.past, self.features, some, offers.taken(at))

    async def keep(self, found: Found, offers: Offers, scores: Scores | None) -> None:
        """`found` as retrieved, `scores` of the offers [N] that could be sold. Nothing partial."""
        if self.cache is None or not self.is_news or scores is None or self.call.losses.found:
            return
        if found.user_vector is None or not await self._is_still_the_key(found):
            return
        heads = self.call.deps.release.tables.schema.heads
        candidates, before = found.candidates, self.ranking
        ranking = Ranking(
            made_ms=self.call.ask.context.now_ms if before is None else before.made_ms,
            rows=candidates.rows.astype(np.int32),
            sources=source_bits(candidates.proposed),
            query_scores=candidates.source_scores[:, BY_QUERY[: 2 * bool(self.call.ask.query)]],
            user_vector=found.user_vector,
            ranked_rows=offers.rows.astype(np.int32),
            price_minor=offers.price_minor,
            discount=offers.discount,
            probabilities=scores.columns(heads),
        )
        self.cache.keep(self.key, ranking)

    async def _is_still_the_key(self, found: Found) -> bool:
        """A filter may have been judged anew while we searched, and nobody knows which we met.

        What a relaxed filter lets through is no part of the key: a list that needed it is not kept.
        """
        ask = self.call.ask
        if ask.filter is None and not ask.promotions:
            return True
        masks = await wished(self.call)
        if masks is None or self._needed_more(found, masks):
            return False
        return self.call.deps.keys.of(self.call, self.past, self.features, masks) == self.key

    def _needed_more(self, found: Found, masks: Sequence[RowMask]) -> bool:
        ask = self.call.ask
        if ask.filter is None or ask.strict_filtering:
            return False
        inside = int(np.count_nonzero(masks[0][found.candidates.rows]))
        return inside < min(2 * ask.page_size, self.call.deps.settings.quotas.candidates)


async def wished(call: Call) -> tuple[RowMask, ...] | None:
    """Each [R], what the filter and the promotions let through; None if not known in time."""
    ask = call.ask
    filters = [*([] if ask.filter is None else [ask.filter]), *(p.filter for p in ask.promotions)]
    masks = [await rows_passing(call, each) for each in filters]
    known = tuple(mask for mask in masks if mask is not None)
    return known if len(known) == len(filters) else None


@asynccontextmanager
async def recalled(call: Call, past: Past, features: ShopperFeatures) -> AsyncIterator[Known]:
    """What the cache knows of this list; calls for the same list wait for the block's end."""
    cache, ask = call.deps.cache, call.ask
    if cache is None or not cache.is_on or not may_be_cached(ask):
        yield Known(call, past, features)
        return
    tables = call.deps.release.tables
    with call.timed(Stage.CACHE):
        masks = await wished(call)
        if masks is not None:
            key = call.deps.keys.of(call, past, features, masks)
    if masks is None:
        yield Known(call, past, features)
        return
    shape = Shape(tables.catalogue.product_ids.size, tables.schema)
    within_s = call.within_s(call.deps.settings.budgets.tower_ms)
    async with cache.recalled(key, shape, now_ms=ask.context.now_ms, within_s=within_s) as ranking:
        use = CacheUse(CacheStatus.MISS)
        if ranking is not None:
            use = CacheUse(CacheStatus.HIT, max(0, ask.context.now_ms - ranking.made_ms))
        yield Known(call, past, features, cache, key, ranking, use)


def _known(
    ranking: Ranking, offers: Offers, material_change: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """[N, H] probabilities, and [N] where they are of this product at today's price."""
    heads = ranking.probabilities.shape[1]
    if ranking.ranked_rows.size == 0:
        return np.zeros((len(offers), heads), np.float32), np.zeros(len(offers), np.bool_)
    # Most calls find what was ranked in the very order in which it was.
    if np.array_equal(ranking.ranked_rows, offers.rows):
        at = np.arange(offers.rows.size)
    else:
        ascending = np.argsort(ranking.ranked_rows)
        place = np.searchsorted(ranking.ranked_rows, offers.rows, sorter=ascending)
        at = ascending[np.minimum(place, ranking.ranked_rows.size - 1)]
    columns, ranked_for = ranking.probabilities[at], ranking.price_minor[at]
    moved_minor = np.abs(offers.price_minor - ranked_for)
    is_known = (
        (ranking.ranked_rows[at] == offers.rows)
        & (moved_minor <= material_change * ranked_for)
        & (np.abs(offers.discount - ranking.discount[at]) <= material_change)
        & np.isfinite(columns).all(axis=1)
    )
    return columns, is_known
