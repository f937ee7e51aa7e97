"""Claims that only the whole of a text or of a line tells: origins, matches, denials, effects."""

import pytest

from shop.descriptions.claims import FactIndex, claims_in
from shop.descriptions.facts import Attribute, Facts, facts_of
from shop.descriptions.faults import FaultKind
from shop.descriptions.style import StyleGuide
from shop.descriptions.validators import Measured, check
from tests.unit.described_products import a_page, a_shelf

FINE = Measured(grade=6.0, language="en")


def a_watch() -> Facts:
    """A watch as marketplaces specify them: with what it has not, and with two colours."""
    lines = {
        "Altimeter": "No",
        "Calendar": "No",
        "Luminous": "No",
        "Date Display": "Yes",
        "Mechanism": "Quartz",
        "Strap Color": "Silver",
        "Dial Color": "Beige",
        "Strap Material": "Steel",
        "Model Name": "Canvas Engage",
        "Style Code": "CE-7-NAVY",
        "Water Resistant": "Yes",
        "Number of Contents in Sales Package": "Pack of 1",
        "Number of Pockets": "3",
        "Other Features": "No PVC, non-padded, keeps time for years",
        "Covered in Warranty": "Warranty of the movement for 1 year",
        "Not Covered in Warranty": "Warranty does not cover the strap",
    }
    attributes = [Attribute(name, value) for name, value in lines.items()]
    return facts_of("P2", "Alba Canvas Engage analog watch", "watches", "Alba", attributes)


def _faults(facts: Facts, said: str) -> list[str]:
    found = claims_in(said, FactIndex.of(facts))
    return [f"{each.kind}: {each.text}" for each in found if not each.is_grounded]


def a_jacket() -> Facts:
    """A rain jacket that is told of without any length."""
    lines = {"water column": ("15000", "mm"), "fabric weight": ("330", "g/m²"), "size": ("2", "m")}
    attributes = [Attribute(name, *value) for name, value in lines.items()]
    return facts_of("P3", "Alba rain jacket", "rainwear", "Alba", attributes)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("Length is 15000 mm", "15000 mm"),
        ("Its length: 15000 mm.", "15000 mm"),
        ("15000 mm (length)", "15000 mm"),
        ("It is 15000 mm long", "15000 mm"),
        ("Fabric weight – 15000 mm", "15000 mm"),
        ("The length is 15000 mm, the water column too", "15000 mm"),
    ],
)
def test_a_number_is_not_of_another_measure_than_its_line(said: str, what: str) -> None:
    assert any(what in fault for fault in _faults(a_jacket(), said))


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("Width – sporty", "word: Width"),
        ("Its height is Alba", "word: height"),
        ("To care for it: rain", "word: care"),
        ("It has a warranty", "feature: warranty"),
    ],
)
def test_what_no_line_tells_of_is_not_spoken_of(said: str, what: str) -> None:
    assert what in _faults(a_jacket(), said)


@pytest.mark.parametrize(
    "said",
    [
        "Water column: 15000 mm",
        "A water column of 15000 mm",
        "Fabric weight: 330 g/m²",
        "It holds back 15000 mm of water column",
    ],
)
def test_a_number_may_be_told_by_its_own_line_s_name(said: str) -> None:
    assert not any(each.startswith("number") for each in _faults(a_jacket(), said))


@pytest.mark.parametrize(
    "said",
    [
        "Made in Turkey",
        "It is made in sand",
        "Crafted in Italy by hand",
        "It comes from Denmark",
        "It goes with sofas",
        "It goes with storage boxes, sofas and lamps",
        "Pairs well with a rug",
        "Compatible with any sofa",
        "Put it together with mirrors.",
        "It goes with oak",
    ],
)
def test_an_origin_or_a_match_must_be_the_one_of_the_facts(said: str) -> None:
    assert check(a_page(close=said), a_shelf(), StyleGuide(is_strict=False), FINE).is_blocked


