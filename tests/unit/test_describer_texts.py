"""What the description model learns from: true pages in very many forms, and only grounded ones."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.prompts import ANSWER_SCHEMA
from shop.errors import DataRejected
from training.texts.grammar import surface_forms, write_page
from training.texts.inventions import invent_attributes
from training.texts.liked_pages import best_of, read_liked_pages, wilson_lower
from training.texts.pairs import draw_pair, draw_short_pair
from training.texts.shelves import Shelf, is_grounded, is_held_out

FACTS = Facts(
    "P1",
    "Halden Alba oak bookshelf",
    "shelves",
    "Halden",
    (
        Attribute("material", "oak"),
        Attribute("colour", "sand"),
        Attribute("width", "80", "cm"),
        Attribute("style", "classic"),
        Attribute("goes with", "lamps"),
    ),
)


def _fits_the_schema(page: dict[str, object]) -> bool:
    properties = ANSWER_SCHEMA["properties"]
    assert isinstance(properties, dict)
    bullets = page["bullets"]
    assert isinstance(bullets, list)
    ends = all(re.fullmatch(properties[n]["pattern"], str(page[n])) for n in ("opening", "close"))
    item = properties["bullets"]["items"]["pattern"]
    return ends and 2 <= len(bullets) <= 8 and all(re.fullmatch(item, each) for each in bullets)


def test_a_product_can_be_written_of_in_more_than_a_million_ways() -> None:
    assert surface_forms(FACTS) >= 1_000_000


def test_no_two_of_two_hundred_pages_are_alike() -> None:
    rng = np.random.default_rng(0)
    assert len({write_page(FACTS, rng).text for _ in range(200)}) == 200


def test_every_attribute_stands_on_every_page_as_it_is() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        text = write_page(FACTS, rng).text
        assert all(each.text in text for each in FACTS.attributes)


def test_pages_of_any_product_obey_the_answer_schema() -> None:
    rng = np.random.default_rng(2)
    for count in range(40):
        odd = Attribute("size", '5.5" x 2\\3 <b>')
        attributes = (odd, *invent_attributes(min(count, 25), rng))
        facts = Facts("P", "T" * 7 * (count % 3), "", "", attributes[: count + 1])
        assert _fits_the_schema(json.loads(write_page(facts, rng).to_json()))


def test_the_same_numbers_draw_the_same_pair() -> None:
    shelf = Shelf(FACTS, "catalogue", is_held_out=False)
    one, two = (draw_pair(shelf, np.random.default_rng(4)) for _ in range(2))
    assert one == two
    assert one.prompt.endswith("PAGE\n")


def test_a_sentence_with_a_word_that_is_not_in_the_facts_is_not_grounded() -> None:
    assert is_grounded("The bookshelf is made of oak and 80 cm.", FACTS)
    assert not is_grounded("The bookshelf is made of walnut.", FACTS)
    assert not is_grounded("The bookshelf is 90 cm.", FACTS)


def test_about_a_fifth_is_held_out_and_always_the_same() -> None:
    held_out = [is_held_out(f"P{number}") for number in range(2_000)]
    assert held_out == [is_held_out(f"P{number}") for number in range(2_000)]
    assert 0.17 < np.mean(held_out) < 0.23


def test_two_sales_of_two_views_count_less_than_many_of_many() -> None:
    assert wilson_lower(2, 2) < wilson_lower(500, 1_000)
    assert wilson_lower(0, 0) == 0.0
    assert wilson_lower(30, 100) == pytest.approx(0.2189, abs=1e-4)  # the textbook's interval


def _line(views: int | None, purchases: int) -> str:
    page = {"opening": "An opening of a page.", "bullets": ["one", "two"], "close": "The close."}
    raw = {"product_id": f"P{purchases}", "title": "T", "attributes": [], "page": page}
    return json.dumps(raw | ({} if views is None else {"views": views, "purchases": purchases}))


def test_the_best_pages_and_all_of_a_teachers_are_learnt_from(tmp_path: Path) -> None:
    file = tmp_path / "pages.jsonl"
    file.write_text("\n".join([_line(1_000, n) for n in (5, 50, 20, 80)] + [_line(None, 0)]))
    kept = best_of(read_liked_pages(file), 0.5)
    assert [page.facts.product_id for page in kept] == ["P0", "P80", "P50"]


@pytest.mark.parametrize("bad", ["{", "[]", _line(5, 9), '{"title": "T"}', ""])
def test_a_line_that_is_no_page_is_named(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "pages.jsonl"
    file.write_text(f"{bad}\n")
    with pytest.raises(DataRejected, match=r"pages\.jsonl"):
        read_liked_pages(file)


def test_short_pairs_tell_few_attributes_and_all_of_them() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        pair = draw_short_pair(Shelf(FACTS, "catalogue", is_held_out=False), 3, rng)
        assert 1 <= len(pair.facts.attributes) <= 3
        assert all(each.text in pair.answer for each in pair.facts.attributes)


def test_what_is_there_or_not_is_told_by_its_name() -> None:
    facts = Facts("P2", "", "", "", (Attribute("compass", "No"), Attribute("light", "Yes")))
    rng = np.random.default_rng(4)
    for _ in range(40):
        page = write_page(facts, rng).text.casefold()
        assert "no (compass)" not in page
        assert "compass is no" not in page
        assert "compass: no" in page or "compass – no" in page
