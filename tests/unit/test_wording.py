"""Wording: a page may only tell a line with its own value, and names as they are."""

import json
import re
from dataclasses import replace

import pytest

from shop.descriptions import tellings
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.pages import PageKind
from shop.descriptions.prompts import ANSWER_SCHEMA, answer_schema
from shop.descriptions.style import StyleGuide
from shop.descriptions.tellings import (
    MATCH_CLOSES,
    MAX_BULLET,
    MAX_BULLETS,
    bullets_of,
    filled,
    sentences_of,
)
from shop.descriptions.validators import Measured, check
from shop.descriptions.wording import Wording, wording_of
from tests.unit.described_products import a_page, a_shelf

STYLE = StyleGuide()


def a_wording(facts: Facts | None = None, style: StyleGuide = STYLE) -> Wording:
    wording = wording_of(facts or a_shelf(), style)
    assert wording is not None
    return wording


def of_lines(*lines: tuple[str, str]) -> Facts:
    return Facts("P1", "Alba", "lamps", "", tuple(Attribute(*line) for line in lines))


@pytest.mark.parametrize("form", tellings.LEADS + tellings.BRAND_LEADS)
def test_every_lead_that_the_describer_learns_may_be_written(form: str) -> None:
    facts = a_shelf()
    lead = form.format(title=facts.title, brand=facts.brand)
    assert re.fullmatch(a_wording().opening, lead)
    assert not re.fullmatch(a_wording().opening, lead.replace("Alba", "Alpa"))


def without_matches() -> Facts:
    facts = a_shelf()
    return replace(facts, attributes=tuple(e for e in facts.attributes if e.name != "goes with"))


@pytest.mark.parametrize("form", tellings.CLOSES)
def test_every_close_that_the_describer_learns_may_be_written(form: str) -> None:
    facts = without_matches()
    close = form.format(category=facts.category, brand=facts.brand)
    assert re.fullmatch(a_wording(facts).close, close)
    assert not re.fullmatch(a_wording(facts).close, f"{close} Buy now.")
    nameless = replace(facts, brand="", category="")
    assert bool(re.fullmatch(a_wording(nameless).close, form)) == ("{" not in form)


@pytest.mark.parametrize("form", tellings.KEYWORD_SENTENCES)
def test_keywords_of_the_style_may_be_greeted(form: str) -> None:
    style, lead = replace(STYLE, keywords=("oak bookshelf",)), "Meet the Alba."
    facts = replace(a_shelf(), title="Alba")
    greeted = f"{lead} {form.format(v='oak bookshelf')} Its width is 80 cm."
    assert re.fullmatch(a_wording(facts, style).opening, greeted)
    assert not re.fullmatch(a_wording(facts).opening, greeted)


def test_a_close_may_tell_what_the_product_goes_with() -> None:
    for form in MATCH_CLOSES:
        assert re.fullmatch(a_wording().close, form.format(v="storage boxes, lamps"))
        assert not re.fullmatch(a_wording().close, form.format(v="oak"))


@pytest.mark.parametrize("name", tellings.NAMELESS_LEADS)
def test_a_product_without_a_title_is_told_of_as_well(name: str) -> None:
    facts = replace(a_shelf(), title="", brand="", category="")
    assert re.fullmatch(a_wording(facts).opening, name)


def test_sentences_tell_a_line_with_its_own_value_and_once() -> None:
    lead, facts = "Meet the Alba.", replace(a_shelf(), title="Alba")
    opening = a_wording(facts).opening
    for line in facts.attributes:
        for form in sentences_of(line):
            assert re.fullmatch(opening, f"{lead} {filled(form, line)}")
    assert re.fullmatch(opening, f"{lead} Its width is 80 cm. Its height is 120 cm.")
    assert not re.fullmatch(opening, f"{lead} Its width is 120 cm.")
    assert not re.fullmatch(opening, f"{lead} Its width is 80 cm. The width: 80 cm.")
    assert not re.fullmatch(opening, f"{lead} Its width is oak.")
    assert not re.fullmatch(opening, f"{lead} Its depth is 80 cm.")


def test_nothing_is_said_beside_what_was_learnt() -> None:
    opening = a_wording(replace(a_shelf(), title="Alba")).opening
    assert not re.fullmatch(opening, "Meet the Alba. It is waterproof.")
    assert not re.fullmatch(opening, "Meet the Alba. It is told to you.")
    assert not re.fullmatch(opening, "Meet the lamp.")
    assert not re.fullmatch(opening, "Its width is 80 cm.")


def test_every_line_has_its_place_in_the_bullets() -> None:
    facts = a_shelf()
    joined = "^" + "\n".join(each.strip("^$") for each in a_wording().bullets) + "$"
    rest = joined
    for line in facts.attributes:
        ways = [re.escape(filled(form, line)).replace("\\ ", " ") for form in bullets_of(line)]
        assert any(way in rest for way in ways), line
        rest = rest[min(rest.find(way) for way in ways if way in rest) :]
    assert 2 <= len(a_wording().bullets) <= MAX_BULLETS


