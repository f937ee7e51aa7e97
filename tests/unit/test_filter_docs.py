"""docs/filters.md is true: its examples can be read, its errors are given, its lists are whole."""

import re
from pathlib import Path

import pytest

from serving.adapters.faiss_filtering import (
    EXACT_SHARE,
    EXACT_SHARE_IN_CELLS,
    OVER_FETCH_SHARE,
)
from shop import filter_grammar
from shop.errors import InvalidRequest
from shop.filters import parse_filter
from shop.relaxing import DROP_ORDER

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "filters.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


EXAMPLES = re.findall(r"```\n(.*?)```", section("Examples"), re.S)[0].splitlines()
ERRORS = re.findall(r"^\| `(.+?)` \| (.+) \|$", section("Limits and errors"), re.M)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_can_be_read(text: str) -> None:
    parse_filter(text)


def test_every_error_is_the_one_that_is_given() -> None:
    assert len(ERRORS) >= 6
    for text, says in ERRORS:
        with pytest.raises(InvalidRequest, match=re.escape(says)):
            parse_filter(text)


def test_every_field_is_explained_and_every_condition_has_its_turn() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", section("Fields"), re.M)
    assert sorted(explained) == sorted(filter_grammar.ATTRIBUTES)
    turns = re.findall(r"^\d\. `(\w+)`", section("Strict or relaxed"), re.M)
    assert tuple(turns) == DROP_ORDER


def test_the_limits_are_the_ones_in_force() -> None:
    limits = section("Limits and errors")
    for number, what in (
        (filter_grammar.MAX_FILTER_CHARS, "characters"),
        (filter_grammar.MAX_DEPTH, "levels"),
        (filter_grammar.MAX_COMPARISONS, "comparisons"),
        (filter_grammar.MAX_VALUES, "values"),
    ):
        assert f"{number:,} {what}" in limits.replace("\n", " ")
    ways = section("How a filter is searched").replace(" %", "%")
    for share in (EXACT_SHARE, EXACT_SHARE_IN_CELLS, OVER_FETCH_SHARE):
        assert f" {share:.0%}" in ways
