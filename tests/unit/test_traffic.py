"""Traffic: sessions of known and new shoppers, decided by seed."""

from collections import Counter

import numpy as np

from loadtest.openloop import Call
from loadtest.traffic import SCENARIOS, Audience, make_calls
from serving.proto import recommendations_pb2 as pb
from shop.features import PLACEMENTS

SHOPPERS = tuple(f"s{n}" for n in range(500))
PRODUCTS = tuple(f"p{n}" for n in range(300))


def requests(count: int = 3_000, *, seed: int = 1, known: bool = True) -> list[pb.RecommendRequest]:
    audience = Audience(SHOPPERS, PRODUCTS) if known else Audience((), ())
    return [pb.RecommendRequest.FromString(call.body) for call in calls(count, seed, audience)]


def calls(count: int, seed: int, audience: Audience) -> list[Call]:
    return make_calls(SCENARIOS["browse"], audience, count, np.random.default_rng(seed))


def test_a_tenth_of_the_sessions_are_new_visitors() -> None:
    new = sum(1 for request in requests() if not request.user_id) / 3_000
    assert 0.05 < new < 0.15


def test_a_few_shoppers_come_often() -> None:
    visits = Counter(request.user_id for request in requests() if request.user_id)
    first_tenth = sum(visits[shopper] for shopper in SHOPPERS[:50])
    assert first_tenth > 0.3 * sum(visits.values())
    assert len(visits) > 150


def test_a_session_belongs_to_one_shopper_on_one_device() -> None:
    seen: dict[str, set[tuple[str, str, str]]] = {}
    for request in requests():
        who = (request.user_id, request.visitor_id, request.device)
        seen.setdefault(request.session_id, set()).add(who)
    assert all(len(owners) == 1 for owners in seen.values())
    assert 300 < len(seen) < 1_200


def test_pages_about_a_product_name_one() -> None:
    for request in requests():
        assert request.placement in PLACEMENTS
        assert bool(request.context_product_ids) == (request.placement == "product")
        assert bool(request.cart) == (request.placement == "cart")


def test_without_an_audience_everybody_is_new() -> None:
    found = requests(200, known=False)
    assert all(request.visitor_id and not request.user_id for request in found)
    assert not any(request.context_product_ids or request.cart for request in found)


def test_no_two_calls_share_a_request_id() -> None:
    assert len({request.request_id for request in requests()}) == 3_000


def test_the_same_seed_gives_the_same_calls_and_another_seed_others() -> None:
    audience = Audience(SHOPPERS, PRODUCTS)
    assert calls(50, 3, audience) == calls(50, 3, audience)
    assert calls(50, 3, audience) != calls(50, 4, audience)


def test_clicks_follow_on_the_share_of_lists_that_the_scenario_says() -> None:
    made = calls(3_000, 1, Audience(SHOPPERS, PRODUCTS))
    assert 0.03 < sum(call.clicks for call in made) / 3_000 < 0.07
