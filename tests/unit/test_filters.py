"""The filter grammar: what it means, what it refuses, and that hostile text does no harm."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.errors import InvalidRequest
from shop.filter_grammar import MAX_COMPARISONS, MAX_DEPTH, MAX_FILTER_CHARS, MAX_VALUES
from shop.filters import parse_filter
from shop.offers import Offers
from tests.unit.small_shop import BRANDS, CATEGORIES, a_catalogue

CATALOGUE = a_catalogue(24)
ROWS = range(1, 25)
IN_STOCK = np.arange(25) % 3 != 0


def matching(text: str) -> set[int]:
    mask = parse_filter(text).mask(
        CATALOGUE, price_minor=CATALOGUE.list_price_minor, in_stock=IN_STOCK
    )
    assert mask.shape == (25,)
    return set(np.flatnonzero(mask).tolist())


def category(row: int) -> str:
    return CATEGORIES[row % 4 + 1]


def brand(row: int) -> str:
    return BRANDS[row % 6 + 1]


def price(row: int) -> int:
    return 1_000 + 100 * row


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('category = "lamps"', lambda r: category(r) == "lamps"),
        ("category != 'lamps'", lambda r: category(r) != "lamps"),
        ('brand IN ("acme", "fir")', lambda r: brand(r) in ("acme", "fir")),
        ('brand NOT IN ("acme","fir")', lambda r: brand(r) not in ("acme", "fir")),
        ("price < 20", lambda r: price(r) < 2_000),
        ("price <= 20", lambda r: price(r) <= 2_000),
        ("price > 20.00", lambda r: price(r) > 2_000),
        ("price >= 20", lambda r: price(r) >= 2_000),
        ("price = 20", lambda r: price(r) == 2_000),
        ("price != 20", lambda r: price(r) != 2_000),
        ("price < 19.995", lambda r: price(r) < 2_000),
        ("in_stock", lambda r: r % 3 != 0),
        ("NOT in_stock", lambda r: r % 3 == 0),
        ("not NOT in_stock", lambda r: r % 3 != 0),
        ('category = "gone"', lambda r: False),
        ('category != "gone"', lambda r: True),
        (
            'category = "lamps" AND price < 30 AND in_stock AND NOT brand IN ("acme", "bright")',
            lambda r: (
                category(r) == "lamps"
                and price(r) < 3_000
                and r % 3 != 0
                and brand(r) not in ("acme", "bright")
            ),
        ),
        (
            'category="lamps" or category="rugs" and price<15',
            lambda r: category(r) == "lamps" or (category(r) == "rugs" and price(r) < 1_500),
        ),
        (
            '(Category="lamps" OR Category="rugs") And Price<15',
            lambda r: category(r) in ("lamps", "rugs") and price(r) < 1_500,
        ),
    ],
)
def test_filter_means_what_it_says(text: str, holds: object) -> None:
    assert callable(holds)
    assert matching(text) == {row for row in ROWS if holds(row)}


def test_the_padding_row_matches_nothing() -> None:
    assert 0 not in matching('price >= 0 OR category != "lamps"')


def test_a_quote_inside_a_string_is_escaped() -> None:
    parsed = parse_filter(r'brand = "5\" \\ \'pipe\'"')
    assert parsed.expression == parse_filter(r"""brand = '5" \\ \'pipe\''""").expression


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected an attribute, NOT or (, found the end at character 1"),
        ("   ", "found the end"),
        ("price <", "expected an amount such as 49.90, found the end at character 8"),
        ("price < -3", "cannot read '-3' at character 9"),
        ("price < 50abc", "cannot read '50abc' at character 9"),
        ('price < "50"', "expected an amount"),
        ('size = "red"', "found 'size' at character 1"),
        ('category < "lamps"', "expected = != or IN, found '<' at character 10"),
        ("category = lamps", "expected text in quotes, found 'lamps' at character 12"),
        ('category = "lamps', "cannot read '\"lamps' at character 12"),
        ('brand IN "acme"', "expected (, found 'acme'"),
        ("brand IN ()", "expected text in quotes"),
        ('brand IN ("a",)', "expected text in quotes"),
        ("brand NOT = 'a'", "expected IN"),
        ("(in_stock", "expected ), found the end at character 10"),
        ("in_stock)", "expected AND, OR or the end, found ')' at character 9"),
        ("in_stock in_stock", "expected AND, OR or the end"),
        ("in_stock AND", "found the end"),
        ("in_stock; DROP TABLE", "cannot read '; DROP TABLE' at character 9"),
        ("price < 99999999999", "cannot read"),
        ("price < ٣", "cannot read"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_filter(text)
    assert refused.value.field == "filter"
    assert says in refused.value.reason
    assert refused.value.reason.endswith(
        "attributes are category, brand, material, use, season, style, colour, price, in_stock"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(" * (MAX_DEPTH + 1) + "in_stock" + ")" * (MAX_DEPTH + 1), "nested deeper"),
        ("NOT " * (MAX_DEPTH + 1) + "in_stock", "nested deeper"),
        (" AND ".join(["in_stock"] * (MAX_COMPARISONS + 1)), "comparisons"),
        ("brand IN (" + ",".join(['"a"'] * (MAX_VALUES + 1)) + ")", "values"),
        ("in_stock" + " " * MAX_FILTER_CHARS, "longer than"),
    ],
)
def test_a_hostile_filter_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        parse_filter(text)


def test_the_limits_themselves_are_allowed() -> None:
    parse_filter("(" * MAX_DEPTH + "in_stock" + ")" * MAX_DEPTH)
    parse_filter(" OR ".join(["price<1"] * MAX_COMPARISONS))
    parse_filter("brand IN (" + ",".join(['"a"'] * MAX_VALUES) + ")")


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(InvalidRequest):
        parse_filter(text)


pieces = st.sampled_from(
    ["category", "price", "in_stock", "=", "<", "IN", "NOT", "AND", "OR", "(", ")", ",", "7", '"a"']
)


@given(st.lists(pieces, max_size=25).map(" ".join))
def test_any_words_of_the_grammar_are_parsed_or_refused(text: str) -> None:
    try:
        parsed = parse_filter(text)
    except InvalidRequest:
        return
    parsed.mask(CATALOGUE, price_minor=CATALOGUE.list_price_minor, in_stock=IN_STOCK)


def some_offers(**columns: list[int] | list[bool]) -> Offers:
    rows = np.array([1, 2, 3, 4])
    ones, yes = np.full(4, 1_000), np.ones(4, dtype=np.bool_)
    full = {name: np.array(column) for name, column in columns.items()}
    return Offers(
        rows=rows,
        price_minor=full.get("price_minor", ones),
        list_price_minor=ones,
        price_known=full.get("price_known", yes),
        price_as_of_ms=ones,
        stock=full.get("stock", ones),
        stock_tracked=full.get("stock_tracked", yes),
        stock_known=full.get("stock_known", yes),
        stock_as_of_ms=ones,
        cost_minor=ones,
        backorder_risk=np.full(4, np.nan, dtype=np.float32),
    )


def test_final_offers_are_judged_by_the_price_that_will_be_shown() -> None:
    offers = some_offers(price_minor=[400, 500, 600, 100], price_known=[True, True, True, False])
    admitted = parse_filter("price <= 5").admits(offers, CATALOGUE)
    assert admitted.tolist() == [True, True, False, False]


def test_unknown_stock_is_not_in_stock_but_untracked_is() -> None:
    offers = some_offers(
        stock=[5, 0, 5, 0],
        stock_tracked=[True, True, True, False],
        stock_known=[True, True, False, False],
    )
    admitted = parse_filter("in_stock").admits(offers, CATALOGUE)
    assert admitted.tolist() == [True, False, False, True]
