"""What an outcome is worth: margin after returns, plus the shop's priorities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shop.offers import Offers
from shop.scoring import Scores, ValueWeights, expected_value

MARGIN_ONLY = ValueWeights(0.0, 1.0, 0.0, 0.0, 0.0)


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def offers_of(*price_and_cost: tuple[int, int]) -> Offers:
    count = len(price_and_cost)
    prices = np.array([price for price, _ in price_and_cost], dtype=np.int64)
    yes, zeros = np.ones(count, dtype=np.bool_), np.zeros(count, dtype=np.int64)
    return Offers(
        rows=np.arange(1, count + 1),
        price_minor=prices,
        list_price_minor=prices,
        price_known=yes,
        price_as_of_ms=zeros,
        stock=zeros + 1,
        stock_tracked=yes,
        stock_known=yes,
        stock_as_of_ms=zeros,
        cost_minor=np.array([cost for _, cost in price_and_cost], dtype=np.int64),
        backorder_risk=np.zeros(count, dtype=np.float32),
    )


def test_a_sale_is_worth_its_margin_times_its_chance() -> None:
    value = expected_value(
        Scores(column(0.5, 0.5)), offers_of((1_000, 400), (1_000, 900)), MARGIN_ONLY
    )
    assert value.tolist() == [300.0, 50.0]


def test_what_comes_back_earns_nothing_and_costs_its_handling() -> None:
    weights = ValueWeights(0.0, 1.0, 500.0, 0.0, 0.0)
    scores = Scores(column(0.5, 0.5), return_risk=column(0.0, 0.5))
    value = expected_value(scores, offers_of((1_000, 400), (1_000, 400)), weights)
    assert value.tolist() == [300.0, 0.5 * (0.5 * 600 - 0.5 * 500)]


def test_a_loss_maker_is_worth_less_the_likelier_it_sells() -> None:
    value = expected_value(
        Scores(column(0.1, 0.9)), offers_of((400, 1_000), (400, 1_000)), MARGIN_ONLY
    )
    assert value[0] > value[1]


def test_clicks_and_carts_count_what_the_shop_says() -> None:
    weights = ValueWeights(0.0, 0.0, 0.0, cart_minor=5.0, click_minor=1.0)
    scores = Scores(column(0.0), click=column(0.5), cart=column(0.25))
    assert expected_value(scores, offers_of((1_000, 0)), weights).tolist() == [0.5 + 1.25]


def test_heads_without_labels_do_not_count() -> None:
    weights = ValueWeights(100.0, 1.0, 500.0, 5.0, 1.0)
    value = expected_value(Scores(column(0.5)), offers_of((1_000, 400)), weights)
    assert value.tolist() == [0.5 * (100 + 600)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_worth_least(bad: float) -> None:
    value = expected_value(
        Scores(column(bad, 0.1)), offers_of((1_000, 400), (1_000, 400)), MARGIN_ONLY
    )
    assert value[0] == -math.inf
    assert math.isfinite(value[1])


def test_columns_find_their_heads_by_name() -> None:
    columns = np.array([[0.1, 0.2], [0.3, 0.4]], dtype=np.float32)
    scores = Scores.from_columns(("return", "purchase"), columns)
    assert scores.purchase.tolist() == columns[:, 1].tolist()
    assert scores.return_risk is not None
    assert scores.return_risk.tolist() == columns[:, 0].tolist()
    assert scores.click is None
    assert scores.cart is None


chance = st.floats(0, 1, width=32)


@given(chance, chance, st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_return_risk_never_makes_a_profitable_product_worth_more(
    purchase: float, risk: float, price: int, margin: int
) -> None:
    weights = ValueWeights(200.0, 1.0, 500.0, 0.0, 0.0)
    offer = offers_of((price + margin, price))
    risky = expected_value(Scores(column(purchase), return_risk=column(risk)), offer, weights)
    safe = expected_value(Scores(column(purchase), return_risk=column(0.0)), offer, weights)
    assert risky[0] <= safe[0] + 1e-9


def test_discount_is_a_share_of_the_list_price() -> None:
    offers = offers_of((750, 0), (0, 0), (1_200, 0))
    listed = np.array([1_000, 0, 1_000])
    shown = Offers(
        **{
            name: listed if name == "list_price_minor" else getattr(offers, name)
            for name in Offers.__slots__
        }
    )
    assert shown.discount.tolist() == [0.25, 1.0, 0.0]


def test_offers_are_taken_in_the_order_asked_for() -> None:
    taken = offers_of((1, 0), (2, 0), (3, 0)).taken(np.array([2, 0]))
    assert taken.rows.tolist() == [3, 1]
    assert taken.price_minor.tolist() == [3, 1]
    assert len(taken) == 2
