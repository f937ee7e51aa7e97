"""Relevance: a question names lines by their names, by their values, or by what they cost."""

import pytest

from shop.asking.relevance import asked_lines
from shop.descriptions.facts import Attribute, Facts


def a_product(number: int, *lines: tuple[str, str], title: str = "Alba coat") -> Facts:
    own = tuple(Attribute(*line) for line in lines)
    offer = (Attribute("price", f"{number}9.90", "EUR"), Attribute("availability", "in stock"))
    return Facts(f"P{number}", title, "coats", "Halden", own + offer)


COAT = a_product(
    1, ("material", "wool"), ("season", "winter"), ("seat height", "40 cm"), ("width", "80 cm"),
    ("use", "hiking"), ("goes with", "boots"),
)  # fmt: skip
JACKET = a_product(
    2, ("outer material", "cotton"), ("season", "summer"), ("number of pockets", "3"),
    ("style code", "SR51NVM"), ("type", "parka"), title="Vela parka",
)  # fmt: skip


def names(question: str, *products: Facts) -> list[list[str]]:
    found = asked_lines(question, products or (COAT, JACKET))
    return [[line.name for line in each] for each in found.lines]


@pytest.mark.parametrize(
    ("question", "first", "second"),
    [
        ("What is the material?", ["material"], ["outer material"]),
        ("What is the outer material?", ["material"], ["outer material"]),
        ("seasons?", ["season"], ["season"]),
        ("How wide is it?", ["width"], []),
        ("What is the seat height?", ["seat height"], []),
        ("how many pockets does it have", [], ["number of pockets"]),
        ("anything for the winter?", ["season"], []),
        ("Do you have it in cotton?", ["material"], ["outer material"]),
        ("What does it cost?", ["price"], ["price"]),
        ("a coat under 80", ["price"], ["price"]),
        ("is it in stock?", ["availability"], ["availability"]),
        ("Do you have it?", ["availability"], ["availability"]),
        ("can I buy it now?", ["availability"], ["availability"]),
        ("what do I pay for it?", ["price"], ["price"]),
        ("is it SR51NVM?", [], ["style code"]),
        ("what is the use of it?", ["use"], []),
        ("Type?", [], ["type"]),
        ("what goes with it?", ["goes with"], []),
        ("winter coat, how much?", ["season", "price"], ["price"]),
        ("what brand is it?", ["brand"], ["brand"]),
        ("what is it made of?", ["material"], ["outer material"]),
        ("how big is it?", ["seat height", "width"], []),
        ("coats between 50 and 100", ["price"], ["price"]),
        ("show me cheap coats", ["price"], ["price"]),
        ("how much does it weigh?", [], []),
        ("how much is it?", ["price"], ["price"]),
        ("is the Vela parka for the summer?", [], ["season"]),
        ("what number is it?", [], []),
        ("Is it waterproof?", [], []),
        ("what is the warranty of it?", [], []),
    ],
)
def test_lines_that_a_question_names(question: str, first: list[str], second: list[str]) -> None:
    assert names(question) == [first, second]


@pytest.mark.parametrize(
    "question", ["coats", "Do you have coats?", "show me something", "a nice coat", "best coats"]
)
def test_where_nothing_is_named_every_line_answers(question: str) -> None:
    assert not asked_lines(question, (COAT, JACKET)).is_named
    assert names(question) == [
        [line.name for line in COAT.attributes],
        [line.name for line in JACKET.attributes],
    ]


def test_no_products_have_no_lines() -> None:
    assert asked_lines("what is the price?", ()).lines == ()
