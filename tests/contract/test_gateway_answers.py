"""What a storefront asks the door: real gRPC, a real Ray Serve, memory twins behind it."""

import json
from collections.abc import Iterator

import grpc
import pytest

import vitrine
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from shop.errors import InvalidRequest
from tests.contract.open_doors import (
    HOME,
    Door,
    open_door,
    refusal,
    violations,
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


# What a storefront asks


def test_a_list_comes_back_with_everything_a_storefront_shows(door: Door) -> None:
    reply = door.recommend(user_id="ada", page_size=3)
    assert [item.product_id for item in reply.items] == ["p1", "p2", "p3"]
    first = reply.items[0]
    assert (first.title, first.price_minor, first.stock) == ("Product 1", 1_100, 9)
    assert first.price_as_of_ms > 0
    assert (reply.currency, reply.release, reply.scored_count) == ("EUR", "release-1", 60)
    assert reply.attribution_token
    assert reply.request_id
    assert reply.stage_ms["total"] > 0
    assert not reply.degraded
    assert not first.HasField("explanation")


def test_an_unknown_shopper_is_a_normal_answer(door: Door) -> None:
    reply = door.recommend(user_id="nobody has ever seen me")
    assert len(reply.items) == 20


def test_an_explanation_is_there_when_asked_for(door: Door) -> None:
    item = door.recommend(explain=True, page_size=1).items[0]
    assert item.explanation.purchase == pytest.approx(0.25)
    assert item.explanation.propensity == 1.0
    assert "two_tower" in item.explanation.source_scores


def test_a_list_brought_along_comes_back_in_order_with_what_is_not_in_it(door: Door) -> None:
    with VitrineClient(door.address) as client:
        reply = client.rerank(["p9", "p3", "nobody"], placement="search", user_id="ada")
        assert [item.product_id for item in reply.items] == ["p3", "p9"]
        assert list(reply.missing_product_ids) == ["nobody"]
        with pytest.raises(InvalidRequest, match=r"scores: has 1 elements, needs 2"):
            client.rerank(["p9", "p3"], placement="search", scores=[1.0])


def test_a_list_is_reranked_on_the_command_line(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rerank", "--user", "ada", "--address", door.address, "p9", "p3", "nobody"]
    assert vitrine.main(words) == 0
    shown = capsys.readouterr().out
    assert shown.index("p3") < shown.index("p9")
    assert "unknown: nobody" in shown


def test_pages_follow_each_other_and_cannot_be_forged(door: Door) -> None:
    first = door.recommend(user_id="ada", page_size=5)
    second = door.recommend(user_id="ada", page_size=5, page_token=first.next_page_token)
    assert [item.product_id for item in second.items] == ["p6", "p7", "p8", "p9", "p10"]
    forged = first.next_page_token[:-2] + "AA"
    error = refusal(lambda: door.recommend(user_id="ada", page_token=forged))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "page_token" in violations(error)
    error = refusal(lambda: door.recommend(user_id="bob", page_token=first.next_page_token))
    assert "shopper" in violations(error)["page_token"]


def test_checking_a_request_returns_no_products(door: Door) -> None:
    reply = door.recommend(validate_only=True, filter="price < 20")
    assert (len(reply.items), reply.release) == (0, "release-1")
    error = refusal(lambda: door.recommend(validate_only=True, filter="price <"))
    assert "filter" in violations(error)


def test_every_wrong_field_is_named_with_what_is_allowed(door: Door) -> None:
    error = refusal(
        lambda: door.recommend(
            placement="attic",
            page_size=-3,
            diversity=float("nan"),
            currency="GBP",
            user_id="x" * 200,
            cart=[pb.CartItem(product_id="p1"), pb.CartItem(product_id="p2", quantity=-1)],
        )
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(error)) == {
        "placement",
        "page_size",
        "diversity",
        "currency",
        "user_id",
        "cart[1].quantity",
    }
    assert violations(error)["page_size"] == "is -3, must be 0 to 500"
    assert "home, product, cart" in error.details()


@pytest.mark.parametrize("method", ["Recommend", "LogEvents"])
def test_what_is_no_message_is_refused_as_such(door: Door, method: str) -> None:
    ask = door.channel.unary_unary(f"/vitrine.v1.Recommendations/{method}")
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"\xff" * 40, timeout=10.0)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no message" in refused.value.details()


def test_a_batch_that_is_no_message_is_refused_as_such(door: Door) -> None:
    ask = door.channel.unary_stream("/vitrine.v1.Recommendations/RecommendMany")
    with pytest.raises(grpc.RpcError) as refused:
        list(ask(b"\xff" * 40, timeout=10.0))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_event_counts_in_the_very_next_call(door: Door) -> None:
    def log() -> pb.LogEventsResponse:
        event = pb.Event(idempotency_key="once", type="click", user_id="eve", product_id="p40")
        unknown = pb.Event(idempotency_key="two", type="click", user_id="eve", product_id="zz")
        request = pb.LogEventsRequest(events=[event, unknown])
        return door.recommendations.LogEvents(request, timeout=10)

    receipt = log()
    assert (receipt.accepted, receipt.duplicates) == (2, 0)
    assert list(receipt.unknown_product_ids) == ["zz"]
    item = next(
        item
        for item in door.recommend(user_id="eve", page_size=60).items
        if item.product_id == "p40"
    )
    assert "history" in item.sources
    assert log().duplicates == 2


def test_one_bad_event_refuses_the_batch_and_names_it(door: Door) -> None:
    good = pb.Event(idempotency_key="g", type="click", user_id="sam", product_id="p1")
    bad = pb.Event(type="stare", user_id="sam", time_ms=12)
    request = pb.LogEventsRequest(events=[good, bad])
    error = refusal(lambda: door.recommendations.LogEvents(request, timeout=10))
    assert set(violations(error)) == {
        "events[1].type",
        "events[1].idempotency_key",
        "events[1].product_id",
        "events[1].time_ms",
    }
    request = pb.LogEventsRequest(events=[good])
    assert door.recommendations.LogEvents(request, timeout=10).accepted == 1  # it was not logged


def test_log_that_cannot_be_written_is_said(door: Door) -> None:
    event = pb.Event(idempotency_key="lost", type="click", user_id="sam", product_id="p1")
    with door.switched("fail-log"):
        request = pb.LogEventsRequest(events=[event])
        error = refusal(lambda: door.recommendations.LogEvents(request, timeout=10))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "no space left" in error.details()
        assert len(door.recommend().items) == 20  # lists do not suffer from it


def test_many_are_answered_in_order_and_fail_one_by_one(door: Door) -> None:
    requests = [pb.RecommendRequest(**HOME, page_size=n + 1) for n in range(12)]
    requests[5] = pb.RecommendRequest(placement="attic")
    stream = door.recommendations.RecommendMany(
        pb.RecommendManyRequest(requests=requests), timeout=20
    )
    replies = list(stream)
    assert [reply.index for reply in replies] == list(range(12))
    assert replies[5].failure.code == "INVALID_ARGUMENT"
    assert "attic" in replies[5].failure.message
    assert [len(reply.response.items) for reply in replies] == [
        0 if n == 5 else n + 1 for n in range(12)
    ]


def test_too_many_at_once_are_refused(door: Door) -> None:
    request = pb.RecommendManyRequest(requests=[pb.RecommendRequest()] * 1_001)
    error = refusal(lambda: list(door.recommendations.RecommendMany(request, timeout=20)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "requests" in violations(error)


def test_prices_are_suggested_through_the_door(door: Door) -> None:
    ids = ["p1", "nobody", "p2"]
    with VitrineClient(door.address) as client:
        reply = client.suggest_prices(ids)
        with pytest.raises(InvalidRequest, match=r"product_ids\[1\]: is named before"):
            client.suggest_prices(["p1", "p1"])
    assert [each.product_id for each in reply.suggestions] == ids
    assert reply.suggestions[0].current_price_minor == 1_100
    assert reply.suggestions[1].failure.code == "NOT_FOUND"


def test_a_price_is_shown_on_the_command_line(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vitrine.main(["price", "p1", "nobody", "--address", door.address]) == vitrine.DONE
    shown = capsys.readouterr().out
    assert "p1: 11.00 → 11.00 EUR  (no change; nothing was applied)" in shown
    assert "nobody: the release knows no such product" in shown
    assert "competitors" in shown
    assert "min_margin" in shown
    assert vitrine.main(["price", "nobody", "--json", "--address", door.address]) == vitrine.FAILED
    reply = json.loads(capsys.readouterr().out)
    assert reply["suggestions"][0]["failure"]["code"] == "NOT_FOUND"
