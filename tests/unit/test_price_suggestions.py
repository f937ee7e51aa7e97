"""SuggestPrice from the door to the feeds' twins: every answer whole, every loss named."""

import asyncio
from dataclasses import replace

import grpc
import numpy as np
import pytest

from serving.codec import MAX_PRICES, Decoder
from serving.deadline import Deadline
from serving.field_checks import InvalidFields
from serving.gateway import Gateway
from serving.price_reply import encode_prices
from serving.proto import recommendations_pb2 as pb
from serving.recommend.lookups import OfferCache
from serving.recommend.price_settings import PricingSettings
from serving.recommend.prices import PriceAnswer, PriceAsk, PriceFailure, suggest
from serving.recommend.request import Degradation
from serving.settings import DoorSettings
from shop.errors import DependencyUnavailable
from shop.pricing import Outcome
from tests.unit.small_shop import PLAIN, SmallShop, a_shop, an_ask
from tests.unit.test_gateway import Context, with_gateway

LOST = DependencyUnavailable("feed", "switched off")


def a_market() -> SmallShop:
    """p10 sells for 20.00 here and 22.00 elsewhere; it costs 5.00, which -4/3 makes 20.00 again."""
    shop = a_shop()
    shop.competitors.offers = {"p10": [(2_200.0, 0.0), (2_190.0, 1_000.0), (2_300.0, 0.0)]}
    shop.demand.forecasts = {"p10": (0.2, -4.0 / 3.0)}
    return shop


def asked(shop: SmallShop, *product_ids: str, total_s: float = 0.5) -> PriceAnswer:
    async def ask() -> PriceAnswer:
        deadline = Deadline(shop.time, start_s=shop.time(), total_s=total_s, reserve_s=0.005)
        return await suggest(PriceAsk("r1", product_ids, shop.time.now_ms), shop.deps, deadline)

    return shop.time.run(ask())


def reply_to(shop: SmallShop, *product_ids: str) -> pb.SuggestPriceResponse:
    catalogue = shop.deps.release.tables.catalogue
    return encode_prices(asked(shop, *product_ids), catalogue, shop.deps.settings.pricing)


def lost(answer: PriceAnswer) -> set[Degradation]:
    return {reason for _, reason in answer.degraded}


def test_a_suggestion_comes_with_reasons_limits_and_the_age_of_every_input() -> None:
    (suggestion,) = reply_to(a_market(), "p10").suggestions
    assert suggestion.outcome == pb.PRICE_CHANGE
    assert suggestion.current_price_minor == 2_000
    assert 2_000 < suggestion.price_minor <= 2_100
    assert suggestion.price_minor % 10 == 9
    drivers = {r.name: r.state for r in suggestion.reasons if r.kind == "driver"}
    assert drivers == {"competitors": "used", "demand": "used", "stock_cover": "used"}
    moved = sum(reason.moved_minor for reason in suggestion.reasons)
    assert moved == suggestion.price_minor - suggestion.current_price_minor
    limits = {limit.name: limit for limit in suggestion.limits}
    assert (limits["step"].least_minor, limits["step"].most_minor) == (1_900, 2_100)
    assert limits["min_margin"].least_minor == 556  # 5.00 / 0.9, rounded up
    assert not limits["min_margin"].HasField("most_minor")
    assert "promotion_freeze" not in limits
    known = {each.name: each.known for each in suggestion.inputs}
    assert known == dict.fromkeys(
        ["price", "cost", "stock", "competitors", "demand", "calendar"], True
    )


def test_an_input_tells_when_it_was_learnt() -> None:
    shop = a_market()
    inputs = {each.name: each for each in reply_to(shop, "p10").suggestions[0].inputs}
    now_ms = shop.time.now_ms
    assert inputs["competitors"].as_of_ms == now_ms - 1_000  # the oldest of those used
    assert inputs["price"].as_of_ms == inputs["calendar"].as_of_ms == now_ms
    assert inputs["cost"].as_of_ms == 0  # the release's own


