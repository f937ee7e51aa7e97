"""A relaxed filter asks for less and less, the least important condition first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.filter_grammar import ATTRIBUTES, Expression
from shop.filters import Filter, parse_filter
from shop.relaxing import DROP_ORDER, attributes_of, relaxations, without
from tests.unit.expressions import expressions
from tests.unit.small_shop import a_catalogue

CATALOGUE = a_catalogue(24)
IN_STOCK = np.arange(25) % 3 != 0


def matching(wanted: Filter | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if wanted is None:
        return np.ones(25, dtype=np.bool_)
    return wanted.mask(CATALOGUE, price_minor=CATALOGUE.list_price_minor, in_stock=IN_STOCK)


def test_every_attribute_can_be_given_up_and_the_category_last() -> None:
    assert sorted(DROP_ORDER) == sorted(ATTRIBUTES)
    assert DROP_ORDER[0] == "in_stock"
    assert DROP_ORDER[-2:] == ("price", "category")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (
            'category = "lamps" AND price < 50 AND in_stock',
            [
                (("in_stock",), 'category = "lamps" AND price < 50'),
                (("in_stock", "price"), 'category = "lamps"'),
                (("in_stock", "price", "category"), None),
            ],
        ),
        ("price < 50", [(("price",), None)]),
        ('NOT (brand = "acme" OR price > 9)', [
            (("brand",), "NOT price > 9"),
            (("brand", "price"), None),
        ]),
        ('NOT (brand = "acme" AND price > 9)', [(("brand",), None)]),
        ('category = "lamps" OR price < 5', [(("price",), None)]),
        ('(brand = "acme" OR in_stock) AND NOT NOT price < 5', [
            (("in_stock",), "price < 5"),
            (("in_stock", "price"), None),
        ]),
    ],
)  # fmt: skip
def test_conditions_are_given_up_in_this_order(
    text: str, steps: list[tuple[tuple[str, ...], str | None]]
) -> None:
    relaxed = relaxations(parse_filter(text).expression)
    told = [(each.dropped, each.filter and each.filter.expression) for each in relaxed]
    wanted = [(dropped, left and parse_filter(left).expression) for dropped, left in steps]
    assert told == wanted


@settings(max_examples=25, deadline=None)
@given(expressions)
def test_what_passes_a_filter_passes_every_relaxation_of_it(expression: Expression) -> None:
    passed = matching(Filter("", expression))
    steps = relaxations(expression)
    for step in steps:
        now = matching(step.filter)
        assert (now >= passed).all()
        passed = now
        if step.filter is not None:
            assert not attributes_of(step.filter.expression) & set(step.dropped)
    assert steps[-1].filter is None


@settings(max_examples=25, deadline=None)
@given(expressions, st.sampled_from(DROP_ORDER))
def test_without_an_attribute_nobody_asks_for_it(expression: Expression, attribute: str) -> None:
    left = without(attribute, expression)
    assert left is None or attribute not in attributes_of(left)
