"""Requests become checked values or a refusal that names each wrong field; answers, replies."""

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.codec import DEFAULT_PAGE_SIZE
from serving.field_checks import MAX_LISTED, InvalidFields
from serving.proto import recommendations_pb2 as pb
from serving.refusal import refusal_of, refuse
from shop.errors import InvalidRequest
from shop.events import EVENT_CODES, EventType
from shop.features import PLACEMENTS
from tests.unit.coded import (
    DECODER,
    Context,
    a_request,
    wrong,
)
from tests.unit.time_travel import START_MS


def test_the_least_request_is_given_defaults() -> None:
    ask = DECODER.ask(a_request())
    assert (ask.request_id, ask.page_size, ask.shopper) == ("fresh-id", DEFAULT_PAGE_SIZE, "")
    assert (ask.context.now_ms, ask.context.placement) == (START_MS, "home")
    assert ask.filter is None
    assert ask.page is None


def test_every_field_arrives() -> None:
    ask = DECODER.ask(
        a_request(
            visitor_id="browser",
            user_id="ada",
            session_id="s",
            context_product_ids=["p1", "p2"],
            cart=[pb.CartItem(product_id="p3", quantity=2)],
            recent_events=[pb.RecentEvent(type="cart", product_id="p4", time_ms=START_MS - 5)],
            device="mobile",
            country="DE",
            currency="EUR",
            segment="new",
            utc_offset_minutes=-300,
            page_size=500,
            filter="price < 50",
            strict_filtering=True,
            exclude_product_ids=["p5", "p5"],
            boosts=[pb.Boost(filter="in_stock", factor=2.0)],
            promotions=[pb.Promotion(filter="price < 20", percent=25.0)],
            return_fields=["title", "score"],
            diversity=0.5,
            explain=True,
            request_id="mine",
            deadline_ms=80,
        )
    )
    assert (ask.shopper, ask.session_id, ask.request_id) == ("ada", "s", "mine")
    assert ask.context_product_ids == ("p1", "p2")
    assert ask.cart_product_ids == ("p3",)
    (event,) = ask.recent_events
    assert event.event_code == EVENT_CODES[EventType.CART]
    assert (event.product_id, event.time_ms) == ("p4", START_MS - 5)
    assert (ask.context.utc_offset_minutes, ask.context.segment) == (-300, "new")
    assert (ask.page_size, ask.diversity, ask.strict_filtering) == (500, 0.5, True)
    assert ask.filter is not None
    assert ask.filter.text == "price < 50"
    assert ask.exclude_product_ids == {"p5"}
    assert [(boost.filter.text, boost.factor) for boost in ask.boosts] == [("in_stock", 2.0)]
    assert [(each.filter.text, each.percent) for each in ask.promotions] == [("price < 20", 25.0)]
    assert ask.return_fields == {"title", "score"}
    assert ask.explain


def test_a_browser_stands_in_for_an_unknown_shopper() -> None:
    assert DECODER.ask(a_request(visitor_id="browser")).shopper == "browser"


