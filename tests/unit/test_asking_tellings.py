"""Tellings: an answer's schema grants sentences of the asked lines, each of its own product."""

import json

import jsonschema
import pytest

from shop.asking.judging import judge
from shop.asking.relevance import AskedLines
from shop.asking.sentences import Said
from shop.asking.tellings import telling_schema, tellings
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.style import StyleGuide

WIDTH, PRICE = Attribute("width", "80", "cm"), Attribute("price", "79.90", "EUR")
STOCK = Attribute("availability", "in stock")
ALBA = Facts("P1", "Halden Alba shelf", "shelves", "Halden", (WIDTH, PRICE, STOCK))
VELA = Facts("P2", "Vela lamp", "lamps", "", (Attribute("width", "20", "cm"), PRICE))
STYLE = StyleGuide()
ASKED = AskedLines(((WIDTH, PRICE), (VELA.attributes[0],)), is_named=True)
SCHEMA = telling_schema((ALBA, VELA), ASKED, STYLE)


def is_granted(*said: tuple[int, str]) -> bool:
    answer = {"sentences": [{"product": number, "text": text} for number, text in said]}
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(answer)


@pytest.mark.parametrize("facts", [ALBA, VELA])
@pytest.mark.parametrize("by_name", [False, True])
def test_every_telling_stands_before_the_judge(facts: Facts, *, by_name: bool) -> None:
    for line in facts.attributes:
        told = tellings(line, facts, by_name=by_name)
        assert told
        for text in told:
            judged = judge(Said(1, text), (facts,), StyleGuide())
            assert judged.stands, (text, judged.left_out)
            assert line.name in judged.told


def test_sentences_are_of_their_own_product_and_of_the_asked_lines() -> None:
    assert is_granted((1, "Its width is 80 cm."), (2, "The width of the Vela lamp is 20 cm."))
    assert is_granted((1, "The Halden Alba shelf costs 79.90 EUR."), (2, "Width: 20 cm."))
    second = (2, "Its width is 20 cm.")
    assert is_granted((1, "It costs 79.90 EUR."), second, (1, "Its width is 80 cm."))
    assert not is_granted((1, "Its width is 20 cm."), second)
    assert not is_granted((1, "It is in stock."), second)
    assert not is_granted((3, "Its width is 80 cm."), second)
    assert not is_granted((1, "It is waterproof."), second)
    first = (1, "Its width is 80 cm.")
    assert not is_granted(first, (2, "Its width is 80 cm."))
    assert not is_granted(first, (2, "It costs 79.90 EUR."))


def test_each_product_with_an_asked_line_is_told_of() -> None:
    assert not is_granted()
    assert not is_granted((1, "Its width is 80 cm."))
    assert not is_granted((2, "Its width is 20 cm."), (1, "Its width is 80 cm."))


def test_where_nothing_is_named_the_model_chooses_whom_to_speak_of() -> None:
    every = AskedLines((ALBA.attributes, VELA.attributes), is_named=False)
    schema = telling_schema((ALBA, VELA), every, STYLE)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    assert valid({"sentences": [{"product": 2, "text": "It costs 79.90 EUR."}]})
    assert not valid({"sentences": []})


def test_what_cannot_be_told_is_left_out() -> None:
    long = Attribute("note", "x" * 500)
    assert tellings(long, ALBA, by_name=False) == []
    nameless = Facts("P3", "", "", "", (WIDTH, PRICE))
    assert tellings(WIDTH, nameless, by_name=True) == []
    asked = AskedLines(((WIDTH,), (long,)), is_named=True)
    schema = json.dumps(telling_schema((nameless, ALBA), asked, STYLE))
    assert "Its width is 80 cm." in schema
    assert "xxx" not in schema
    assert telling_schema((ALBA,), AskedLines(((long,),), is_named=True), STYLE) is None


def test_what_the_judge_would_never_let_out_is_not_offered() -> None:
    odd = Attribute("use", "magic tricks")
    facts = Facts("P4", "Vela box", "boxes", "", (odd, PRICE))
    asked = AskedLines(((odd, PRICE),), is_named=True)
    schema = json.dumps(telling_schema((facts,), asked, STYLE))
    assert "79.90" in schema
    assert "magic" not in schema


def test_lines_of_one_value_are_told_apart_by_their_names() -> None:
    both = (Attribute("width", "40", "cm"), Attribute("height", "40", "cm"))
    facts = Facts("P5", "Vela cube", "lamps", "", both)
    told = judge(Said(1, "Its width is 40 cm."), (facts,), STYLE).told
    assert told == ("width",)
    assert set(judge(Said(1, "It is 40 cm."), (facts,), STYLE).told) <= {"width", "height"}
