"""Reply: from an answer's columns to protobuf, the only place where products become rows.

Shapes: N candidates, K shown products, S sources.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from serving.proto import recommendations_pb2 as pb
from serving.recommend.paging import check_release
from serving.recommend.request import Answer, Ask, CacheStatus, Degradation
from serving.search_reply import encode_search
from shop.candidates import Source, source_bits
from shop.catalogue import Catalogue
from shop.tokens import Attribution, encode_attribution, encode_page

_SOURCE_NAMES = tuple(source.name.lower() for source in Source)
# Why a product is there, by the sources that proposed it; the first of these decides.
_REASON_OF = (
    (Source.TWO_TOWER, pb.PERSONALISED),
    (Source.HISTORY, pb.PERSONALISED),
    (Source.TEXT, pb.MATCHED),
    (Source.LEXICAL, pb.MATCHED),
    (Source.USER_USER, pb.PERSONALISED),
    (Source.ITEM_ITEM, pb.SIMILAR),
    (Source.CONTENT, pb.SIMILAR),
    (Source.SEGMENT_POPULAR, pb.POPULAR),
    (Source.POPULAR, pb.POPULAR),
    (Source.FRESH, pb.NEW),
    (Source.EXPLORATION, pb.EXPLORATION),
)
NO_TEXTS: Mapping[str, str] = MappingProxyType({})
_BITS = range(1 << len(Source))
# Every combination of sources, by its bits: names, and the reason.
_NAMES_BY_BITS = tuple(
    tuple(name for source, name in enumerate(_SOURCE_NAMES) if bits >> source & 1) for bits in _BITS
)
_REASON_BY_BITS = tuple(
    next((reason for source, reason in _REASON_OF if bits >> source & 1), pb.REASON_UNSPECIFIED)
    for bits in _BITS
)


def encode_answer(
    answer: Answer,
    catalogue: Catalogue,
    token_key: bytes,
    *,
    attribution_ttl_ms: int,
    texts: Mapping[str, str] = NO_TEXTS,
) -> pb.RecommendResponse:
    """The whole reply. `texts` are the versions shown, by product id."""
    ask = answer.ask
    reply = pb.RecommendResponse(
        items=items_of(answer, catalogue),
        attribution_token=attribution_token_of(answer, token_key, ttl_ms=attribution_ttl_ms),
        degraded=degraded_of(answer),
        next_page_token=_next_page_token(answer, token_key),
        stage_ms=answer.stage_ms,
        cache_status=answer.cache.status.value,
        release=answer.release,
        missing_product_ids=answer.missing_product_ids,
        request_id=ask.request_id,
        currency=catalogue.currency,
        scored_count=answer.scored_count,
        relaxed=answer.relaxed,
    )
    if answer.search is not None:
        reply.search.CopyFrom(encode_search(answer.search))
    name_texts(reply.items, texts)
    if ask.explain:
        explain(reply.items, answer)
    if ask.return_fields:
        keep_fields(reply.items, ask.return_fields)
    return reply


def name_texts(items: Iterable[pb.RecommendedProduct], texts: Mapping[str, str]) -> None:
    """The version of its text that each product's page shows, where one is published."""
    if texts:
        for item in items:
            if version := texts.get(item.product_id):
                item.description_version = version


def attribution_token_of(answer: Answer, token_key: bytes, *, ttl_ms: int) -> str:
    """What events that follow from the slate are to hand back."""
    return encode_attribution(
        Attribution(
            request_id=answer.ask.request_id,
            release=answer.release,
            arms=(),
            expires_ms=answer.ask.context.now_ms + ttl_ms,
            rows=answer.slate.rows,
            propensities=answer.slate.propensities.astype(np.float32),
        ),
        token_key,
    )


def degraded_of(answer: Answer) -> list[pb.Degradation]:
    """What the answer lacks."""
    told = [pb.Degradation(stage=stage, reason=reason.value) for stage, reason in answer.degraded]
    if answer.searched_share < 1.0:
        for each in told:
            if each.reason == Degradation.PARTIAL_INDEX:
                each.searched_share = answer.searched_share
    return told


