"""Questions to learn from: every answer is one that would be said, and silence is learnt, too."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from shop.asking.facts import PRICE
from shop.asking.judging import judge
from shop.asking.prompt import sentences_schema
from shop.asking.sentences import Said, SentenceReader
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.style import StyleGuide
from tests.unit.test_describer_texts import FACTS
from training.algorithms.describer import draw_pairs
from training.describer_asks import Answered, Counts, count, held_out_asks, shares
from training.texts.asks import MOST_LINES, Asked, draw_ask
from training.texts.shelves import Shelf

BENCH = Facts(
    "P2",
    "Bren pine bench",
    "benches",
    "Bren",
    (Attribute("material", "pine"), Attribute("colour", "sand"), Attribute("compass", "No")),
)
SHELVES = [Shelf(facts, "catalogue", is_held_out=False) for facts in (FACTS, BENCH)]


def draws(count: int = 60, seed: int = 0) -> list[Asked]:
    rng = np.random.default_rng(seed)
    return [draw_ask(SHELVES[: 1 + at % 2], rng) for at in range(count)]


def test_every_sentence_to_be_learnt_would_be_said() -> None:
    for asked in draws():
        for said in asked.sentences:
            assert judge(said, asked.products, StyleGuide()).stands, said


def test_an_answer_is_read_as_the_door_reads_it_and_keeps_to_the_schema() -> None:
    for asked in draws():
        reader = SentenceReader()
        assert tuple(reader.feed(asked.answer)) == asked.sentences
        assert reader.is_whole
        schema = json.dumps(sentences_schema(len(asked.products)))
        pattern = json.loads(schema)["properties"]["sentences"]["items"]["properties"]["text"]
        for said in json.loads(asked.answer)["sentences"]:
            assert re.fullmatch(pattern["pattern"], said["text"])
            assert 1 <= said["product"] <= len(asked.products)


def test_some_questions_are_answered_by_one_by_several_or_by_none() -> None:
    counts = Counter(len(asked.sentences) for asked in draws(200))
    assert set(counts) == {0, 1, 2}
    assert min(counts.values()) >= 20


def test_what_is_asked_is_told_wherever_the_facts_tell_it() -> None:
    for asked in draws(200):
        question = asked.prompt.splitlines()[1].casefold()
        if "cost" in question or "price" in question:
            assert [said.product for said in asked.sentences] == list(
                range(1, len(asked.products) + 1)
            )
            for said, facts in zip(asked.sentences, asked.products, strict=True):
                price = next(each.text for each in facts.attributes if each.name == PRICE)
                assert price in said.text


def test_the_same_numbers_draw_the_same_question() -> None:
    assert draws(5, seed=4) == draws(5, seed=4)
    assert len({asked.prompt for asked in draws(60)}) == 60


def test_lines_are_few_enough_to_be_learnt() -> None:
    for asked in draws():
        assert all(len(facts.attributes) <= MOST_LINES + 2 for facts in asked.products)


@pytest.mark.parametrize("most", [None, 3])
def test_a_share_of_the_pairs_are_questions(most: int | None) -> None:
    drawn = draw_pairs(SHELVES, 200, 0.0, 1, 0, most_attributes=most, ask_share=0.25)
    asked = [pair for pair in drawn if pair.prompt.endswith("ANSWER\n")]
    assert 25 <= len(asked) <= 75
    assert all(pair.prompt.endswith(("ANSWER\n", "PAGE\n")) for pair in drawn)
    pages = draw_pairs(SHELVES, 50, 0.0, 1, 0, most_attributes=most)
    assert all(pair.prompt.endswith("PAGE\n") for pair in pages)


def test_answers_are_judged_by_what_they_tell_and_by_their_silence() -> None:
    asked = draws(200)
    full = next(each for each in asked if len(each.sentences) == 2)
    none = next(each for each in asked if not each.sentences)
    first = json.dumps({"sentences": [{"product": 1, "text": full.sentences[0].text}]})
    stranger = '{"sentences":[{"product":1,"text":"It is waterproof."}]}'
    assert count(full, full.answer) == Counts(2, 2, 2, 2)
    assert count(full, first) == Counts(2, 1, 1, 1)
    assert count(none, none.answer) == Counts(0, 0, 0, 0)
    assert count(none, stranger) == Counts(0, 0, 1, 0)
    assert count(full, "what?") == Counts(2, 0, 0, 0)
    found = shares([count(full, first), count(none, stranger), count(none, none.answer)])
    assert found == Answered(told=0.5, silent=1.0, stands=0.5)
    assert shares([]) == Answered(1.0, 1.0, 1.0)


def test_questions_to_judge_by_are_about_products_never_learnt_from() -> None:
    held_out = [
        Shelf(replace(BENCH, product_id=f"H{number}"), "catalogue", is_held_out=True)
        for number in range(5)
    ]
    asked = held_out_asks([SHELVES[0], *held_out], "catalogue", 12, seed=1)
    ids = [[facts.product_id for facts in each.products] for each in asked]
    assert {one for each in ids for one in each} <= {each.facts.product_id for each in held_out}
    assert all(len(set(each)) == len(each) for each in ids)
    assert {len(each.products) for each in asked} == {1, 2, 3, 4}
    assert held_out_asks(SHELVES, "catalogue", 12, seed=1) == []


def test_what_would_not_be_said_is_not_taught() -> None:
    hostile = Facts("P3", "T", "c", "b", (Attribute("note", "see www.example.test"),))
    rng = np.random.default_rng(1)
    for _ in range(30):
        asked = draw_ask([Shelf(hostile, "catalogue", is_held_out=False)], rng)
        assert all("www" not in said.text for said in asked.sentences)
        assert all(isinstance(said, Said) for said in asked.sentences)