def test_an_event_without_a_time_is_now() -> None:
    request = a_request(recent_events=[pb.RecentEvent(type="click", product_id="p1")])
    assert DECODER.ask(request).recent_events[0].time_ms == START_MS


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"placement": ""}, "placement", "must be one of home, product"),
        ({"placement": "attic"}, "placement", "is 'attic'"),
        ({"page_size": -1}, "page_size", "is -1, must be 0 to 500"),
        ({"page_size": 501}, "page_size", "is 501"),
        ({"diversity": math.nan}, "diversity", "is nan, must be 0 to 1"),
        ({"diversity": math.inf}, "diversity", "is inf"),
        ({"diversity": 1.01}, "diversity", "is 1.01"),
        ({"diversity": -0.1}, "diversity", "is -0.1"),
        ({"user_id": "x" * 129}, "user_id", "has 129 bytes, at most 128"),
        ({"user_id": "ü" * 65}, "user_id", "has 130 bytes"),
        ({"visitor_id": "a\nb"}, "visitor_id", "control characters"),
        ({"session_id": "\x00"}, "session_id", "control characters"),
        ({"query": "red lamps"}, "query", "is answered by the placement search alone"),
        ({"query": "x" * 513, "placement": "search"}, "query", "has 513 bytes, at most 512"),
        ({"query": "red\x00lamps", "placement": "search"}, "query", "control characters"),
        ({"device": "x" * 65}, "device", "at most 64"),
        ({"country": "\t"}, "country", "control characters"),
        ({"segment": "x" * 65}, "segment", "at most 64"),
        ({"currency": "USD"}, "currency", "must be the shop's, EUR"),
        ({"utc_offset_minutes": 841}, "utc_offset_minutes", "must be -840 to 840"),
        ({"filter": "price <"}, "filter", "character 8"),
        ({"filter": "x" * 3_000}, "filter", ""),
        ({"page_token": "abc"}, "page_token", "damaged"),
        ({"request_id": "x" * 129}, "request_id", "at most 128"),
        ({"deadline_ms": -1}, "deadline_ms", "must be 0"),
        ({"deadline_ms": 2**31 - 1}, "deadline_ms", "must be 0"),
        ({"context_product_ids": ["p"] * 101}, "context_product_ids", "at most 100"),
        ({"context_product_ids": ["p", ""]}, "context_product_ids[1]", "is required"),
        ({"exclude_product_ids": ["p"] * 1_001}, "exclude_product_ids", "at most 1000"),
        ({"exclude_product_ids": ["x" * 129]}, "exclude_product_ids[0]", "at most 128"),
        ({"cart": [pb.CartItem(product_id="p")] * 201}, "cart", "at most 200"),
        ({"cart": [pb.CartItem(quantity=1)]}, "cart[0].product_id", "is required"),
        (
            {"cart": [pb.CartItem(product_id="p", quantity=-1)]},
            "cart[0].quantity",
            "is -1, must be 0",
        ),
        ({"boosts": [pb.Boost(filter="in_stock", factor=1)] * 11}, "boosts", "at most 10"),
        ({"boosts": [pb.Boost(factor=2)]}, "boosts[0].filter", "character"),
        ({"boosts": [pb.Boost(filter="price <", factor=2)]}, "boosts[0].filter", "character 8"),
        ({"boosts": [pb.Boost(filter="in_stock")]}, "boosts[0].factor", "is 0, must be 0.01 to"),
        ({"boosts": [pb.Boost(filter="in_stock", factor=math.nan)]}, "boosts[0].factor", "is nan"),
        (
            {"promotions": [pb.Promotion(filter="in_stock", percent=1)] * 11},
            "promotions",
            "at most 10",
        ),
        ({"promotions": [pb.Promotion(filter="red", percent=2)]}, "promotions[0].filter", ""),
        (
            {"promotions": [pb.Promotion(filter="in_stock", percent=101)]},
            "promotions[0].percent",
            "is 101, must be 0 to 100",
        ),
        (
            {"promotions": [pb.Promotion(filter="in_stock", percent=60)] * 2},
            "promotions",
            "take 120 percent of the page together, at most 100",
        ),
        ({"return_fields": ["title", "prize"]}, "return_fields[1]", "is 'prize', must be one of"),
        ({"return_fields": ["title"] * 13}, "return_fields", "at most 12"),
        ({"experiment_overrides": {"ranker": "b"}}, "experiment_overrides", "no experiment runs"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(
    fields: dict[str, Any], field: str, reason: str
) -> None:
    found = wrong(**fields)
    assert list(found) == [field]
    assert reason in found[field]


@pytest.mark.parametrize(
    ("event", "part"),
    [
        ({"type": "stare", "product_id": "p"}, "type"),
        ({"type": "impression", "product_id": "p"}, "type"),  # lists are shown, not told
        ({"type": "search", "result_count": -1}, "result_count"),
        ({"type": "click", "product_id": "p", "dwell_ms": 5}, "dwell_ms"),
        ({"type": "click"}, "product_id"),
        ({"type": "click", "product_id": "p", "time_ms": -1}, "time_ms"),
        ({"type": "click", "product_id": "p", "time_ms": START_MS // 1_000}, "time_ms"),
        ({"type": "click", "product_id": "p", "time_ms": START_MS + 90_000_000}, "time_ms"),
    ],
)
def test_wrong_event_of_this_session_is_named(event: dict[str, Any], part: str) -> None:
    good = pb.RecentEvent(type="click", product_id="p")
    found = wrong(recent_events=[good, pb.RecentEvent(**event)])
    assert list(found) == [f"recent_events[1].{part}"]


def test_everything_wrong_is_told_at_once() -> None:
    assert set(wrong(page_size=-1, diversity=2.0, currency="GBP", placement="")) == {
        "page_size",
        "diversity",
        "currency",
        "placement",
    }


TEXTS = st.text(max_size=200)
NUMBERS = st.integers(-(2**31), 2**31 - 1)


@given(
    placement=st.sampled_from(PLACEMENTS) | TEXTS,
    texts=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            (
                "visitor_id",
                "user_id",
                "session_id",
                "query",
                "device",
                "country",
                "segment",
                "currency",
                "page_token",
                "filter",
                "request_id",
            ),
            TEXTS,
        ),
    ),
    page_size=NUMBERS,
    offset=NUMBERS,
    diversity=st.floats(),
    ids=st.lists(TEXTS, max_size=5),
)
def test_whatever_comes_is_checked_or_refused_and_nothing_else(
    placement: str,
    texts: dict[str, str],
    page_size: int,
    offset: int,
    diversity: float,
    ids: list[str],
) -> None:
    request = pb.RecommendRequest(
        placement=placement,
        page_size=page_size,
        utc_offset_minutes=offset,
        diversity=diversity,
        context_product_ids=ids,
        **texts,
    )
    try:
        ask = DECODER.ask(request)
    except InvalidRequest as error:
        refuse(Context(), refusal_of(error))
    else:
        assert 1 <= ask.page_size <= 500
        assert 0.0 <= ask.diversity <= 1.0


def test_a_refusal_fits_into_a_header_however_much_is_wrong() -> None:
    request = pb.LogEventsRequest(events=[pb.Event(type="ж" * 100)] * 1_000)
    with pytest.raises(InvalidFields) as caught:
        DECODER.events(request)
    context = Context()
    refuse(context, refusal_of(caught.value))
    percent_encoded = 3 * len(context.details.encode())
    in_base64 = 4 / 3 * len(context.metadata["grpc-status-details-bin"])
    assert percent_encoded + in_base64 < 8_000
    assert "events[0].type" in context.details


def test_more_violations_than_can_be_listed_are_counted() -> None:
    many = InvalidFields(tuple((f"field{n}", "is wrong") for n in range(MAX_LISTED + 7)))
    assert str(many).endswith("and 7 more")


def test_several_violations_survive_pickling() -> None:
    error = InvalidFields((("a", "is wrong"), ("b", "too")))
    again = pickle.loads(pickle.dumps(error))
    assert (again.violations, again.field, str(again)) == (error.violations, "a", str(error))
