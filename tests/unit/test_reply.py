"""Answers become replies: what is shown, why, and the tokens that continue it."""

from dataclasses import replace

import numpy as np
import pytest

from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Ask
from serving.reply import encode_answer, encode_valid
from shop.blend import Quotas
from shop.candidates import BLENDED
from shop.errors import InvalidRequest
from shop.filters import parse_filter
from shop.merchandising import Boost, Promotion
from shop.tokens import decode_attribution, decode_page
from tests.unit.small_shop import PLAIN, SmallShop, a_catalogue, a_history, a_shop, an_ask
from tests.unit.test_codec import DECODER, KEY, a_request, wrong
from tests.unit.test_sources_beside import some_tables
from tests.unit.time_travel import START_MS


def test_a_reply_says_what_is_shown_and_why() -> None:
    shop = a_shop()
    shop.histories.of_shopper["ada"] = a_history("p7")
    shop.inventory.units |= {"p1": None, "p2": 4}
    shop.promotions.percent_off["p2"] = 50.0
    answer = shop.answer(an_ask(shopper="ada", page_size=20))
    catalogue = shop.deps.release.tables.catalogue
    reply = encode_answer(answer, catalogue, KEY, attribution_ttl_ms=1_000)
    items = {item.product_id: item for item in reply.items}
    first, second = items["p1"], items["p2"]
    assert (first.product_id, first.title) == ("p1", "Product 1")
    assert not first.HasField("stock")  # the shop does not count it
    assert (second.stock, second.price_minor, second.list_price_minor) == (4, 600, 1_200)
    assert second.reason == pb.PERSONALISED
    assert "two_tower" in second.sources
    assert reply.request_id == answer.ask.request_id
    assert (reply.currency, reply.cache_status) == ("EUR", "BYPASS")
    assert not second.HasField("explanation")


def test_a_reply_names_the_version_of_each_text_that_is_shown() -> None:
    shop = a_shop()
    catalogue = shop.deps.release.tables.catalogue
    texts = {"p1": "v-1", "p404": "v-2"}
    for fields, told in (((), "v-1"), (("description_version",), "v-1"), (("title",), "")):
        answer = shop.answer(an_ask(page_size=20, return_fields=frozenset(fields)))
        reply = encode_answer(answer, catalogue, KEY, attribution_ttl_ms=1_000, texts=texts)
        items = {item.product_id: item.description_version for item in reply.items}
        assert items.pop("p1") == told
        assert set(items.values()) == {""}


def test_a_reply_says_which_conditions_of_the_filter_were_given_up() -> None:
    shop = a_shop()
    asked = an_ask(filter='brand = "acme" AND price < 17', page_size=5)
    reply = encode_answer(
        shop.answer(asked), shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000
    )
    assert [item.product_id for item in reply.items] == ["p6", "p1", "p2", "p3", "p4"]
    assert list(reply.relaxed) == ["brand"]


def test_an_explanation_has_the_numbers_that_ordered_the_list() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(explain=True, page_size=2))
    reply = encode_answer(answer, shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000)
    explanation = reply.items[0].explanation
    assert explanation.expected_value_minor == reply.items[0].score
    assert explanation.purchase == pytest.approx(0.25)
    assert explanation.HasField("return_risk")
    assert explanation.propensity == 1.0
    assert explanation.source_scores["two_tower"] <= 1.0


def test_every_source_of_a_product_is_explained_with_its_own_score() -> None:
    shop = a_shop(sources=some_tables())
    shop.histories.of_shopper["u1"] = a_history("p13", segment="loyal")
    reply = reply_to(shop, an_ask(shopper="u1", explain=True, page_size=60))
    items = {item.product_id: item for item in reply.items}
    liked = items["p33"]  # like p13, and what loyal shoppers buy
    assert {"two_tower", "content", "segment_popular"} <= set(liked.sources)
    assert liked.explanation.source_scores["content"] == 1.0
    assert liked.explanation.source_scores["segment_popular"] == 1.0
    for item in reply.items:
        assert set(item.sources) == set(item.explanation.source_scores)


def test_what_only_its_arrival_speaks_for_is_called_new() -> None:
    none = {source.name.lower(): 0 for source in BLENDED}
    quotas = Quotas(**none | {"fresh": 5, "content": 5})
    shop = a_shop(sources=some_tables(), settings=replace(PLAIN, quotas=quotas))
    reply = reply_to(shop, an_ask(context_product_ids=("p7",)))
    assert {item.product_id: item.reason for item in reply.items} == {
        "p27": pb.SIMILAR,
        "p59": pb.NEW,
        "p60": pb.NEW,
    }


def test_a_head_without_labels_is_absent_not_zero() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(explain=True))
    assert answer.scores is not None
    without = replace(answer, scores=replace(answer.scores, click=None))
    reply = encode_answer(
        without, shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000
    )
    assert not reply.items[0].explanation.HasField("click")
    assert reply.items[0].explanation.HasField("cart")


