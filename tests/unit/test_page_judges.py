"""What the judges of a page run see, each by itself."""

import json

from loadtest.benchmarks.page_judges import judge_pages, words_from_nowhere
from shop.descriptions.draft import Draft
from tests.unit.described_products import a_shelf
from training.texts.shelves import Shelf

TRUE = Draft(
    "Here is the Halden Studio Alba bookshelf.",
    ("Width: 80 cm", "Material: oak", "Made in Portugal"),
    "It goes with lamps.",
)
UNTRUE = Draft(
    "Here is the Halden Studio Alba bookshelf.",
    ("Width: 90 cm", "Material: walnut"),
    "It goes with zeppelins.",
)


def _line(first: Draft, last: Draft, state: str) -> dict[str, object]:
    return {
        "product_id": "P1",
        "source": "catalogue",
        "first": first.to_json(),
        "last": last.to_json(),
        "state": state,
        "attempts": 2,
        "tokens": 10,
        "coverage": 0.5,
    }


def test_what_was_rejected_is_not_counted_as_shown() -> None:
    shelf = Shelf(a_shelf(), "catalogue", is_held_out=True)
    lines = [_line(UNTRUE, TRUE, "published"), _line(UNTRUE, UNTRUE, "rejected")]
    found = judge_pages(lines, [shelf])
    assert (found.pages, found.published, found.at_once) == (2, 1, 1)
    assert found.unsupported_first >= 6
    assert (found.unsupported_shown, found.untrue, found.strange) == (0, 0, 0)


def test_a_faulty_page_that_is_shown_is_seen_by_every_judge() -> None:
    shelf = Shelf(a_shelf(), "catalogue", is_held_out=True)
    found = judge_pages([_line(UNTRUE, UNTRUE, "in review")], [shelf])
    assert found.unsupported_shown >= 3
    assert (found.untrue, found.strange) == (1, 1)
    assert found.unsupported_share > 0.5


def test_an_answer_that_cannot_be_read_tells_nothing() -> None:
    shelf = Shelf(a_shelf(), "catalogue", is_held_out=True)
    line = _line(TRUE, TRUE, "rejected") | {"first": json.dumps([]), "last": "{"}
    found = judge_pages([line], [shelf])
    assert (found.claims_first, found.coverage_first, found.published) == (0, 0.0, 0)


def test_words_from_nowhere_are_neither_the_products_nor_the_houses() -> None:
    assert words_from_nowhere(TRUE, a_shelf()) == []
    assert words_from_nowhere(UNTRUE, a_shelf()) == ["90", "walnut", "zeppelins"]
