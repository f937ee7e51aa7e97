"""Slate: which offers may be shown, what each is worth, and the order that follows.

Shapes: N candidates looked up, M of them eligible.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.candidates import Found
from serving.recommend.filtering import relaxed_steps
from shop.candidates import Candidates, Source
from shop.fusion import relevance as relevance_of
from shop.merchandising import boost_factors, boosted, promotable
from shop.offers import Offers
from shop.rules import is_eligible
from shop.ruling import Ruling, is_excluded, rule_on
from shop.scoring import Scores, expected_value
from shop.slate import Contenders, Slate, Wishes, arrange


def keep_eligible(call: Call, found: Found, offers: Offers) -> tuple[Found, Offers]:
    """`found` with the candidates that may be shown, as many as are ranked, and their offers."""
    places = np.flatnonzero(may_be_shown(call, offers))[: call.deps.settings.quotas.candidates]
    eligible = replace(found, candidates=found.candidates.taken(places))
    return eligible, offers.taken(places)


def may_be_shown(call: Call, offers: Offers) -> NDArray[np.bool_]:
    """[N] sellable now, not excluded by the caller or a rule, inside a strict filter."""
    eligible = is_eligible(
        offers,
        excluded_rows=call.excluded_rows,
        sell_unknown_stock=call.deps.settings.offers.sell_unknown_stock,
    )
    if call.rules is not None:
        eligible &= ~is_excluded(call.rules, offers)
    return eligible & is_inside(call, offers) if call.ask.strict_filtering else eligible


def arrange_slate(
    call: Call,
    found: Found,
    offers: Offers,
    scores: Scores | None,
    *,
    relevance: NDArray[np.float64] | None = None,
) -> Slate:
    """The whole order, by expected value or, if nothing was ranked, retrieval; rules applied.

    relevance [N], if given, is how often each expected value counts.
    """
    ask, candidates = call.ask, found.candidates
    catalogue, settings = call.deps.release.tables.catalogue, call.deps.settings
    inside = is_inside(call, offers)
    contenders = Contenders(
        rows=candidates.rows,
        values=(
            _retrieval_values(len(candidates))
            if scores is None
            else _weighed(expected_value(scores, offers, settings.value), relevance)
        ),
        categories=catalogue.category_codes[candidates.rows],
        brands=catalogue.brand_codes[candidates.rows],
        inside=inside,
        explorable=candidates.proposed[:, Source.EXPLORATION],
        factors=_factors(call, candidates, offers),
        promotable=promotable(ask.promotions, offers, catalogue),
        ruling=_ruling(call, offers),
        relaxed=relaxed_steps(call, offers, inside),
    )
    wishes = Wishes(
        page_size=ask.page_size,
        diversity=ask.diversity,
        caps=settings.caps,
        exploration=settings.exploration,
        promoted_slots=tuple(each.slots(ask.page_size) for each in ask.promotions),
    )
    return arrange(contenders, wishes, call.generator)


def _weighed(
    values: NDArray[np.float64], relevance: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    return values if relevance is None else boosted(values, relevance)


def _factors(call: Call, candidates: Candidates, offers: Offers) -> NDArray[np.float64]:
    """[N] what values are multiplied by: the caller's boosts and, in a search, relevance."""
    factors = boost_factors(call.ask.boosts, offers, call.deps.release.tables.catalogue)
    if call.search is not None and call.search.words and call.search.orders_by_relevance:
        by_query = candidates.source_scores[:, [Source.TEXT, Source.LEXICAL]]
        factors *= relevance_of(by_query, call.deps.settings.search.relevance_power)
    return factors


def _ruling(call: Call, offers: Offers) -> Ruling | None:
    if call.rules is None or not call.rules.orders:
        return None
    neighbours = call.deps.release.tables.neighbours
    return rule_on(call.rules, offers, neighbours, explain=call.ask.explain)


def is_inside(call: Call, offers: Offers) -> NDArray[np.bool_]:
    if call.ask.filter is None:
        return np.ones(len(offers), dtype=np.bool_)
    return call.ask.filter.admits(offers, call.deps.release.tables.catalogue)


def _retrieval_values(count: int) -> NDArray[np.float64]:
    """From 1 down towards 0: an order, not a worth."""
    return 1.0 - np.arange(count) / max(1, count)
