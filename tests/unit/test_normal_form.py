"""Near-identical queries have one normal form, others have not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.normal_form import normal_query


@pytest.mark.parametrize(
    "other",
    [
        "summer dresses under $50",
        "  Summer   DRESSES under\t$ 50\n",
        "under $50 dresses summer",
        "\uff53ummer dresses under $50",  # as a Japanese keyboard writes it
    ],
)
def test_case_space_order_and_coding_do_not_matter(other: str) -> None:
    assert normal_query(other) == normal_query("summer dresses under $50")


@pytest.mark.parametrize(
    "other",
    [
        "summer dresses under 50",
        "summer dresses under $5 0",
        "summer dresses under $5.0",
        "summer dress under $50",
        "summer summer dresses under $50",
        "summerdresses under $50",
    ],
)
def test_other_words_numbers_or_signs_do(other: str) -> None:
    assert normal_query(other) != normal_query("summer dresses under $50")


def test_a_compound_stays_together() -> None:
    assert normal_query("T-shirt 9.99") == "9.99 t-shirt"
    assert normal_query("ÉTÉ Straße") == normal_query("e\u0301te\u0301 STRASSE")


@given(st.text(max_size=40))
def test_a_normal_form_is_its_own(text: str) -> None:
    once = normal_query(text)
    assert normal_query(once) == once
