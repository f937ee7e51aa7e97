"""Rerank: a list that the caller brings, in the order of this shopper's lists, nothing added."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from serving.deadline import Deadline
from serving.gateway import Gateway
from serving.proto import recommendations_pb2 as pb
from serving.recommend.rerank import RerankAnswer, RerankAsk, rerank
from serving.reply import NO_TEXTS
from serving.rerank_codec import encode_reranked, rerank_ask
from shop.errors import DependencyUnavailable
from shop.explore import ExplorationSettings
from shop.filters import parse_filter
from shop.merchandising import Boost
from shop.rules import Caps
from shop.tokens import decode_attribution
from tests.unit.coded import DECODER, KEY, violations
from tests.unit.rule_books import enforce
from tests.unit.small_shop import PLAIN, SmallShop, a_history, a_shop, an_ask
from tests.unit.test_gateway import Context, with_gateway
from tests.unit.time_travel import START_MS

GONE = DependencyUnavailable("twin", "switched off")


def an_order(
    shop: SmallShop,
    *product_ids: str,
    scores: list[float] | None = None,
    weight: float = 0.0,
    sold_out_last: bool = False,
    **asked: Any,
) -> RerankAnswer:
    ask = RerankAsk(
        an_ask(**asked),
        product_ids,
        None if scores is None else np.array(scores),
        weight,
        sold_out_last,
    )
    now = replace(ask.ask, context=replace(ask.ask.context, now_ms=shop.time.now_ms))

    async def run() -> RerankAnswer:
        deadline = Deadline(shop.time, start_s=shop.time(), total_s=1.0, reserve_s=0.005)
        return await rerank(replace(ask, ask=now), shop.deps, deadline)

    return shop.time.run(run())


def order_of(shop: SmallShop, *product_ids: str, **asked: Any) -> list[str]:
    return shop.shown(an_order(shop, *product_ids, **asked).answer)


def reply_to(
    shop: SmallShop, *product_ids: str, texts: Mapping[str, str] = NO_TEXTS, **asked: Any
) -> pb.RerankResponse:
    catalogue, order = shop.deps.release.tables.catalogue, an_order(shop, *product_ids, **asked)
    return encode_reranked(order, catalogue, KEY, attribution_ttl_ms=1_000, texts=texts)


def reasons(answer: RerankAnswer) -> list[tuple[str, str]]:
    return [(stage, reason.value) for stage, reason in answer.answer.degraded]


# The order


def test_a_list_comes_back_whole_in_the_order_of_its_values_and_nothing_is_added() -> None:
    assert order_of(a_shop(), "p9", "p3", "p30", "p1") == ["p1", "p3", "p9", "p30"]


def test_a_list_has_the_order_that_the_same_products_have_in_a_recommendation() -> None:
    shop = a_shop()
    shop.histories.of_shopper["ada"] = a_history("p7", "p20")
    ask = an_ask(shopper="ada", page_size=60, diversity=0.6, explain=True)
    listed = shop.answer(ask)
    ids = shop.shown(listed)
    again = an_order(shop, *reversed(ids), shopper="ada", page_size=60, diversity=0.6)
    assert shop.shown(again.answer) == ids
    np.testing.assert_allclose(again.answer.slate.values, listed.slate.values)


def test_a_list_names_the_version_of_each_text_that_is_shown() -> None:
    for fields, told in (((), "v-1"), (("description_version",), "v-1"), (("title",), "")):
        reply = reply_to(a_shop(), "p3", "p1", texts={"p1": "v-1"}, return_fields=frozenset(fields))
        assert [item.description_version for item in reply.items] == [told, ""]


def test_the_longest_list_is_ranked_whole() -> None:
    shop = a_shop(600)
    ids = [f"p{row}" for row in range(500, 0, -1)]
    answer = an_order(shop, *ids)
    assert shop.shown(answer.answer) == ids[::-1]
    assert answer.answer.scored_count == 500


def test_nothing_is_explored_and_no_cap_takes_a_product_away() -> None:
    busy = replace(
        PLAIN,
        caps=Caps(category_share=0.1, brand_share=0.1),
        exploration=ExplorationSettings(epsilon=0.99),
    )
    shop = a_shop(settings=busy)
    ids = [f"p{row}" for row in range(1, 41)]
    answer = an_order(shop, *ids).answer
    assert sorted(shop.shown(answer)) == sorted(ids)
    assert not answer.slate.explored.any()
    assert (answer.slate.propensities == 1.0).all()


def test_what_the_cart_holds_or_the_page_is_about_stays_in_the_list() -> None:
    shop = a_shop()
    kept = order_of(shop, "p2", "p1", cart_product_ids=("p1",), context_product_ids=("p2",))
    assert kept == ["p1", "p2"]


def test_boosts_count_as_in_any_list() -> None:
    boost = Boost(parse_filter('category = "rugs"'), 50.0)  # p2, p6, …
    assert order_of(a_shop(), "p1", "p3", "p6", boosts=(boost,)) == ["p6", "p1", "p3"]


# The caller's scores


def test_scores_say_nothing_in_the_order_without_a_weight() -> None:
    assert order_of(a_shop(), "p1", "p3", scores=[0.1, 9.0]) == ["p1", "p3"]


def test_a_weight_gives_scores_their_say() -> None:
    shop = a_shop()
    value = dict(zip(("p1", "p2", "p3"), an_order(shop, "p1", "p2", "p3").answer.slate.values))  # noqa: B905
    reply = an_order(shop, "p1", "p2", "p3", scores=[2.0, 8.0, 4.0], weight=1.0)
    found = dict(zip(shop.shown(reply.answer), reply.answer.slate.values.tolist(), strict=True))
    assert found["p2"] == pytest.approx(value["p2"])
    assert found["p3"] == pytest.approx(value["p3"] / 2)
    assert found["p1"] == pytest.approx(value["p1"] / 4)
    assert order_of(shop, "p1", "p3", scores=[0.0, 1.0], weight=0.5) == ["p3", "p1"]


def test_scores_that_are_all_zero_leave_the_values_alone() -> None:
    assert order_of(a_shop(), "p3", "p1", scores=[0.0, 0.0], weight=1.0) == ["p1", "p3"]


def test_without_the_ranker_the_list_has_the_order_of_its_scores_or_that_it_came_in() -> None:
    shop = a_shop()
    shop.ranker.failure = GONE
    answer = an_order(shop, "p9", "p3", "p30", scores=[1.0, 3.0, 2.0], weight=1.0)
    assert shop.shown(answer.answer) == ["p3", "p30", "p9"]
    assert reasons(answer) == [("ranking", "NO_RANKING")]
    reply = reply_to(shop, "p9", "p3")
    assert [(item.product_id, item.reason) for item in reply.items] == [
        ("p9", pb.FALLBACK),
        ("p3", pb.FALLBACK),
    ]


def test_without_the_user_tower_the_list_is_still_ranked_and_says_so() -> None:
    shop = a_shop()
    shop.tower.failure = GONE
    answer = an_order(shop, "p3", "p1")
    assert shop.shown(answer.answer) == ["p1", "p3"]
    assert reasons(answer) == [("candidates", "NO_USER_VECTOR")]


def test_a_stalled_tower_costs_its_budget_and_the_look_ups_no_time() -> None:
    shop = a_shop()
    shop.tower.stalls = True
    an_order(shop, "p3", "p1")
    budget_s = shop.deps.settings.budgets.tower_ms / 1_000
    assert shop.time.now_s == pytest.approx(budget_s, abs=0.002)


# What is not in the list


def test_unknown_sold_out_unpriced_and_excluded_products_are_named_each_with_its_reason() -> None:
    shop = a_shop()
    shop.inventory.units |= {"p2": 0, "p5": 0}
    del shop.pricing.price_minor["p4"]
    enforce(shop, 'kind = "exclude"\nproducts = ["p3", "p5"]')
    reply = reply_to(shop, "p5", "nobody", "p4", "p3", "p2", "p1", cart_product_ids=("none",))
    assert [item.product_id for item in reply.items] == ["p1"]
    assert list(reply.missing_product_ids) == ["nobody", "none"]
    assert [(each.product_id, each.reason) for each in reply.left_out] == [
        ("p5", pb.LEFT_OUT_BY_RULE),
        ("p4", pb.LEFT_OUT_NO_PRICE),
        ("p3", pb.LEFT_OUT_BY_RULE),
        ("p2", pb.LEFT_OUT_SOLD_OUT),
    ]


def test_sold_out_products_stay_behind_all_others_where_the_caller_wants_that() -> None:
    shop = a_shop()
    shop.inventory.units |= {"p2": 0, "p1": 0, "p5": 0}
    enforce(shop, 'kind = "exclude"\nproducts = ["p5"]')
    reply = reply_to(shop, "p5", "p2", "p9", "p1", "p3", sold_out_last=True, explain=True)
    assert [item.product_id for item in reply.items] == ["p3", "p9", "p2", "p1"]
    assert [item.stock for item in reply.items] == [9, 9, 0, 0]
    assert [item.price_minor for item in reply.items] == [1_300, 1_900, 1_200, 1_100]
    assert [item.reason for item in reply.items] == [pb.PERSONALISED] * 2 + [pb.FALLBACK] * 2
    assert [item.HasField("explanation") for item in reply.items] == [True, True, False, False]
    assert reply.items[0].explanation.purchase == pytest.approx(1 / 16)
    assert [each.product_id for each in reply.left_out] == ["p5"]
    assert reply.scored_count == 2


def test_a_list_of_which_nothing_can_be_sold_is_empty_and_no_error() -> None:
    shop = a_shop()
    shop.inventory.units["p1"] = 0
    reply = reply_to(shop, "p1", "nobody")
    assert (len(reply.items), reply.scored_count) == (0, 0)
    last = reply_to(shop, "p1", "nobody", sold_out_last=True)
    assert [item.product_id for item in last.items] == ["p1"]


def test_a_lost_system_is_named_and_what_is_known_to_be_gone_stays_out() -> None:
    shop = a_shop()
    shop.inventory.units["p1"] = 0
    assert order_of(shop, "p1", "p2") == ["p2"]
    shop.inventory.failure = GONE
    shop.time.pass_ms(10_000)
    answer = an_order(shop, "p1", "p2")
    assert shop.shown(answer.answer) == ["p2"]
    assert ("lookups", "STALE_STOCK") in reasons(answer)


# What is logged and signed


def test_one_page_is_logged_as_shown_and_the_token_holds_the_whole_list() -> None:
    shop = a_shop()
    ids = [f"p{row}" for row in range(1, 31)]
    reply = reply_to(shop, *ids, page_size=10)
    (impression,) = shop.log.impressions
    assert list(impression.product_ids) == ids[:10]
    token = decode_attribution(reply.attribution_token, KEY, now_ms=START_MS)
    assert token.rows.tolist() == list(range(1, 31))
    assert token.request_id == impression.request_id == "request-1"


def test_pins_among_the_products_lead_and_others_are_not_brought_in() -> None:
    shop = a_shop()
    enforce(
        shop,
        'kind = "pin"\nproduct = "p30"\nposition = 1',
        'kind = "pin"\nproduct = "p40"\nposition = 2',
    )
    reply = reply_to(shop, "p1", "p30", "p2", explain=True)
    assert [item.product_id for item in reply.items] == ["p30", "p1", "p2"]
    assert reply.items[0].reason == pb.PROMOTED
    assert "pin:r1" in reply.items[0].explanation.rules


# The request


def asked(**fields: Any) -> RerankAsk:
    usual: dict[str, Any] = {"placement": "search", "product_ids": ["p1", "p2"]}
    return rerank_ask(pb.RerankRequest(**(usual | fields)), DECODER)


def test_every_field_of_a_request_arrives() -> None:
    ask = asked(
        user_id="ada",
        session_id="s",
        country="DE",
        device="mobile",
        page_size=30,
        cart=[pb.CartItem(product_id="p9")],
        recent_events=[pb.RecentEvent(type="click", product_id="p3")],
        boosts=[pb.Boost(filter="price < 5", factor=2.0)],
        scores=[1.0, 0.5],
        score_weight=2.0,
        sold_out=pb.SOLD_OUT_LAST,
        return_fields=["title"],
        explain=True,
    )
    assert ask.product_ids == ("p1", "p2")
    assert ask.scores is not None
    assert ask.scores.tolist() == [1.0, 0.5]
    assert (ask.score_weight, ask.sold_out_last) == (2.0, True)
    assert (ask.ask.shopper, ask.ask.page_size, ask.ask.explain) == ("ada", 30, True)
    assert (ask.ask.context.placement, ask.ask.context.country) == ("search", "DE")
    assert (ask.ask.cart_product_ids, len(ask.ask.recent_events)) == (("p9",), 1)
    assert (len(ask.ask.boosts), ask.ask.return_fields) == (1, {"title"})


def test_a_request_shares_every_field_that_it_names_as_a_recommendation_does() -> None:
    from serving.rerank_codec import _SHARED

    ours = {field.name for field in pb.RerankRequest.DESCRIPTOR.fields}
    theirs = {field.name for field in pb.RecommendRequest.DESCRIPTOR.fields}
    assert set(_SHARED) == ours & theirs


@pytest.mark.parametrize(
    ("fields", "field", "part"),
    [
        ({"product_ids": []}, "product_ids", "names no product"),
        ({"product_ids": [f"p{n}" for n in range(501)]}, "product_ids", "at most 500"),
        ({"product_ids": ["p1", "p1"]}, "product_ids[1]", "named before"),
        ({"product_ids": ["p1", ""]}, "product_ids[1]", "is required"),
        ({"scores": [1.0]}, "scores", "needs 2, one for each product"),
        ({"scores": [1.0, float("nan")]}, "scores[1]", "must be 0 to"),
        ({"scores": [-1.0, 1.0]}, "scores[0]", "must be 0 to"),
        ({"scores": [1.0, 1.0], "score_weight": 11.0}, "score_weight", "must be 0 to 10"),
        ({"score_weight": 1.0}, "score_weight", "does nothing without scores"),
        ({"sold_out": 7}, "sold_out", "SOLD_OUT_LEAVE_OUT, SOLD_OUT_LAST"),
        ({"placement": "attic"}, "placement", "must be one of"),
        ({"currency": "USD"}, "currency", "must be the shop's"),
        ({"return_fields": ["colour"]}, "return_fields[0]", "must be one of"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(
    fields: dict[str, Any], field: str, part: str
) -> None:
    assert part in violations(lambda: asked(**fields))[field]


def test_everything_wrong_is_told_at_once() -> None:
    found = violations(lambda: asked(placement="attic", product_ids=[], diversity=2.0))
    assert set(found) == {"placement", "product_ids", "diversity"}


def test_only_the_fields_asked_for_are_filled() -> None:
    reply = reply_to(a_shop(), "p1", return_fields=frozenset({"title"}))
    assert reply.items[0] == pb.RecommendedProduct(product_id="p1", title="Product 1")


def test_the_gateway_answers_and_counts_it() -> None:
    async def use(gateway: Gateway) -> None:
        request = pb.RerankRequest(placement="search", product_ids=["p3", "p1"])
        reply = await gateway.Rerank(request, Context())
        assert [item.product_id for item in reply.items] == ["p1", "p3"]
        assert set(reply.stage_ms) >= {"tower", "lookups", "ranking", "slate", "total"}
        refused = Context()
        await gateway.Rerank(pb.RerankRequest(placement="search"), refused)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "product_ids: names no product" in refused.details
        counted = gateway._service.telemetry.registry.get_sample_value
        for code in ("OK", "INVALID_ARGUMENT"):
            labels = {"method": "Rerank", "code": code}
            assert counted("vitrine_requests_total", labels) == 1.0

    with_gateway(use)


@pytest.mark.parametrize(("given", "offset"), [({}, 345), ({"utc_offset_minutes": 0}, 0)])
def test_without_an_offset_the_hour_is_the_shop_s(given: dict[str, int], offset: int) -> None:
    decoder = replace(DECODER, time_zone="Asia/Kathmandu")
    request = pb.RerankRequest(placement="search", product_ids=["p1"], **given)
    assert rerank_ask(request, decoder).ask.context.utc_offset_minutes == offset
