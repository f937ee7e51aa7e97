"""Replacements: products to stand in for back-ordered ones that no other candidate is like.

Costs nothing unless a back-order rule holds and the supply system told of a risk. Most back-ordered
products have a neighbour among the candidates; for the others a few are fetched from the item–item
table, looked up like any candidate (from memory, as a rule) and ranked with them.

Shapes: N candidates, K neighbours of each product.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.candidates import Found
from serving.recommend.slate import is_inside, may_be_shown
from shop.active_rules import ActiveRules
from shop.blend import with_more
from shop.candidates import SOURCE_COUNT, Candidates, Source
from shop.offers import Offers
from shop.ruling import back_ordered, similar_offers

# The best back-ordered products of a list, and the neighbours asked about for each: one in eight
# products of the world is gone, so three are seldom all gone.
_PRODUCTS, _EACH = 10, 3


async def with_replacements(call: Call, found: Found, offers: Offers) -> tuple[Found, Offers]:
    """Candidates and offers, with stand-ins for what is back-ordered and unlike all others.

    They take the places of the last candidates, where there are as many as can be ranked.
    """
    rules = call.rules
    if rules is None or rules.back_orders is None or np.isnan(offers.backorder_risk).all():
        return found, offers
    wanted = _wanted(call, rules, offers)
    if len(wanted) == 0:
        return found, offers
    more = await call.deps.offers.look_up(
        wanted.rows,
        now_ms=call.ask.context.now_ms,
        within_s=call.within_s(call.deps.settings.budgets.lookups_ms),
        losses=call.losses,
    )
    fit = may_be_shown(call, more) & is_inside(call, more) & ~back_ordered(rules, more)
    at = np.flatnonzero(fit)
    kept = np.arange(min(len(offers), call.deps.settings.quotas.candidates - at.size))
    candidates = with_more(found.candidates.taken(kept), wanted.taken(at), at.size)
    return replace(found, candidates=candidates), offers.taken(kept).followed_by(more.taken(at))


def _wanted(call: Call, rules: ActiveRules, offers: Offers) -> Candidates:
    """Neighbours, none of them a candidate, of back-ordered products that lack one here."""
    neighbours = call.deps.release.tables.neighbours
    risky = back_ordered(rules, offers)
    served = similar_offers(offers.rows, risky, risky, neighbours)
    lacking = [at for at in np.flatnonzero(risky).tolist() if at not in served][:_PRODUCTS]
    lonely = offers.rows[lacking]
    rows = neighbours.rows[lonely, :_EACH].ravel().astype(np.int64)
    scores = neighbours.scores[lonely, :_EACH].ravel()
    fresh = _first_of_each(rows) & (rows > 0) & ~np.isin(rows, offers.rows)
    fresh &= ~np.isin(rows, call.excluded_rows)
    proposed = np.full((int(fresh.sum()), SOURCE_COUNT), np.nan, dtype=np.float32)
    proposed[:, Source.ITEM_ITEM] = scores[fresh]
    return Candidates(rows[fresh], proposed)


def _first_of_each(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    first = np.zeros(rows.size, dtype=np.bool_)
    first[np.unique(rows, return_index=True)[1]] = True
    return first