def test_tokens_of_a_reply_hold_the_list() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(shopper="ada", page_size=5, filter="price < 50"))
    reply = encode_answer(answer, shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000)
    attribution = decode_attribution(reply.attribution_token, KEY, now_ms=START_MS)
    assert attribution.request_id == answer.ask.request_id
    assert attribution.rows.tolist() == answer.slate.rows.tolist()
    fingerprint = answer.ask.fingerprint()
    page = decode_page(reply.next_page_token, KEY, fingerprint=fingerprint, now_ms=START_MS)
    assert page.offset == 5
    again = DECODER.ask(
        a_request(user_id="ada", filter="price < 50", page_token=reply.next_page_token)
    )
    assert again.page is not None
    np.testing.assert_array_equal(again.page.rows, page.rows)


def reply_to(shop: SmallShop, ask: Ask) -> pb.RecommendResponse:
    return encode_answer(
        shop.answer(ask), shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000
    )


def test_a_page_token_belongs_to_its_boosts_and_promotions() -> None:
    boosts = (Boost(parse_filter("in_stock"), 2.0),)
    promotions = (Promotion(parse_filter("in_stock"), 20.0),)
    token = reply_to(a_shop(), an_ask(boosts=boosts, promotions=promotions)).next_page_token
    same = {
        "boosts": [pb.Boost(filter="in_stock", factor=2.0)],
        "promotions": [pb.Promotion(filter="in_stock", percent=20.0)],
    }
    assert DECODER.ask(a_request(page_token=token, **same)).page is not None
    for other in (
        {"boosts": [pb.Boost(filter="in_stock", factor=3.0)]},
        {"promotions": []},
        {"boosts": [], "promotions": []},
    ):
        assert list(wrong(page_token=token, **(same | other))) == ["page_token"]


def test_promoted_products_say_so_even_in_a_fallback() -> None:
    shop = a_shop()
    shop.tower.stalls = True
    asked = Promotion(parse_filter('brand = "acme"'), 20.0)
    reply = reply_to(shop, an_ask(promotions=(asked,), explain=True))
    marked = [item for item in reply.items if item.reason == pb.PROMOTED]
    assert [item.product_id for item in marked] == ["p6", "p12"]
    assert all("promotion" in item.explanation.rules for item in marked)


def test_only_the_fields_asked_for_are_filled_and_the_id() -> None:
    shop = a_shop()
    reply = reply_to(shop, an_ask(return_fields=frozenset({"title", "sources"}), explain=True))
    names = {field.name for field, _ in reply.items[0].ListFields()}
    assert names == {"product_id", "title", "sources"}
    everything = reply_to(shop, an_ask(explain=True)).items[0]
    assert {"explanation", "score", "price_minor"} <= {f.name for f, _ in everything.ListFields()}


def test_a_further_page_gives_reason_sources_and_value_but_no_probabilities() -> None:
    shop = a_shop()
    page = shop.answer(an_ask()).next_page
    reply = reply_to(shop, an_ask(page=page, explain=True))
    whole = reply_to(shop, an_ask(page_size=20, explain=True))
    for item, same in zip(reply.items, whole.items[10:], strict=True):
        assert (item.product_id, item.reason) == (same.product_id, same.reason)
        assert item.sources == same.sources != []
        assert item.explanation.expected_value_minor == pytest.approx(
            same.explanation.expected_value_minor
        )
        assert item.explanation.propensity == 1.0
        assert not item.explanation.HasField("purchase")
        assert not item.explanation.source_scores


def test_without_the_ranker_a_score_orders_but_no_value_is_claimed() -> None:
    shop = a_shop()
    shop.ranker.stalls = True
    first = reply_to(shop, an_ask(explain=True))
    page = shop.answer(an_ask()).next_page
    further = reply_to(shop, an_ask(page=page, explain=True))
    for reply in (first, further):
        assert reply.items[0].score > 0.0
        assert all(item.explanation.expected_value_minor == 0.0 for item in reply.items)
        assert [d.reason for d in reply.degraded] == ["NO_RANKING"]


def test_a_fallback_says_so() -> None:
    shop = a_shop()
    shop.tower.stalls = True
    answer = shop.answer(an_ask(page_size=3))
    reply = encode_answer(answer, shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000)
    assert {item.reason for item in reply.items} == {pb.FALLBACK}
    assert [(d.stage, d.reason) for d in reply.degraded] == [("candidates", "FALLBACK_CANDIDATES")]


def test_a_checked_request_shows_nothing() -> None:
    reply = encode_valid(an_ask(), "release-1", a_catalogue())
    assert (reply.release, reply.request_id, len(reply.items)) == ("release-1", "request-1", 0)


def test_a_checked_request_is_told_of_products_that_nobody_knows() -> None:
    ask = an_ask(cart_product_ids=("p1", "p999"), exclude_product_ids=frozenset({"p998"}))
    reply = encode_valid(ask, "release-1", a_catalogue())
    assert list(reply.missing_product_ids) == ["p999", "p998"]


def test_a_checked_request_for_a_page_of_another_release_is_refused() -> None:
    page = a_shop().answer(an_ask()).next_page
    ask = an_ask(page=page)
    assert encode_valid(ask, "release-1", a_catalogue()).release == "release-1"
    with pytest.raises(InvalidRequest, match="page_token: expired"):
        encode_valid(ask, "release-2", a_catalogue())
