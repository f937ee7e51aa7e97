"""What a shopper writes, as constraints of the filter grammar and words to search for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.filter_grammar import MAX_COMPARISONS
from shop.filter_text import as_text
from shop.filters import parse_filter
from shop.search_query import (
    MAX_QUERY_WORDS,
    ParsedQuery,
    all_of,
    parse_query,
    relaxations,
)
from shop.search_vocabulary import SearchVocabulary, learn_vocabulary

VALUES = {
    "category": ["dresses", "t-shirts", "storage boxes", "shelves", "rugs"],
    "brand": ["Halden & Sons", "Olive"],
    "season": ["summer", "all-year"],
    "material": ["linen", "wool"],
    "colour": ["black", "white", "forest green", "olive"],
}
VOCABULARY = learn_vocabulary(
    ["Halden & Sons Alba linen wrap dress dresses summer", "wool rug round rugs", "Café shelf"],
    VALUES,
)


def read(text: str) -> ParsedQuery:
    return parse_query(text, VOCABULARY)


def constraints_of(text: str) -> str:
    wanted = all_of(read(text).constraints)
    return "" if wanted is None else as_text(wanted)


@pytest.mark.parametrize(
    ("query", "constraints"),
    [
        ("summer dresses under $50", 'season = "summer" AND category = "dresses" AND price < 50'),
        ("Summer DRESS", 'season = "summer" AND category = "dresses"'),
        ("a dress for the summer", 'category = "dresses" AND season = "summer"'),
        ("black or white dress", 'colour IN ("black", "white") AND category = "dresses"'),
        ("dress, not black", 'category = "dresses" AND NOT colour = "black"'),
        ("dress without wool", 'category = "dresses" AND NOT material = "wool"'),
        ("forest-green rugs", 'colour = "forest green" AND category = "rugs"'),
        ("tshirt", 'category = "t-shirts"'),
        ("\uff54\uff0d\uff53\uff48\uff49\uff52\uff54\uff53", 'category = "t-shirts"'),
        ("shelf", 'category = "shelves"'),
        ("storage box in stock", 'category = "storage boxes" AND in_stock'),
        ("halden and sons dress", 'category = "dresses"'),
        ("halden & sons dress", 'brand = "Halden & Sons" AND category = "dresses"'),
        ("olive rug", 'category = "rugs" AND (brand = "Olive" OR colour = "olive")'),
        ("all year rug", 'season = "all-year" AND category = "rugs"'),
        ("dress under 50 black", 'category = "dresses" AND colour = "black" AND price < 50'),
        ("wrap", ""),
    ],
)
def test_a_query_is_read_as_constraints(query: str, constraints: str) -> None:
    assert constraints_of(query) == constraints


def test_no_phrase_reaches_across_what_was_taken_out() -> None:
    assert 'colour = "forest green"' not in constraints_of("forest under 50 green rugs")


def test_words_to_search_for_are_those_of_products() -> None:
    parsed = read("the black wrap dress, not white, under 50")
    assert parsed.words == ("black", "wrap", "dress")
    assert parsed.open_words == ("wrap",)
    assert read("tshirt").words == ("t", "shirts")


def test_a_word_one_letter_away_is_read_as_the_known_one() -> None:
    parsed = read("sumer dreses")
    assert dict(parsed.corrections)["sumer"] == "summer"
    assert constraints_of("sumer dreses") == 'season = "summer" AND category = "dresses"'
    assert parsed.unknown_words == ()


def test_only_the_first_few_unknown_words_are_corrected() -> None:
    parsed = read("qqqqa qqqqb qqqqc qqqqd sumer")
    assert parsed.corrections == ()
    assert parsed.unknown_words == ("qqqqa", "qqqqb", "qqqqc", "qqqqd", "sumer")
    assert read("qqqq qqqq qqqq qqqq sumer").corrections == (("sumer", "summer"),)


def test_an_accent_more_or_less_is_no_error() -> None:
    assert read("cafe").has_meaning
    assert read("CAFÉ").corrections == ()


def test_what_nobody_has_is_searched_for_and_said_to_be_unknown() -> None:
    parsed = read("qwertzuiop")
    assert parsed.words == parsed.unknown_words == ("qwertzuiop",)
    assert not parsed.has_meaning
    assert read("qwertzuiop rug").has_meaning


@pytest.mark.parametrize("query", ["", "   ", "!!!", "💃", "and the for", "not", "|||", "\u202e"])
def test_a_query_that_says_nothing_has_no_meaning(query: str) -> None:
    assert not read(query).has_meaning


@given(st.text(max_size=300))
def test_no_text_is_an_error_and_every_filter_can_be_written_down(text: str) -> None:
    parsed = read(text)
    wanted = all_of(parsed.constraints)
    assert len(parsed.words) <= 3 * MAX_QUERY_WORDS
    if wanted is not None:
        assert parse_filter(as_text(wanted)).expression == wanted


QUERY_PARTS = st.sampled_from(
    [
        *(value for values in VALUES.values() for value in values),
        *("not", "under 50", "between 20 and €30", "in stock", "wrap", "$", "-", "9" * 400, "ß"),
    ]
)


@settings(max_examples=40)
@given(st.lists(QUERY_PARTS, max_size=60).map(" ".join))
def test_long_queries_make_filters_that_the_grammar_allows(text: str) -> None:
    wanted = all_of(read(text).constraints)
    if wanted is not None:
        assert parse_filter(as_text(wanted)).expression == wanted
        assert as_text(wanted).count("=") <= 3 * MAX_COMPARISONS


def test_relaxing_gives_up_the_finer_points_first_and_the_category_last() -> None:
    constraints = read("black summer dress under 50").constraints
    steps = [
        "" if (kept := all_of(step)) is None else as_text(kept) for step in relaxations(constraints)
    ]
    assert steps == [
        'colour = "black" AND season = "summer" AND category = "dresses" AND price < 50',
        'category = "dresses" AND price < 50',
        'category = "dresses"',
        "",
    ]


def test_a_vocabulary_survives_its_file() -> None:
    again = SearchVocabulary.from_json(VOCABULARY.to_json())
    assert again.phrases == VOCABULARY.phrases
    assert again.words == VOCABULARY.words


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"version": 2, "phrases": {}, "words": {}},
        {"version": 1, "phrases": {"red": [["size", "red"]]}, "words": {}},
        {"version": 1, "phrases": {}, "words": {"red": "many"}},
        [],
    ],
)
def test_a_vocabulary_of_another_kind_is_refused(raw: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        SearchVocabulary.from_json(raw)
