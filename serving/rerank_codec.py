"""Rerank codec: from a `RerankRequest` to checked values, and from their answer to the reply."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.codec import Decoder
from serving.field_checks import FieldChecks, InvalidFields
from serving.proto import recommendations_pb2 as pb
from serving.recommend.rerank import LeftOutWhy, RerankAnswer, RerankAsk
from serving.reply import (
    NO_TEXTS,
    attribution_token_of,
    degraded_of,
    explain,
    items_of,
    keep_fields,
    name_texts,
)
from shop.catalogue import Catalogue

MAX_RERANKED = 500
MAX_SCORE = 1e12
MAX_SCORE_WEIGHT = 10.0
# Fields that mean the same in both requests.
_SHARED = (
    "placement",
    "visitor_id",
    "user_id",
    "session_id",
    "context_product_ids",
    "cart",
    "recent_events",
    "device",
    "country",
    "currency",
    "segment",
    "utc_offset_minutes",
    "page_size",
    "diversity",
    "explain",
    "deadline_ms",
    "boosts",
    "return_fields",
    "request_id",
)
_REASONS = {
    LeftOutWhy.SOLD_OUT: pb.LEFT_OUT_SOLD_OUT,
    LeftOutWhy.NO_PRICE: pb.LEFT_OUT_NO_PRICE,
    LeftOutWhy.BY_RULE: pb.LEFT_OUT_BY_RULE,
}


def rerank_ask(request: pb.RerankRequest, decoder: Decoder) -> RerankAsk:
    """Raises InvalidRequest, naming every field that is wrong."""
    shared = pb.RecommendRequest(**{name: getattr(request, name) for name in _SHARED})
    if not request.HasField("utc_offset_minutes"):
        shared.ClearField("utc_offset_minutes")
    checks = FieldChecks()
    try:
        ask = decoder.ask(shared)
    except InvalidFields as error:
        for field, reason in error.violations:
            checks.add(field, reason)
    ids = checks.different_ids("product_ids", request.product_ids, MAX_RERANKED)
    scores = _scores(checks, request)
    weight = checks.real("score_weight", request.score_weight, 0.0, MAX_SCORE_WEIGHT)
    if weight and scores is None:
        checks.add("score_weight", "does nothing without scores; give one for each product")
    if request.sold_out not in pb.SoldOut.values():
        checks.add("sold_out", f"is {request.sold_out}, must be one of {_named(pb.SoldOut)}")
    checks.raise_if_any()
    return RerankAsk(ask, ids, scores, weight, request.sold_out == pb.SOLD_OUT_LAST)


def _scores(checks: FieldChecks, request: pb.RerankRequest) -> NDArray[np.float64] | None:
    """[A]"""
    if not request.scores:
        return None
    if len(request.scores) != len(request.product_ids):
        found, needed = len(request.scores), len(request.product_ids)
        checks.add("scores", f"has {found} elements, needs {needed}, one for each product, or none")
        return None
    for at, score in enumerate(request.scores[:MAX_RERANKED]):
        checks.real(f"scores[{at}]", score, 0.0, MAX_SCORE)
    return np.array(request.scores, dtype=np.float64)


def _named(enum: type[pb.SoldOut]) -> str:
    return ", ".join(enum.keys())


def encode_reranked(
    reranked: RerankAnswer,
    catalogue: Catalogue,
    token_key: bytes,
    *,
    attribution_ttl_ms: int,
    texts: Mapping[str, str] = NO_TEXTS,
) -> pb.RerankResponse:
    """The whole reply. `texts` are the versions shown, by product id."""
    answer = reranked.answer
    items = items_of(answer, catalogue)
    name_texts(items, texts)
    for item in items[: reranked.ranked_count]:
        if item.reason != pb.PROMOTED:
            item.reason = pb.PERSONALISED if answer.ranked else pb.FALLBACK
    for item in items[reranked.ranked_count :]:
        item.reason = pb.FALLBACK
    if answer.ask.explain:
        explain(items[: reranked.ranked_count], answer)
    if answer.ask.return_fields:
        keep_fields(items, answer.ask.return_fields)
    left_out = reranked.left_out.items()
    return pb.RerankResponse(
        items=items,
        attribution_token=attribution_token_of(answer, token_key, ttl_ms=attribution_ttl_ms),
        degraded=degraded_of(answer),
        stage_ms=answer.stage_ms,
        release=answer.release,
        missing_product_ids=answer.missing_product_ids,
        left_out=[pb.LeftOut(product_id=name, reason=_REASONS[why]) for name, why in left_out],
        request_id=answer.ask.request_id,
        currency=catalogue.currency,
        scored_count=answer.scored_count,
    )


def told_of(reply: pb.RerankResponse) -> dict[str, Any]:
    """What the log's line about the request says."""
    return {
        "request_id": reply.request_id,
        "release": reply.release,
        "scored": reply.scored_count,
        "shown": len(reply.items),
        "left_out": len(reply.left_out),
        "stage_ms": {stage: round(ms, 2) for stage, ms in reply.stage_ms.items()},
        "degraded": [f"{lost.stage}:{lost.reason}" for lost in reply.degraded],
    }