@pytest.mark.parametrize(
    "said",
    [
        "Made in Portugal.",
        "It comes from Portugal.",
        "The Alba bookshelf comes from Halden Studio.",
        "It goes with lamps and storage boxes.",
        "Put it together with storage boxes, lamps.",
        "It goes with lamps, and it is made of oak.",
        "Goes with storage boxes, lamps, Material: oak",
        "Goes with storage boxes, lamps; 80 cm (width)",
        "It goes with any room.",
        "It goes with the rest of your wardrobe.",
    ],
)
def test_an_origin_or_a_match_of_the_facts_is_granted(said: str) -> None:
    assert _faults(a_shelf(), said) == []


@pytest.mark.parametrize(
    "said",
    [
        "It keeps coffee hot for hours.",
        "It stays quiet all night.",
        "It has a night light.",
        "With a place for your cup and a light inside.",
        "It lasts for years.",
        "It folds away in seconds.",
        "It cleans itself.",
        "Light in weight, so you can carry it up the stairs.",
        "It can be used under water.",
        "It keeps its colour wash after wash.",
        "Rain stays out.",
        "Soft to the touch.",
        "Easy to clean.",
        "It won't turn.",
        "You also get a spare board.",
    ],
)
def test_a_feature_in_plain_words_needs_a_fact_too(said: str) -> None:
    assert check(a_page(opening=said), a_shelf(), StyleGuide(), FINE).is_blocked


def test_an_effect_that_a_fact_tells_is_granted() -> None:
    assert _faults(a_watch(), "It keeps time for years.") == []


@pytest.mark.parametrize(
    "said",
    [
        "It has an altimeter",
        "With a calendar",
        "Luminous hands",
        "Altimeter: yes",
        "Dial color: silver",
        "Its strap color is beige.",
        "Beige (strap color)",
        "Made of PVC",
        "Made of canvas",
        "In navy",
        "On sale",
        "5 pockets",
        "Not water resistant",
        "Padded",
    ],
)
def test_what_a_line_denies_or_another_line_says_is_not_granted(said: str) -> None:
    assert _faults(a_watch(), said) != []


@pytest.mark.parametrize(
    "said",
    [
        "Altimeter: no\nCalendar – no; Luminous: No",
        "No (altimeter)",
        "Date display: yes",
        "Dial color: beige · Strap color: silver",
        "Its dial color is beige.",
        "Silver (strap color), beige (dial color)",
        "No PVC, water resistant, non-padded",
        "The Canvas Engage",
        "Without an altimeter",
        "3 pockets",
        "Water resistant: yes. Altimeter: no",
        "Covered in warranty: warranty of the movement for 1 year",
        "Not covered in warranty: warranty does not cover the strap",
        "Number of contents in sales package: pack of 1",
    ],
)
def test_lines_that_are_told_as_they_are_raise_no_alarm(said: str) -> None:
    assert _faults(a_watch(), said) == []


def test_a_line_counts_as_told_if_its_value_stands_on_the_page() -> None:
    facts = facts_of("P3", "Shelf", "shelves", "", [Attribute("shape", "rounded at the front")])
    told = check(a_page(opening="It is rounded at the front."), facts, StyleGuide(), FINE)
    assert told.coverage == 1.0
    assert check(a_page(opening="It is round."), facts, StyleGuide(), FINE).coverage == 0.0


def test_a_product_may_be_named_by_a_word_that_is_banned() -> None:
    facts = facts_of("P4", "Magic shelf", "shelves", "Magic", [Attribute("material", "oak")])
    named = check(a_page(opening="The Magic shelf."), facts, StyleGuide(), FINE)
    assert FaultKind.BANNED not in {fault.kind for fault in named.faults}
    praised = check(a_page(opening="It works like magic."), facts, StyleGuide(), FINE)
    assert FaultKind.BANNED in {fault.kind for fault in praised.faults}
