"""An answer is read while it is written, whatever it is cut into and whatever it is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.asking.prompt import MAX_SENTENCES
from shop.asking.sentences import Said, SentenceReader
from tests.unit.asked_shop import an_answer

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=60).map(
    lambda text: " ".join(text.split())
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 99), TEXT), max_size=MAX_SENTENCES), st.integers(1, 40))
def test_sentences_come_whole_however_the_answer_is_cut(
    sentences: list[tuple[int, str]], size: int
) -> None:
    written = an_answer(*sentences)
    reader, found = SentenceReader(), []
    for at in range(0, len(written), size):
        found += reader.feed(written[at : at + size])
    assert found == [Said(*each) for each in sentences]
    assert reader.is_whole


def test_a_sentence_comes_as_soon_as_it_is_complete() -> None:
    reader = SentenceReader()
    assert reader.feed('{"sentences":[{"product":1,"text":"It is {red}') == []
    assert reader.feed('."}') == [Said(1, "It is {red}.")]
    assert not reader.is_whole
    assert reader.feed("]}") == []
    assert reader.is_whole


@pytest.mark.parametrize(
    "written",
    [
        "I am sorry, I cannot help. " * 20,
        '{"sentences":[1]}',
        '{"sentences":[{"product":"1","text":"x"}]}',
        '{"sentences":[{"product":true,"text":"x"}]}',
        '{"sentences":[{"product":1,"text":"x","more":1}]}',
        '{"sentences":[{"product":1,"text":{"a":"b"}}]}',
        '{"sentences":[{"product":1,"text":"' + "x" * 241 + '"}]}',
        '{"sentences":[{"product":1,"text":"' + "x" * 5_000,
        '{"sentences":[' + '{"product":1,"text":"x"},' * (MAX_SENTENCES + 1) + "]}",
    ],
)
def test_what_is_no_answer_ends_the_reading(written: str) -> None:
    reader = SentenceReader()
    found = [said for character in written for said in reader.feed(character)]
    assert reader.is_broken
    assert not reader.is_whole
    assert len(found) <= MAX_SENTENCES
    assert reader.feed(an_answer((1, "It is red."))) == []


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_no_text_at_all_makes_it_fail(written: str) -> None:
    reader = SentenceReader()
    for said in reader.feed('{"sentences":[' + written):
        assert json.dumps(said.text)


def test_what_comes_after_the_list_is_nothing() -> None:
    reader = SentenceReader()
    reader.feed('{"sentences":[]}')
    assert reader.feed('{"product":1,"text":"It is red."}') == []
    assert reader.is_whole