def test_a_bullet_tells_its_line_and_no_other() -> None:
    first = a_wording(of_lines(("width", "80 cm"), ("height", "120 cm"))).bullets[0]
    assert re.fullmatch(first, "Width: 80 cm")
    assert re.fullmatch(first, "80 cm (width)")
    for wrong in ("Width: 120 cm", "Height: 80 cm", "Width: 80 cm; Width: 80 cm", "80 cm"):
        assert not re.fullmatch(first, wrong)


def test_many_lines_share_bullets_and_none_is_too_long() -> None:
    lines = tuple((f"line {number}", f"value {number} of it") for number in range(40))
    bullets = a_wording(of_lines(*lines)).bullets
    assert len(bullets) == MAX_BULLETS
    shortest = [re.sub(r"\(\?:([^|)]*)[^)]*\)", r"\1", each) for each in bullets]
    assert all(len(each) <= MAX_BULLET for each in shortest)
    few = a_wording(of_lines(*lines), replace(STYLE, most_bullets=3, most_bullet=12)).bullets
    assert len(few) == 3


@pytest.mark.parametrize("value", [".*", "a|b", "(?i)x", "[a-z]{3}", "\\d+", '5"', "<b>", "$^"])
def test_a_value_is_never_read_as_a_pattern(value: str) -> None:
    wording = a_wording(of_lines(("note", value), ("width", "80 cm")))
    shown = value.replace("\\", "/").replace('"', "″").replace("<", "(").replace(">", ")")
    assert re.fullmatch(wording.bullets[0], f"Note: {shown}")
    for other in ("anything", "a", "x", "abc", "5", "B", ""):
        assert not re.fullmatch(wording.bullets[0], f"Note: {other}")


@pytest.mark.parametrize("facts", [of_lines(), of_lines(("note", "x" * 200)), a_shelf()])
def test_too_little_to_tell_leaves_the_page_free(facts: Facts) -> None:
    style = replace(STYLE, least_bullets=8, most_bullets=7)
    assert wording_of(replace(facts, category=""), style) is None
    assert answer_schema(PageKind.PRODUCT, None) == ANSWER_SCHEMA


def test_brand_and_category_stand_in_where_lines_are_few() -> None:
    facts = Facts("P1", "Alba", "lamps", "Halden", (Attribute("width", "80", "cm"),))
    one, two, three = a_wording(facts).bullets
    assert re.fullmatch(one, "Width – 80 cm")
    assert re.fullmatch(two, "By Halden")
    assert re.fullmatch(three, "From our lamps")


def test_a_bound_schema_is_json_and_of_products_alone() -> None:
    schema = answer_schema(PageKind.PRODUCT, a_wording())
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema) == set(ANSWER_SCHEMA)
    assert schema["properties"]["bullets"]["minItems"] == len(a_wording().bullets)  # type: ignore[index]
    assert "title" in answer_schema(PageKind.CAMPAIGN, a_wording())["properties"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "value"), [("use", "magic tricks"), ("material", "fake fur"), ("goes with", "none")]
)
def test_a_line_that_no_page_may_tell_has_no_place(name: str, value: str) -> None:
    lines = (("width", "80 cm"), ("height", "90 cm"), (name, value))
    wording = a_wording(of_lines(*lines))
    assert len(wording.bullets) == 2
    assert value.split()[0] not in wording.opening + "".join(wording.bullets)


def test_a_value_is_told_whole_or_not_at_all() -> None:
    limited = "waterproof, but not when the zip is open, " + "nor in heavy rain " * 5
    wording = a_wording(of_lines(("width", "80 cm"), ("height", "90 cm"), ("features", limited)))
    assert "aterproof" not in wording.opening + "".join(wording.bullets)


def test_bullets_leave_room_for_the_rest_of_the_answer() -> None:
    lines = tuple((f"{number} 型番", "防水素材と綿" * 6) for number in range(30))
    told = "".join(a_wording(of_lines(("width", "80 cm"), ("height", "90 cm"), *lines)).bullets)
    assert 1 <= told.count("型番: ") <= 10


def test_a_sentence_has_one_full_stop() -> None:
    facts = of_lines(("care", "Do not bleach."), ("width", "80 cm"))
    assert re.fullmatch(a_wording(facts).opening, "Meet the Alba. Care: Do not bleach.")


def test_a_style_without_bullets_leaves_the_page_free() -> None:
    assert wording_of(a_shelf(), replace(STYLE, least_bullets=0, most_bullets=0)) is None


def test_every_keyword_may_be_greeted() -> None:
    words = ("oak", "shelf", "calm", "office", "storage")
    opening = a_wording(style=replace(STYLE, keywords=words)).opening
    assert all(f"You searched for {word}: here it is" in opening for word in words)


def test_a_product_may_be_called_by_its_name_whatever_the_name_is() -> None:
    facts = replace(a_shelf(), title='Magic eraser 5" wide')
    page = a_page(opening="Meet the Magic eraser 5″ wide, which is made of oak and 80 cm wide.")
    assert not check(page, facts, STYLE, Measured(6.0, "en")).is_blocked
