"""Conditions in a compiled book mean what the same filter means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.active_rules import Asked
from shop.compiled_rules import compile_book
from shop.filter_grammar import AllOf, AnyOf, Expression, OneOf, PriceIs
from shop.filters import Filter
from shop.offers import Offers
from shop.rule_clauses import TooManyBoxes, boxes_of
from shop.rulebook import BookRule, Exclude, Kind, RuleBook, Scope, Selection
from tests.unit.expressions import expressions
from tests.unit.small_shop import BRANDS, a_catalogue

CATALOGUE = a_catalogue(24)


def a_rule(name: str, condition: Expression) -> BookRule:
    return BookRule(name, Kind.EXCLUDE, 0, Scope(), Selection(condition=condition), Exclude())


def offers(prices: list[int], stock: list[int]) -> Offers:
    count = CATALOGUE.product_count
    yes, zeros = np.ones(count, dtype=np.bool_), np.zeros(count, dtype=np.int64)
    price_minor = np.array(prices, dtype=np.int64)
    return Offers(
        rows=np.arange(1, count + 1),
        price_minor=price_minor,
        list_price_minor=price_minor,
        price_known=yes,
        price_as_of_ms=zeros,
        stock=np.array(stock, dtype=np.int64),
        stock_tracked=np.arange(count) % 5 != 0,
        stock_known=np.arange(count) % 7 != 0,
        stock_as_of_ms=zeros,
        cost_minor=zeros,
        backorder_risk=np.full(count, np.nan, dtype=np.float32),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(expressions, min_size=1, max_size=4),
    st.lists(st.sampled_from([1_199, 1_200, 1_201, 2_000, 2_001]), min_size=24, max_size=24),
    st.lists(st.integers(0, 1), min_size=24, max_size=24),
)
def test_a_compiled_condition_holds_where_the_filter_admits(
    conditions: list[Expression], prices: list[int], stock: list[int]
) -> None:
    sound = []
    for condition in conditions:
        try:
            boxes_of(condition)
        except TooManyBoxes:
            continue
        sound.append(condition)
    rules = tuple(a_rule(f"r{at}", condition) for at, condition in enumerate(sound))
    compiled = compile_book(RuleBook("v", rules), CATALOGUE)
    shown = offers(prices, stock)
    hits = Asked.of(compiled.boxes).hits(compiled.group_of_row[shown.rows], shown)
    for column, condition in enumerate(sound):
        admitted = Filter("", condition).admits(shown, CATALOGUE)
        np.testing.assert_array_equal(hits[column], admitted)


def test_a_condition_with_too_many_alternatives_is_refused() -> None:
    either = [AnyOf((OneOf("brand", (f"b{n}",)), PriceIs(">", n))) for n in range(5)]
    with pytest.raises(TooManyBoxes):
        boxes_of(AllOf(tuple(either)))


def test_two_hundred_rules_leave_few_groups() -> None:
    rules = tuple(a_rule(f"r{at}", OneOf("brand", (BRANDS[at % 6 + 1],))) for at in range(200))
    assert compile_book(RuleBook("v", rules), CATALOGUE).boxes.by_name.shape == (200, 7)
