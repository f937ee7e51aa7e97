"""Rerank: the products of a list that the caller brings, in the order of this shopper's lists.

The stages are those of `pipeline.recommend`; only where candidates come from differs. As they are
known from the start, look-ups and user tower work side by side, and nothing is added: no source, no
exploration, no replacement from outside the list.

Shapes: A products brought along, N of them known.
"""

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from serving.deadline import Deadline
from serving.recommend.beside import item_item_scores
from serving.recommend.call import Call, Deps
from serving.recommend.candidates import Found, vector_of
from serving.recommend.feedback import log_impression
from serving.recommend.history import read_history
from serving.recommend.ranking import rank
from serving.recommend.request import Answer, Ask, Degradation, Stage
from serving.recommend.slate import arrange_slate, may_be_shown
from shop.candidates import SOURCE_COUNT, Candidates
from shop.features import ShopperFeatures, shopper_features
from shop.merchandising import LEAST_FACTOR
from shop.offers import Offers
from shop.ruling import is_excluded
from shop.slate import Slate


@dataclass(frozen=True, slots=True, eq=False)
class RerankAsk:
    """One checked request."""

    ask: Ask  # whose page size is what rules about pages count by
    product_ids: tuple[str, ...]  # [A] each once
    scores: NDArray[np.float64] | None  # [A] 0 or more; None: the caller gave none
    score_weight: float
    sold_out_last: bool  # else left out


class LeftOutWhy(StrEnum):
    """Why a product that the catalogue knows is not in the reply."""

    SOLD_OUT = "sold_out"
    NO_PRICE = "no_price"
    BY_RULE = "by_rule"


@dataclass(frozen=True, slots=True, eq=False)
class RerankAnswer:
    """Everything the codec needs to write a reply."""

    answer: Answer  # all of them, as one page
    ranked_count: int  # places of the slate behind it are products that are sold out
    left_out: dict[str, LeftOutWhy]  # by product id, in the caller's order


async def rerank(ask: RerankAsk, deps: Deps, deadline: Deadline) -> RerankAnswer:
    """The list that was brought, in order. What is lost on the way is named, never raised.

    Raises DependencyTimeout before the next stage once the client's own deadline has passed.
    """
    # What the page is about or the cart holds stays where the caller shows it.
    call = replace(Call.of(ask.ask, deps, deadline), excluded_rows=np.zeros(0, dtype=np.int64))
    with call.begun(Stage.HISTORY):
        past = await read_history(call)
    with call.begun(Stage.FEATURES):
        features = shopper_features(past.history, past.context, deps.release.tables.schema)
    brought, relevance = _in_order(ask, deps)
    async with asyncio.TaskGroup() as both:
        vector = both.create_task(_vector(call, features))
        offered = both.create_task(_offers(call, brought.rows))
    item_item = item_item_scores(call, past.history)
    found = Found(brought, vector.result(), item_item, fallback=False)
    offers = offered.result()

    eligible = may_be_shown(call, offers)
    kept = np.flatnonzero(eligible)
    fit, sellable = replace(found, candidates=brought.taken(kept)), offers.taken(kept)
    with call.begun(Stage.RANKING):
        scores = await rank(call, past, features, fit, sellable)
    with call.begun(Stage.SLATE):
        order = arrange_slate(call, fit, sellable, scores, relevance=relevance[kept])

    gone = np.flatnonzero(_is_gone(call, offers, eligible)) if ask.sold_out_last else kept[:0]
    answer = Answer(
        ask=ask.ask,
        release=deps.release.tables.release,
        first_position=1,
        slate=_followed_by(order, offers.rows[gone]),
        candidates=brought.taken(np.concatenate([kept, gone])),
        proposed=brought.proposed[np.concatenate([kept, gone])],
        offers=sellable.followed_by(offers.taken(gone)),
        scores=scores,
        degraded=tuple(call.losses.found),
        stage_ms=call.stage_ms(),
        next_page=None,
        missing_product_ids=_missing(ask, call),
        scored_count=0 if scores is None else kept.size,
        fallback=False,
    )
    # One page is what a shopper sees; the caller logs impressions of further pages as events.
    shown = replace(answer, slate=order.first(ask.ask.page_size))
    log_impression(call, shown, past, features)
    return RerankAnswer(answer, kept.size, _left_out(ask, call, offers, _without(eligible, gone)))


