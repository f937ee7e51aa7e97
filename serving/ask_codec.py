"""Ask codec: from an `AskRequest` to a checked question, and from an answer's steps to messages."""

import secrets
from collections.abc import Mapping
from typing import Any

from serving.assist.settings import MAX_CONTEXT
from serving.assist.steps import Finished, Found, Question, Step
from serving.codec import Decoder
from serving.field_checks import MAX_QUERY_BYTES, FieldChecks, InvalidFields
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Answer
from serving.reply import encode_answer, items_of, name_texts
from shop.asking.judging import Judged
from shop.catalogue import Catalogue

_MAX_SEED = 0x7FFF_FFFF
# Fields that mean the same in a `RecommendRequest`.
_SHARED = (
    "visitor_id",
    "user_id",
    "session_id",
    "context_product_ids",
    "cart",
    "device",
    "country",
    "currency",
    "segment",
    "filter",
    "strict_filtering",
    "deadline_ms",
    "request_id",
)


def question_of(request: pb.AskRequest, decoder: Decoder) -> Question:
    """Raises InvalidRequest, naming every field that is wrong."""
    shared = pb.RecommendRequest(
        placement="search",
        query=request.question,
        **{name: getattr(request, name) for name in _SHARED},
    )
    checks = FieldChecks()
    ask = None
    try:
        ask = decoder.ask(shared)
    except InvalidFields as error:
        for field, reason in error.violations:
            checks.add("question" if field == "query" else field, reason)
    if not request.question.strip():
        checks.add("question", f"is required; at most {MAX_QUERY_BYTES} bytes")
    checks.count("context_product_ids", len(request.context_product_ids), MAX_CONTEXT)
    seed = request.seed if request.HasField("seed") else secrets.randbelow(_MAX_SEED)
    checks.whole("seed", seed, 0, _MAX_SEED)
    checks.raise_if_any()
    if ask is None:
        raise ValueError("a request without a violation was refused")
    return Question(ask, seed)


class AnswerEncoder:
    """Writes the messages of one answer."""

    def __init__(
        self,
        question: Question,
        catalogue: Catalogue,
        token_key: bytes,
        *,
        release: str,
        attribution_ttl_ms: int,
        texts: Mapping[str, str],
    ) -> None:
        self._question = question
        self._catalogue = catalogue
        self._token_key = token_key
        self._release = release
        self._attribution_ttl_ms = attribution_ttl_ms
        self._texts = texts

    def encode(self, step: Step) -> pb.AskResponse:
        """One step of an answer as one message."""
        match step:
            case Found():
                return pb.AskResponse(products=self._products(step))
            case Judged():
                return pb.AskResponse(sentence=_sentence(step))
            case Finished():
                return pb.AskResponse(finished=_finished(step))

    def _products(self, found: Found) -> pb.AskedProducts:
        message = pb.AskedProducts(
            release=self._release,
            request_id=self._question.ask.request_id,
            currency=self._catalogue.currency,
        )
        if found.about is not None:
            message.items.extend(items_of(found.about, self._catalogue))
        if found.search is not None:
            self._add_found(message, found.search)
        name_texts(message.items, self._texts)
        return message

    def _add_found(self, message: pb.AskedProducts, search: Answer) -> None:
        reply = encode_answer(
            search,
            self._catalogue,
            self._token_key,
            attribution_ttl_ms=self._attribution_ttl_ms,
        )
        message.items.extend(reply.items)
        message.attribution_token = reply.attribution_token
        message.degraded.extend(reply.degraded)
        message.missing_product_ids.extend(reply.missing_product_ids)
        message.search.CopyFrom(reply.search)


def _sentence(judged: Judged) -> pb.AnswerSentence:
    return pb.AnswerSentence(
        text=judged.text,
        product_ids=[judged.product_id],
        claims=[
            pb.GroundedClaim(kind=each.kind.value, text=each.text, attribute=each.attribute)
            for each in judged.claims
        ],
    )


def _finished(step: Finished) -> pb.FinishedAnswer:
    return pb.FinishedAnswer(
        outcome=step.outcome.value,
        left_out=sum(step.left_out.values()),
        left_out_reasons=dict(step.left_out),
        untold=step.untold,
        model_version=step.model_version,
        prompt_version=step.prompt_version,
        stage_ms=dict(step.stage_ms),
    )


def told_of(question: Question, step: Finished) -> dict[str, Any]:
    """What the log's line about the call says; never the question itself."""
    return {
        "request_id": question.ask.request_id,
        "outcome": step.outcome.value,
        "left_out": dict(step.left_out),
        "model": step.model_version,
        "stage_ms": {stage: round(ms, 2) for stage, ms in step.stage_ms.items()},
    }