def test_products_are_answered_in_order_and_the_unknown_fail_alone() -> None:
    reply = reply_to(a_market(), "nobody", "p10", "p3")
    assert [each.product_id for each in reply.suggestions] == ["nobody", "p10", "p3"]
    assert reply.suggestions[0].failure.code == "NOT_FOUND"
    assert reply.suggestions[0].price_minor == 0
    assert not reply.suggestions[1].HasField("failure")
    assert (reply.currency, reply.release) == ("EUR", "release-1")


def test_a_product_without_a_price_fails_alone() -> None:
    shop = a_market()
    del shop.pricing.price_minor["p3"]
    answer = asked(shop, "p3", "p10")
    assert answer.failures == {0: PriceFailure.NO_PRICE}
    assert reply_to(shop, "p3").suggestions[0].failure.code == "UNAVAILABLE"


def test_stages_are_timed() -> None:
    assert set(asked(a_market(), "p10").stage_ms) == {"lookups", "feeds", "pricing", "total"}


def test_nothing_but_unknown_products_is_an_answer_too() -> None:
    assert asked(a_market(), "nobody").failures == {0: PriceFailure.UNKNOWN_PRODUCT}


@pytest.mark.parametrize("how", ["failure", "stall"])
@pytest.mark.parametrize(
    ("feed", "reason", "outcome"),
    [
        ("competitors", Degradation.STALE_COMPETITORS, Outcome.CHANGE),
        ("demand", Degradation.STALE_DEMAND, Outcome.CHANGE),
        ("calendar", Degradation.STALE_CALENDAR, Outcome.UNKNOWN_LIMIT),
    ],
)
def test_a_lost_feed_costs_its_driver_or_the_change_but_never_the_answer(
    how: str, feed: str, reason: Degradation, outcome: Outcome
) -> None:
    shop = a_market()
    twin = getattr(shop, feed)
    if how == "stall":
        twin.stalls = True
    else:
        twin.failure = LOST
    answer = asked(shop, "p10")
    assert lost(answer) == {reason}
    assert answer.suggestions.outcomes == (outcome,)
    states = [reason.state.value for reason in answer.suggestions.reasons(0)[:3]]
    assert (
        states
        == {
            "competitors": ["missing", "used", "used"],
            "demand": ["used", "missing", "missing"],
            "calendar": ["used", "used", "used"],
        }[feed]
    )
    assert shop.time() <= 0.5


def test_a_stalled_feed_takes_no_longer_than_its_own_budget() -> None:
    shop = a_market()
    shop.competitors.stalls = True
    asked(shop, "p10", total_s=5.0)
    assert shop.time() == pytest.approx(0.2)


def test_last_known_figures_serve_while_a_feed_is_lost_until_they_are_too_old() -> None:
    shop = a_market()
    wish = asked(shop, "p10").suggestions.driver_wish_minor[0, 0]
    shop.competitors.failure = LOST
    shop.time.pass_ms(3_600_000)
    answer = asked(shop, "p10")
    assert lost(answer) == {Degradation.STALE_COMPETITORS}
    assert answer.suggestions.driver_wish_minor[0, 0] == wish
    shop.time.pass_ms(172_800_000)
    assert asked(shop, "p10").suggestions.reasons(0)[0].state == "too_old"


def test_a_calendar_that_is_too_old_keeps_the_price() -> None:
    shop = a_market()
    asked(shop, "p10")
    shop.calendar.failure = LOST
    shop.time.pass_ms(599_000)
    assert asked(shop, "p10").suggestions.outcomes == (Outcome.CHANGE,)
    shop.time.pass_ms(2_000)
    assert asked(shop, "p10").suggestions.outcomes == (Outcome.UNKNOWN_LIMIT,)


