"""Search candidates: products by the meaning of a query's words beside products by the words.

Both are asked at the same time, inside the constraints, and fused by rank. Losing one costs a
reason; losing both leaves what is popular inside the constraints.

Shapes: N candidates, M found by one retrieval, D text vector size.
"""

import asyncio

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.fallbacks import or_fallback
from serving.recommend.found_rows import check_found, note_share
from serving.recommend.request import Degradation, Stage
from serving.recommend.search import Search
from serving.recommend.search_ports import SearchParts
from shop.blend import stack
from shop.candidates import SOURCE_COUNT, Candidates, Source
from shop.fusion import fused
from shop.popularity import RowMask
from shop.sources import from_popularity
from shop.text_tokens import text_tokens

_Ranking = tuple[NDArray[np.int64], NDArray[np.float32]]  # rows [M], best first, and scores [M]


async def search_candidates(
    call: Call, search: Search, parts: SearchParts, allowed: RowMask | None
) -> tuple[Candidates, bool]:
    """At most `quotas.looked_up` products, and whether they are only a fallback."""
    async with asyncio.TaskGroup() as group:
        by_meaning = group.create_task(_by_meaning(call, search, parts, allowed))
        by_words = group.create_task(_by_words(call, search, parts, allowed))
    found = {Source.TEXT: by_meaning.result(), Source.LEXICAL: by_words.result()}
    rankings = {source: ranking for source, ranking in found.items() if ranking is not None}
    count = call.deps.settings.quotas.looked_up
    if not rankings:
        return _popular(call, allowed, count), True
    rows, _ = fused([rows for rows, _ in rankings.values()])
    rows = rows[~np.isin(rows, call.excluded_rows)][:count]
    return Candidates(rows, _source_scores(rows, rankings)), False


async def _by_meaning(
    call: Call, search: Search, parts: SearchParts, allowed: RowMask | None
) -> _Ranking | None:
    budgets = call.deps.settings.budgets
    within_s = call.within_s(budgets.tower_ms + budgets.index_ms)

    async def asked() -> _Ranking:
        tokens = text_tokens(" ".join(search.words))
        vector = await parts.encoder.text_vector(tokens, timeout_s=within_s)
        count = call.deps.settings.search.text + call.excluded_rows.size
        found = await parts.index.search(vector, count, allowed=allowed, timeout_s=within_s)
        note_share(found, call.losses)
        return _sound(found, call)

    return await or_fallback(
        asked(),
        within_s=within_s,
        fallback=None,
        stage=Stage.CANDIDATES,
        lost=Degradation.NO_TEXT_ENCODER,
        losses=call.losses,
    )


async def _by_words(
    call: Call, search: Search, parts: SearchParts, allowed: RowMask | None
) -> _Ranking | None:
    within_s = call.within_s(call.deps.settings.budgets.index_ms)

    async def asked() -> _Ranking:
        count = call.deps.settings.search.lexical + call.excluded_rows.size
        words = search.words
        found = await parts.lexical.search(words, count, allowed=allowed, timeout_s=within_s)
        return _sound(found, call)

    return await or_fallback(
        asked(),
        within_s=within_s,
        fallback=None,
        stage=Stage.CANDIDATES,
        lost=Degradation.NO_LEXICAL,
        losses=call.losses,
    )


def _sound(found: _Ranking, call: Call) -> _Ranking:
    row_count = call.deps.release.tables.catalogue.product_ids.size
    check_found(*found, row_count=row_count, where="search")
    return found


def _source_scores(
    rows: NDArray[np.int64], rankings: dict[Source, _Ranking]
) -> NDArray[np.float32]:
    """[N, S]"""
    scores = np.full((rows.size, SOURCE_COUNT), np.nan, dtype=np.float32)
    for source, (found, own) in rankings.items():
        if found.size:
            by_row = np.argsort(found)
            at = np.minimum(np.searchsorted(found, rows, sorter=by_row), found.size - 1)
            place = by_row[at]
            has = found[place] == rows
            scores[has, source] = own[place[has]]
    return scores


def _popular(call: Call, allowed: RowMask | None, count: int) -> Candidates:
    none = np.zeros(0, dtype=np.int64)
    popular = from_popularity(call.deps.popularity, none, count + call.excluded_rows.size, allowed)
    candidates = stack([popular], count + call.excluded_rows.size)
    kept = np.flatnonzero(~np.isin(candidates.rows, call.excluded_rows))[:count]
    return candidates.taken(kept)
