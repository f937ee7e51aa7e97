"""What a storefront gets: personal, priced, in stock, explained, in pages, and never a crash."""

import uuid
from typing import Any

import pytest

from serving.proto import recommendations_pb2 as pb
from shop.errors import InvalidRequest
from tests.e2e.running_stack import RunningStack, eventually


def an_event(shopper: str, product: str, **fields: Any) -> pb.Event:
    event: dict[str, Any] = {
        "idempotency_key": uuid.uuid4().hex,
        "type": "click",
        "user_id": shopper,
        "product_id": product,
    }
    return pb.Event(**(event | fields))


def ids_of(reply: pb.RecommendResponse) -> list[str]:
    return [item.product_id for item in reply.items]


def sources_of(reply: pb.RecommendResponse) -> set[str]:
    return {source for item in reply.items for source in item.sources}


def a_product(stack: RunningStack) -> str:
    return ids_of(stack.home(f"picker-{uuid.uuid4().hex}"))[0]


def test_the_first_start_showed_a_first_answer(stack: RunningStack) -> None:
    shown = (stack.state_dir / "first_up.txt").read_text()
    assert "candidates scored by" in shown
    assert stack.state.door in shown


def test_a_list_is_personal_priced_and_in_stock(stack: RunningStack) -> None:
    reply = stack.home(stack.known_shopper)
    assert len(reply.items) == 20
    assert len(set(ids_of(reply))) == 20
    assert not reply.degraded
    assert reply.scored_count > 100
    assert all(item.price_minor > 0 and item.price_as_of_ms > 0 for item in reply.items)
    assert all(item.stock > 0 for item in reply.items if item.HasField("stock"))
    assert all(item.title for item in reply.items)
    assert "two_tower" in sources_of(reply)
    assert sum(item.reason == pb.PERSONALISED for item in reply.items) > 10
    assert reply.release == stack.prepared.release
    assert reply.currency == "EUR"


def test_two_shoppers_get_two_lists(stack: RunningStack) -> None:
    import pyarrow.parquet as pq

    folder = stack.folder.releases / stack.prepared.release
    shoppers = pq.read_table(folder / "histories.parquet", columns=["user_id"])["user_id"]
    lists = [ids_of(stack.home(str(shopper))) for shopper in shoppers[:10]]
    assert len({tuple(products) for products in lists}) == 10


def test_an_event_counts_in_the_very_next_call(stack: RunningStack) -> None:
    shopper = f"new-{uuid.uuid4().hex}"
    before = stack.home(shopper, session_id="s1")
    assert not sources_of(before) & {"item_item", "history"}
    product = a_product(stack)
    receipt = stack.client.log_events([an_event(shopper, product, session_id="s1")])
    assert receipt.accepted == 1
    after = stack.home(shopper, session_id="s1", page_size=100)
    assert {"item_item", "history"} & sources_of(after)
    assert ids_of(after)[:20] != ids_of(before)


def test_an_event_sent_twice_counts_once(stack: RunningStack) -> None:
    event = an_event(f"new-{uuid.uuid4().hex}", a_product(stack))
    assert stack.client.log_events([event]).accepted == 1
    again = stack.client.log_events([event])
    assert (again.accepted, again.duplicates) == (0, 1)


def test_events_of_this_session_that_are_not_logged_yet_count_too(stack: RunningStack) -> None:
    shopper = f"new-{uuid.uuid4().hex}"
    recent = [pb.RecentEvent(type="click", product_id=a_product(stack))]
    reply = stack.client.recommend(
        pb.RecommendRequest(user_id=shopper, placement="home", recent_events=recent)
    )
    assert {"item_item", "history"} & sources_of(reply)


def test_an_unknown_shopper_is_a_cold_start_and_no_error(stack: RunningStack) -> None:
    for request in (
        pb.RecommendRequest(user_id="nobody-knows-me", placement="home"),
        pb.RecommendRequest(visitor_id="a-new-browser", placement="home"),
        pb.RecommendRequest(placement="home"),
    ):
        reply = stack.client.recommend(request)
        assert len(reply.items) == 20
        assert not reply.degraded


def test_further_pages_continue_the_list_without_repeating_it(stack: RunningStack) -> None:
    first = stack.home(stack.known_shopper, page_size=10)
    second = stack.home(stack.known_shopper, page_size=10, page_token=first.next_page_token)
    third = stack.home(stack.known_shopper, page_size=10, page_token=second.next_page_token)
    pages = [*ids_of(first), *ids_of(second), *ids_of(third)]
    assert len(set(pages)) == 30
    again = stack.home(stack.known_shopper, page_size=10, page_token=first.next_page_token)
    assert ids_of(again) == ids_of(second)


def test_every_page_to_the_end_concatenates_to_distinct_products(stack: RunningStack) -> None:
    token, seen = "", []
    for _ in range(40):
        reply = stack.home(stack.known_shopper, page_size=100, page_token=token)
        seen += ids_of(reply)
        token = reply.next_page_token
        if not token:
            break
    assert not token
    assert len(seen) == len(set(seen)) > 100


def test_a_filter_holds_for_every_product(stack: RunningStack) -> None:
    reply = stack.home(
        stack.known_shopper, filter="price < 40 AND in_stock", strict_filtering=True, page_size=50
    )
    assert reply.items
    assert all(item.price_minor < 4_000 for item in reply.items)