def test_a_promotion_comes_nearer_while_the_calendar_is_silent() -> None:
    shop = a_market()
    shop.calendar.promotion_in_ms["p10"] = 7.0 * 86_400_000 + 300_000
    assert asked(shop, "p10").suggestions.outcomes == (Outcome.CHANGE,)
    shop.calendar.failure = LOST
    shop.time.pass_ms(300_000)
    assert asked(shop, "p10").suggestions.outcomes == (Outcome.FROZEN,)


def test_a_discount_that_the_promotion_system_knows_of_freezes_too() -> None:
    shop = a_market()
    shop.promotions.percent_off = {"p10": 20.0}
    answer = asked(shop, "p10")
    assert answer.suggestions.outcomes == (Outcome.FROZEN,)
    assert answer.inputs.current_minor[0] == 2_000  # the list price, not the reduced one


def test_feeds_are_asked_once_and_not_again_while_current() -> None:
    shop = a_market()
    asked(shop, "p10", "p11", "nobody")
    asked(shop, "p11", "p10")
    twins = (shop.competitors, shop.demand, shop.calendar)
    assert [twin.ask_count for twin in twins] == [1, 1, 1]


def test_a_failing_feed_is_left_alone_for_a_while() -> None:
    shop = a_market()
    shop.demand.failure = LOST
    for _ in range(9):
        asked(shop, "p10")
    assert shop.demand.ask_count == PricingSettings().breaker_failures
    shop.demand.failure = None
    shop.time.pass_ms(1_001)
    assert lost(asked(shop, "p10")) == set()


def test_a_feed_of_mostly_nonsense_counts_as_lost_and_one_bad_figure_does_not() -> None:
    shop = a_market()
    ids = [f"p{row}" for row in range(1, 21)]
    shop.demand.forecasts = dict.fromkeys(ids, (-1.0, -2.0))
    assert lost(asked(shop, *ids)) == {Degradation.STALE_DEMAND}
    other = a_market()
    other.demand.forecasts = dict.fromkeys(ids, (1.0, -2.0)) | {"p3": (-1.0, -2.0)}
    answer = asked(other, *ids)
    assert lost(answer) == set()
    assert answer.suggestions.reasons(2)[2].state == "senseless"
    assert answer.suggestions.reasons(3)[2].state == "used"


def a_market_without_costs() -> SmallShop:
    """The catalogue knows none."""
    shop = a_market()
    tables = shop.deps.release.tables
    catalogue = replace(tables.catalogue, cost_known=np.zeros_like(tables.catalogue.cost_known))
    release = replace(shop.deps.release, tables=replace(tables, catalogue=catalogue))
    offers = OfferCache(catalogue, shop.systems, shop.deps.settings.offers, shop.time)
    shop.deps = replace(shop.deps, release=release, offers=offers)
    return shop


def test_a_cost_that_only_the_cost_system_knows_is_one_to_promise_a_margin_by() -> None:
    shop = a_market_without_costs()
    shop.costs.cost_minor = {"p10": 1_845}
    (suggestion,) = reply_to(shop, "p10").suggestions
    assert suggestion.outcome == pb.PRICE_CHANGE
    limits = {limit.name: limit for limit in suggestion.limits}
    assert limits["min_margin"].least_minor == 2_050  # 18.45 / 0.9
    inputs = {each.name: each for each in suggestion.inputs}
    assert inputs["cost"].known
    assert inputs["cost"].as_of_ms == shop.time.now_ms


def test_an_unknown_purchase_cost_keeps_the_price() -> None:
    (suggestion,) = reply_to(a_market_without_costs(), "p10").suggestions
    assert suggestion.outcome == pb.PRICE_UNKNOWN_LIMIT
    assert [r.name for r in suggestion.reasons if r.state == "unknown"] == ["min_margin"]
    assert {each.name for each in suggestion.inputs if not each.known} == {"cost"}


def test_a_call_that_never_asks_for_prices_never_asks_the_feeds() -> None:
    shop = a_market()
    shop.answer(an_ask())
    twins = (shop.competitors, shop.demand, shop.calendar)
    assert [twin.ask_count for twin in twins] == [0, 0, 0]


