"""Boosts and promotions of one request, from the offers to the page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.recommend.request import Answer
from shop.filters import parse_filter
from shop.merchandising import Boost, Promotion, boosted
from tests.unit.small_shop import SmallShop, a_shop, an_ask

ACME = 'brand = "acme"'  # rows 6, 12, 18 … 60
FIR = 'brand = "fir"'  # rows 5, 11, 17 … 59


def a_boost(text: str, factor: float) -> Boost:
    return Boost(parse_filter(text), factor)


def a_promotion(text: str, percent: float) -> Promotion:
    return Promotion(parse_filter(text), percent)


def promoted(shop: SmallShop, answer: Answer) -> list[str]:
    ids = np.array(shop.shown(answer))
    return list(ids[answer.slate.promoted])


def test_a_boost_moves_what_matches_and_is_named() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(boosts=(a_boost(ACME, 50.0),), page_size=5))
    assert shop.shown(answer) == ["p6", "p12", "p18", "p24", "p1"]
    assert answer.slate.rules[0] == ("boost",)


def test_boosts_that_meet_multiply_and_one_below_1_buries() -> None:
    shop = a_shop()
    both = (a_boost(ACME, 100.0), a_boost("price < 17", 0.01))
    assert shop.shown(shop.answer(an_ask(boosts=both, page_size=60)))[0] == "p12"
    buried = shop.answer(an_ask(boosts=(a_boost(ACME, 0.01),), page_size=60))
    assert set(shop.shown(buried)[-10:]) == {f"p{row}" for row in range(6, 61, 6)}


def test_a_boost_works_without_the_ranker() -> None:
    shop = a_shop()
    shop.ranker.stalls = True
    answer = shop.answer(an_ask(boosts=(a_boost(ACME, 100.0),), page_size=10))
    assert set(shop.shown(answer)) == {f"p{row}" for row in range(6, 61, 6)}


@given(st.floats(-1e9, 1e9), st.floats(0.01, 100.0))
def test_a_boost_above_1_never_lowers(value: float, factor: float) -> None:
    (after,) = boosted(np.array([value]), np.array([factor]))
    assert (after >= value) if factor >= 1.0 else (after <= value)


@pytest.mark.parametrize(
    ("percent", "page_size", "slots"), [(30, 10, 3), (100, 7, 7), (19.9, 5, 0), (29, 100, 29)]
)
def test_slots_are_whole_places(percent: float, page_size: int, slots: int) -> None:
    assert a_promotion(ACME, percent).slots(page_size) == slots


def test_promotions_fill_their_share_with_the_best_that_match() -> None:
    shop = a_shop()
    asked = (a_promotion(ACME, 30.0), a_promotion(FIR, 20.0))
    answer = shop.answer(an_ask(promotions=asked))
    assert sorted(promoted(shop, answer)) == sorted(["p6", "p12", "p18", "p5", "p11"])
    assert len(answer.slate) == 10
    assert answer.slate.rules[shop.shown(answer).index("p12")] == ("promotion",)


def test_what_is_promoted_is_found_though_no_source_had_proposed_it() -> None:
    # About 400 candidates of 4,000 products: the least popular ones are hardly among them.
    shop = a_shop(4_000)
    answer = shop.answer(an_ask(promotions=(a_promotion("price > 4006", 40.0),)))
    assert sorted(promoted(shop, answer)) == ["p3997", "p3998", "p3999", "p4000"]


def test_promotions_stay_inside_the_filter_and_leave_out_what_is_excluded() -> None:
    shop = a_shop()
    answer = shop.answer(
        an_ask(
            promotions=(a_promotion(ACME, 50.0),),
            filter="price < 40",
            strict_filtering=True,
            exclude_product_ids=frozenset({"p6"}),
        )
    )
    assert promoted(shop, answer) == ["p12", "p18", "p24"]  # p30 costs 40.00


def test_what_is_sold_out_is_not_promoted() -> None:
    shop = a_shop()
    shop.inventory.units |= {"p6": 0, "p12": 0}
    answer = shop.answer(an_ask(promotions=(a_promotion(ACME, 20.0),)))
    assert promoted(shop, answer) == ["p18", "p24"]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 20), st.text(max_size=3))
def test_the_share_is_exact_when_enough_match(
    first: int, second: int, page_size: int, request_id: str
) -> None:
    asked = (
        a_promotion("price < 40", first * 0.5),  # 29 products
        a_promotion("price > 40", second * 0.5),  # 30 others
    )
    answer = a_shop().answer(
        an_ask(promotions=asked, page_size=page_size, request_id=request_id, boosts=())
    )
    assert answer.slate.promoted.sum() == sum(each.slots(page_size) for each in asked)
    assert len(set(answer.slate.rows.tolist())) == page_size