def test_a_filter_that_leaves_too_little_is_relaxed_and_the_reply_says_so(
    stack: RunningStack,
) -> None:
    asked = "price < 0.01 AND in_stock"  # nothing is for free
    reply = stack.home(stack.known_shopper, filter=asked)
    assert len(reply.items) == 20
    assert list(reply.relaxed) == ["in_stock", "price"]
    strict = stack.home(stack.known_shopper, filter=asked, strict_filtering=True)
    assert not strict.items
    assert not strict.relaxed


def test_an_explanation_has_every_head_and_the_value_that_ordered_the_list(
    stack: RunningStack,
) -> None:
    for item in stack.home(stack.known_shopper, explain=True).items:
        why = item.explanation
        for head in ("click", "cart", "purchase", "return_risk"):
            assert why.HasField(head)
            assert 0.0 <= getattr(why, head) <= 1.0
        assert why.cart <= why.click + 1e-6
        assert why.purchase <= why.click + 1e-6
        assert 0.0 < why.propensity <= 1.0
        assert why.expected_value_minor == pytest.approx(item.score)
        assert set(why.source_scores) == set(item.sources)


def test_a_list_brought_along_gets_the_order_of_this_shopper_s_lists(stack: RunningStack) -> None:
    own = ids_of(stack.client.recommend(placement="search", page_size=30, user_id="nobody"))
    brought = [*reversed(own), "no-such-product"]
    with stack.stock_of(own[0], 0):

        def is_left_out() -> bool:
            reply = stack.client.rerank(brought, placement="search", user_id=stack.known_shopper)
            return [each.product_id for each in reply.left_out] == own[:1]

        assert eventually(is_left_out)
        reply = stack.client.rerank(brought, placement="search", user_id=stack.known_shopper)
    ids = [item.product_id for item in reply.items]
    assert sorted(ids) == sorted(own[1:])
    assert ids != own[1:]
    assert ids != own[:0:-1]
    assert list(reply.missing_product_ids) == ["no-such-product"]
    assert (reply.scored_count, len(reply.degraded)) == (29, 0)


def test_validate_only_returns_no_products(stack: RunningStack) -> None:
    assert not stack.home(stack.known_shopper, validate_only=True).items


def test_many_shoppers_are_answered_in_order(stack: RunningStack) -> None:
    asked = [
        pb.RecommendRequest(user_id=f"mail-{n}", placement="email", page_size=5) for n in range(7)
    ]
    asked[3].placement = "attic"
    answers = list(stack.client.recommend_many(asked))
    assert [answer.index for answer in answers] == list(range(7))
    assert answers[3].failure.code == "INVALID_ARGUMENT"
    assert all(len(a.response.items) == 5 for n, a in enumerate(answers) if n != 3)


@pytest.mark.parametrize(
    ("field", "request_fields"),
    [
        ("placement", {"placement": "attic"}),
        ("placement", {"placement": ""}),
        ("page_size", {"page_size": -1}),
        ("page_size", {"page_size": 501}),
        ("filter", {"filter": "price <"}),
        ("filter", {"filter": "colour ~ red"}),
        ("diversity", {"diversity": float("nan")}),
        ("diversity", {"diversity": 1.5}),
        ("user_id", {"user_id": "x" * 10_000}),
        ("session_id", {"session_id": "x" * 10_000}),
        ("query", {"query": "x" * 10_000}),
        ("page_token", {"page_token": "forged"}),
        ("currency", {"currency": "XXX"}),
        ("exclude_product_ids", {"exclude_product_ids": ["p"] * 20_000}),
        ("recent_events", {"recent_events": [pb.RecentEvent(type="kiss", product_id="p")]}),
    ],
)
def test_bad_input_is_refused_with_the_field_and_the_reason(
    stack: RunningStack, field: str, request_fields: dict[str, Any]
) -> None:
    request = pb.RecommendRequest(**({"user_id": "u", "placement": "home"} | request_fields))
    with pytest.raises(InvalidRequest) as refused:
        stack.client.recommend(request)
    assert refused.value.field.startswith(field)
    assert refused.value.reason


def test_the_page_token_of_another_shopper_is_refused(stack: RunningStack) -> None:
    token = stack.home(stack.known_shopper).next_page_token
    with pytest.raises(InvalidRequest, match="page_token"):
        stack.home("somebody-else", page_token=token)


@pytest.mark.parametrize(
    ("field", "event_fields"),
    [
        ("events[0].idempotency_key", {"idempotency_key": ""}),
        ("events[0].type", {"type": "kiss"}),
        ("events[0].user_id", {"user_id": ""}),
        ("events[0].product_id", {"product_id": ""}),
        ("events[0].quantity", {"quantity": -1}),
        ("events[0].price_minor", {"price_minor": -1}),
        ("events[0].value", {"value": float("nan")}),
        ("events[0].time_ms", {"time_ms": 1}),
    ],
)
def test_a_bad_event_is_refused_with_the_field_and_none_is_logged(
    stack: RunningStack, field: str, event_fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        stack.client.log_events([an_event("u", "p", **event_fields)])
    assert refused.value.field == field


def test_too_many_events_are_refused(stack: RunningStack) -> None:
    with pytest.raises(InvalidRequest, match="events"):
        stack.client.log_events([an_event("u", "p")] * 1_001)


def test_a_product_that_the_release_does_not_know_is_logged_and_named(stack: RunningStack) -> None:
    receipt = stack.client.log_events([an_event("u", "no-such-product")])
    assert receipt.accepted == 1
    assert list(receipt.unknown_product_ids) == ["no-such-product"]