def a_decoder() -> Decoder:
    return Decoder("EUR", bytes(32), lambda: 1_750_000_000_000, lambda: "new")


def test_a_good_request_is_taken_as_it_is() -> None:
    ask = a_decoder().price_ask(pb.SuggestPriceRequest(product_ids=["a", "b"], currency="EUR"))
    assert (ask.product_ids, ask.request_id) == (("a", "b"), "new")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"product_ids": []}, "product_ids: names no product"),
        ({"product_ids": [""]}, r"product_ids\[0\]: is required"),
        ({"product_ids": ["a", "b", "a"]}, r"product_ids\[2\]: is named before"),
        ({"product_ids": ["x" * 129]}, r"product_ids\[0\]: has 129 bytes"),
        (
            {"product_ids": [str(at) for at in range(MAX_PRICES + 1)]},
            "product_ids: has 501 elements, at most 500",
        ),
        ({"product_ids": ["a"], "currency": "USD"}, "currency: must be the shop's, EUR"),
        ({"product_ids": ["a"], "deadline_ms": -1}, "deadline_ms: is -1"),
        ({"product_ids": ["a"], "request_id": "a\nb"}, "request_id: holds control characters"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidFields, match=named):
        a_decoder().price_ask(pb.SuggestPriceRequest(**fields))


def through_the_gateway(
    request: pb.SuggestPriceRequest, context: Context, shop: SmallShop | None = None
) -> pb.SuggestPriceResponse:
    replies: list[pb.SuggestPriceResponse] = []

    async def use(gateway: Gateway) -> None:
        replies.append(await gateway.SuggestPrice(request, context))
        registry = gateway._service.telemetry.registry
        value = registry.get_sample_value(
            "vitrine_requests_total", {"method": "SuggestPrice", "code": context.code.name}
        )
        assert value == 1.0

    with_gateway(use, shop=shop)
    return replies[0]


def test_the_gateway_answers_a_few_and_many_alike() -> None:
    ids = [f"p{row}" for row in range(1, 61)]
    many = through_the_gateway(pb.SuggestPriceRequest(product_ids=ids), Context(), a_shop())
    few = through_the_gateway(pb.SuggestPriceRequest(product_ids=ids[:3]), Context(), a_shop())
    assert [each.product_id for each in many.suggestions] == ids
    assert [each.price_minor for each in few.suggestions] == [
        each.price_minor for each in many.suggestions[:3]
    ]
    assert few.endings == [9]


def test_prices_that_wait_for_a_feed_do_not_hold_up_lists() -> None:
    pricing = PricingSettings(competitors_ask_ms=60_000.0, total_ms=60_000.0)
    shop = a_shop(settings=replace(PLAIN, pricing=pricing))
    shop.competitors.stalls = True
    request = pb.SuggestPriceRequest(product_ids=["p10"])

    async def use(gateway: Gateway) -> None:
        waiting = [
            asyncio.create_task(gateway.SuggestPrice(request, Context()))
            for _ in range(DoorSettings().concurrent_calls + 2)
        ]
        for _ in range(20):  # until they have asked, and wait
            await asyncio.sleep(0)
        assert shop.competitors.ask_count == 1
        reply = await gateway.Recommend(pb.RecommendRequest(placement="home"), Context())
        assert len(reply.items) == 20
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    with_gateway(use, shop=shop)


def test_the_gateway_refuses_a_wrong_field_with_its_name() -> None:
    context = Context()
    through_the_gateway(pb.SuggestPriceRequest(), context)
    assert context.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "product_ids: names no product" in context.details


def test_the_limits_are_settings() -> None:
    assert PLAIN.pricing == PricingSettings()
    with pytest.raises(ValueError, match="calendar_ttl_ms: must be above 0"):
        PricingSettings(calendar_ttl_ms=0)
