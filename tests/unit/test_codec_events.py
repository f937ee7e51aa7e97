"""Events become checked values with the list they follow from, or are refused by place."""

import math
from dataclasses import replace
from typing import Any

import pytest

from serving.codec import MAX_EVENTS
from serving.proto import recommendations_pb2 as pb
from serving.reply import encode_answer
from shop.events import EventType
from tests.unit.coded import (
    DECODER,
    KEY,
    a_request,
    an_event,
    violations,
    wrong_event,
)
from tests.unit.small_shop import a_shop, an_ask
from tests.unit.time_travel import START_MS


def test_events_arrive_with_the_list_they_follow_from() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(request_id="shown-before"))
    reply = encode_answer(
        answer, shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000_000_000
    )
    request = pb.LogEventsRequest(
        events=[
            an_event(attribution_token=reply.attribution_token, position=3),
            an_event(type="search", product_id="", query="lamps", user_id="", visitor_id="b"),
        ]
    )
    clicked, searched = DECODER.events(request)
    assert (clicked.request_id, clicked.position, clicked.time_ms) == ("shown-before", 3, START_MS)
    assert (searched.type, searched.shopper, searched.product_id) == (EventType.SEARCH, "b", "")


def test_events_tell_how_a_visit_goes() -> None:
    request = pb.LogEventsRequest(
        events=[
            an_event(type="dwell", dwell_ms=4_500),
            an_event(type="dwell", value=4.5),  # as storefronts said it before dwell_ms
            an_event(type="search", product_id="", result_count=0),
            an_event(type="search", product_id=""),
            an_event(discount=0.25),
            an_event(),
        ]
    )
    found = DECODER.events(request)
    assert [event.dwell_ms for event in found] == [4_500, 4_500, 0, 0, 0, 0]
    assert [event.result_count for event in found] == [None, None, 0, None, None, None]
    assert [event.discount for event in found] == [None, None, None, None, 0.25, None]


def test_a_request_tells_how_a_visit_goes() -> None:
    told = [
        pb.RecentEvent(type="dwell", product_id="p1", dwell_ms=900),
        pb.RecentEvent(type="search", result_count=0),
        pb.RecentEvent(type="click", product_id="p1", discount=0.0),
        pb.RecentEvent(type="click", product_id="p1"),
    ]
    found = DECODER.ask(a_request(recent_events=told)).recent_events
    assert [event.amount for event in found] == [900, 0, None, None]
    assert [int(event.promotion) for event in found] == [0, 0, 1, 0]


def test_without_an_offset_the_hour_is_the_shop_s() -> None:
    decoder = replace(DECODER, time_zone="Asia/Kathmandu")
    assert decoder.ask(a_request()).context.utc_offset_minutes == 345
    assert decoder.ask(a_request(utc_offset_minutes=0)).context.utc_offset_minutes == 0


def test_times_of_callers_become_the_shop_s() -> None:
    month_ms = 30 * 86_400_000
    now_ms = START_MS + month_ms  # by the callers' clock, which runs ahead of the shop's
    decoder = replace(DECODER, clock_offset_ms=-month_ms)
    click = pb.RecentEvent(type="click", product_id="p1", time_ms=now_ms - 7)
    ask = decoder.ask(
        a_request(recent_events=[click, pb.RecentEvent(type="cart", product_id="p1")])
    )
    assert [event.time_ms for event in ask.recent_events] == [START_MS - 7, START_MS]
    [event] = decoder.events(pb.LogEventsRequest(events=[an_event(time_ms=now_ms - 7)]))
    assert event.time_ms == START_MS - 7
    late = pb.LogEventsRequest(events=[an_event(time_ms=now_ms + 2 * 86_400_000)])
    assert list(violations(lambda: decoder.events(late))) == ["events[0].time_ms"]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 129}, "idempotency_key"),
        ({"type": ""}, "type"),
        ({"user_id": ""}, "user_id"),
        ({"product_id": ""}, "product_id"),
        ({"time_ms": 12}, "time_ms"),
        ({"quantity": -1}, "quantity"),
        ({"price_minor": -1}, "price_minor"),
        ({"price_minor": 2**60}, "price_minor"),
        ({"position": -1}, "position"),
        ({"value": math.nan}, "value"),
        ({"dwell_ms": 5}, "dwell_ms"),
        ({"type": "dwell", "dwell_ms": -1}, "dwell_ms"),
        ({"type": "dwell", "dwell_ms": 2**31 - 1}, "dwell_ms"),
        ({"result_count": 0}, "result_count"),
        ({"type": "search", "result_count": -1}, "result_count"),
        ({"discount": 1.01}, "discount"),
        ({"discount": math.nan}, "discount"),
        ({"value": -1.0}, "value"),
        ({"query": "x" * 513}, "query"),
        ({"placement": "attic"}, "placement"),
        ({"device": "\n"}, "device"),
        ({"country": "x" * 65}, "country"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"attribution_token": "forged"}, "attribution_token"),
    ],
)
def test_wrong_field_of_an_event_is_named_with_its_place(fields: dict[str, Any], part: str) -> None:
    assert list(wrong_event(**fields)) == [f"events[1].{part}"]


def test_too_many_events_are_refused_unread() -> None:
    request = pb.LogEventsRequest(events=[pb.Event()] * (MAX_EVENTS + 1))
    assert violations(lambda: DECODER.events(request)) == {
        "events": "has 1001 elements, at most 1000 are allowed"
    }


def test_no_events_are_no_mistake() -> None:
    assert DECODER.events(pb.LogEventsRequest()) == []
