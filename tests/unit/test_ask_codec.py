"""A question on the wire: every wrong field is named; every step becomes the message it should."""

import pytest

from serving.ask_codec import AnswerEncoder, question_of
from serving.assist.settings import MAX_CONTEXT
from serving.client_calls import AskFields
from serving.codec import Decoder
from serving.field_checks import InvalidFields
from serving.proto import recommendations_pb2 as pb
from tests.unit.asked_shop import TRUE_4, a_question, deps_of, said_by, steps_of
from tests.unit.searchable_shop import a_searchable_shop
from tests.unit.time_travel import START_MS

KEY = bytes(32)


def decoder(*, is_searchable: bool = True) -> Decoder:
    return Decoder("EUR", KEY, lambda: START_MS, lambda: "new-id", is_searchable=is_searchable)


def wrong_fields(request: pb.AskRequest, *, is_searchable: bool = True) -> dict[str, str]:
    with pytest.raises(InvalidFields) as refused:
        question_of(request, decoder(is_searchable=is_searchable))
    return dict(refused.value.violations)


def test_a_question_is_a_search_of_this_shopper() -> None:
    request = pb.AskRequest(
        question="a lamp?",
        user_id="ada",
        context_product_ids=["p1"],
        cart=[pb.CartItem(product_id="p2", quantity=1)],
        country="DE",
        filter="price < 50",
        strict_filtering=True,
        seed=7,
    )
    question = question_of(request, decoder())
    ask = question.ask
    assert (ask.query, ask.shopper, ask.context.placement) == ("a lamp?", "ada", "search")
    assert (ask.context_product_ids, ask.cart_product_ids) == (("p1",), ("p2",))
    assert ask.filter is not None
    assert (ask.strict_filtering, ask.request_id, question.seed) == (True, "new-id", 7)


def test_a_seed_is_drawn_where_none_is_given() -> None:
    seeds = {question_of(pb.AskRequest(question="a lamp?"), decoder()).seed for _ in range(5)}
    assert len(seeds) > 1


def test_every_wrong_field_is_named_as_it_is_called_here() -> None:
    request = pb.AskRequest(
        question="x" * 513,
        context_product_ids=[f"p{n}" for n in range(MAX_CONTEXT + 1)],
        currency="USD",
        filter="price <",
        deadline_ms=-1,
        seed=-1,
    )
    wrong = wrong_fields(request)
    assert set(wrong) == {
        *("question", "context_product_ids", "currency", "filter", "deadline_ms", "seed")
    }
    assert "513 bytes" in wrong["question"]
    assert "question" in wrong_fields(pb.AskRequest(question="  "))
    assert "control characters" in wrong_fields(pb.AskRequest(question="a\x00b"))["question"]
    not_searchable = wrong_fields(pb.AskRequest(question="lamps"), is_searchable=False)
    assert "no titles" in not_searchable["question"]


def test_an_answer_becomes_products_sentences_and_an_end() -> None:
    searchable = a_searchable_shop()
    writer = said_by((1, "It is blue."), (2, TRUE_4), (2, "It is of silk."))
    found, said, end = steps_of("red lamps", writer, searchable, context_product_ids=("p9",))
    deps = deps_of(searchable)
    encoder = AnswerEncoder(
        a_question(),
        deps.release.tables.catalogue,
        KEY,
        release="release-1",
        attribution_ttl_ms=1_000,
        texts={"p4": "v-1"},
    )
    products = encoder.encode(found).products
    assert [item.product_id for item in products.items] == ["p9", "p4", "p8", "p12", "p16"]
    assert (products.items[1].price_minor, products.items[1].stock) == (1_400, 9)
    assert [item.description_version for item in products.items[:2]] == ["", "v-1"]
    assert products.attribution_token
    assert (products.release, products.currency) == ("release-1", "EUR")
    assert 'colour = "red"' in products.search.filter
    first, second = (encoder.encode(each).sentence for each in said)
    assert (first.text, list(first.product_ids)) == ("It is blue.", ["p9"])
    assert ("colour", "red", "colour") in [(c.kind, c.text, c.attribute) for c in second.claims]
    finished = encoder.encode(end).finished
    assert (finished.outcome, finished.left_out) == (pb.ANSWERED, 1)
    assert dict(finished.left_out_reasons) == {"invented": 1}
    assert finished.stage_ms["total"] >= finished.stage_ms["finding"] > 0


def test_every_field_of_a_question_can_be_given_by_name() -> None:
    fields = {*AskFields.__annotations__, "question"}
    assert fields == set(pb.AskRequest.DESCRIPTOR.fields_by_name)