def _in_order(ask: RerankAsk, deps: Deps) -> tuple[Candidates, NDArray[np.float64]]:
    """[N] what the catalogue knows, in the caller's order, and how often each value counts."""
    rows = deps.release.tables.catalogue.rows_of(list(ask.product_ids))
    counts = np.ones(rows.size)
    order = np.arange(rows.size)
    if ask.scores is not None:
        order = np.argsort(-ask.scores, kind="stable")
        highest = float(ask.scores.max(initial=0.0))
        if highest > 0.0:
            counts = np.maximum((ask.scores / highest) ** ask.score_weight, LEAST_FACTOR)
    order = order[rows[order] > 0]
    unscored = np.full((order.size, SOURCE_COUNT), np.nan, dtype=np.float32)
    return Candidates(rows[order], unscored), counts[order]


async def _vector(call: Call, features: ShopperFeatures) -> NDArray[np.float32] | None:
    with call.timed(Stage.TOWER):
        return await vector_of(call, features, lost=Degradation.NO_USER_VECTOR)


async def _offers(call: Call, rows: NDArray[np.int64]) -> Offers:
    with call.timed(Stage.LOOKUPS):
        return await call.deps.offers.look_up(
            rows,
            now_ms=call.ask.context.now_ms,
            within_s=call.within_s(call.deps.settings.budgets.lookups_ms),
            losses=call.losses,
        )


def _by_rule(call: Call, offers: Offers) -> NDArray[np.bool_]:
    if call.rules is None:
        return np.zeros(len(offers), dtype=np.bool_)
    return is_excluded(call.rules, offers)


def _is_gone(call: Call, offers: Offers, eligible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[N] nothing but the stock is against showing it."""
    return np.asarray(~eligible & offers.price_known & ~_by_rule(call, offers), dtype=np.bool_)


def _followed_by(order: Slate, rows: NDArray[np.int64]) -> Slate:
    """`order`, then these rows, which nothing moved and nobody scored."""
    more = rows.size
    return Slate(
        rows=np.concatenate([order.rows, rows]),
        at=np.concatenate([order.at, len(order) + np.arange(more)]),
        values=np.concatenate([order.values, np.zeros(more)]),
        propensities=np.concatenate([order.propensities, np.ones(more)]),
        moved=np.concatenate([order.moved, np.zeros(more, dtype=np.uint8)]),
        marks=order.marks,
    )


def _missing(ask: RerankAsk, call: Call) -> tuple[str, ...]:
    known = call.deps.release.tables.catalogue.row_of
    brought = (name for name in ask.product_ids if name not in known)
    return tuple(dict.fromkeys((*brought, *call.missing_product_ids())))


def _left_out(
    ask: RerankAsk, call: Call, offers: Offers, at: NDArray[np.intp]
) -> dict[str, LeftOutWhy]:
    """Why the offers at these places are not in the reply."""
    if at.size == 0:
        return {}
    ids = call.deps.release.tables.catalogue.product_ids[offers.rows[at]].tolist()
    why = np.where(offers.price_known[at], LeftOutWhy.SOLD_OUT, LeftOutWhy.NO_PRICE)
    why = np.where(_by_rule(call, offers)[at], LeftOutWhy.BY_RULE, why)
    found = dict(zip(ids, map(LeftOutWhy, why.tolist()), strict=True))
    return {name: found[name] for name in ask.product_ids if name in found}


def _without(eligible: NDArray[np.bool_], gone: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.setdiff1d(np.flatnonzero(~eligible), gone)