def encode_valid(ask: Ask, release: str, catalogue: Catalogue) -> pb.RecommendResponse:
    """The reply to a request that was only to be checked, and is right.

    Raises InvalidRequest if it asks for a page of another release.
    """
    if ask.page is not None:
        check_release(ask.page, release)
    return pb.RecommendResponse(
        release=release,
        missing_product_ids=ask.not_among(catalogue.row_of),
        request_id=ask.request_id,
        currency=catalogue.currency,
        cache_status=CacheStatus.BYPASS.value,
    )


def items_of(answer: Answer, catalogue: Catalogue) -> list[pb.RecommendedProduct]:
    """The slate's products as rows."""
    slate, offers, at = answer.slate, answer.offers, answer.slate.at
    has_stock = offers.stock_tracked[at] & offers.stock_known[at]
    columns = zip(
        catalogue.product_ids[slate.rows].tolist(),
        catalogue.titles[slate.rows].tolist(),
        slate.values.tolist(),
        offers.price_minor[at].tolist(),
        offers.list_price_minor[at].tolist(),
        offers.price_as_of_ms[at].tolist(),
        offers.stock[at].tolist(),
        offers.stock_as_of_ms[at].tolist(),
        has_stock.tolist(),
        source_bits(answer.proposed[at]).tolist(),
        slate.explored.tolist(),
        slate.promoted.tolist(),
        strict=True,
    )
    return [
        pb.RecommendedProduct(
            product_id=product_id,
            title=title,
            score=value,
            reason=_reason(sources, promoted=promoted, explored=explored, fallback=answer.fallback),
            sources=_NAMES_BY_BITS[sources],
            price_minor=price_minor,
            list_price_minor=list_price_minor,
            price_as_of_ms=price_as_of_ms,
            stock=stock if stock_is_known else None,
            stock_as_of_ms=stock_as_of_ms if stock_is_known else 0,
        )
        for (
            product_id,
            title,
            value,
            price_minor,
            list_price_minor,
            price_as_of_ms,
            stock,
            stock_as_of_ms,
            stock_is_known,
            sources,
            explored,
            promoted,
        ) in columns
    ]


def _reason(sources: int, *, promoted: bool, explored: bool, fallback: bool) -> "pb.Reason":
    if promoted:
        return pb.PROMOTED
    if explored:
        return pb.EXPLORATION
    if fallback:
        return pb.FALLBACK
    return _REASON_BY_BITS[sources]


def _next_page_token(answer: Answer, token_key: bytes) -> str:
    if answer.next_page is None:
        return ""
    return encode_page(answer.next_page, token_key, fingerprint=answer.ask.fingerprint())


def keep_fields(items: Iterable[pb.RecommendedProduct], wanted: Collection[str]) -> None:
    """Leaves the id and these fields."""
    dropped = [
        field.name
        for field in pb.RecommendedProduct.DESCRIPTOR.fields
        if field.name != "product_id" and field.name not in wanted
    ]
    for item in items:
        for name in dropped:
            item.ClearField(name)


def explain(items: Iterable[pb.RecommendedProduct], answer: Answer) -> None:
    """Fills the explanations of the slate's first products."""
    slate, scores, rules = answer.slate, answer.scores, answer.slate.rules
    for place, item in enumerate(items):
        at = int(slate.at[place])
        explanation = item.explanation
        if answer.ranked:
            explanation.expected_value_minor = float(slate.values[place])
        explanation.propensity = float(slate.propensities[place])
        explanation.rules.extend(rules[place])
        for source in Source:
            score = float(answer.candidates.source_scores[at, source])
            if not np.isnan(score):
                explanation.source_scores[_SOURCE_NAMES[source]] = score
        if scores is None:
            continue
        explanation.purchase = float(scores.purchase[at])
        if scores.click is not None:
            explanation.click = float(scores.click[at])
        if scores.cart is not None:
            explanation.cart = float(scores.cart[at])
        if scores.return_risk is not None:
            explanation.return_risk = float(scores.return_risk[at])
