"""The lexical index on the real tantivy: what it finds, in which order, inside which rows."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.adapters.tantivy import TantivyIndex
from shop.errors import DependencyTimeout, DependencyUnavailable

TEXTS = [
    "",
    "red wool rug",
    "red lamp",
    "Round Lamp with Café shade",
    "wool blanket, red red red",
    "",
    "lamps",
]


@pytest.fixture
def index() -> Iterator[TantivyIndex]:
    opened = TantivyIndex(TEXTS)
    yield opened
    opened.close()


def found(
    index: TantivyIndex, *words: str, count: int = 10, allowed: NDArray[np.bool_] | None = None
) -> list[int]:
    rows, scores = asyncio.run(index.search(words, count, allowed=allowed, timeout_s=5.0))
    assert rows.dtype == np.int64
    assert rows.shape == scores.shape
    assert (np.diff(scores) <= 0).all()
    assert (scores > 0).all()
    return [int(row) for row in rows]


def test_any_word_finds_and_all_words_come_first(index: TantivyIndex) -> None:
    rows = found(index, "red", "lamp")
    assert rows[0] == 2
    assert set(rows) == {1, 2, 3, 4, 6}


def test_plurals_and_accents_find_the_same(index: TantivyIndex) -> None:
    assert set(found(index, "lamps")) == set(found(index, "lamp")) == {2, 3, 6}
    assert found(index, "cafe") == [3]


def test_no_more_than_asked_for_and_nothing_for_nothing(index: TantivyIndex) -> None:
    assert len(found(index, "red", count=2)) == 2
    assert found(index, "red", count=0) == []
    assert found(index) == []
    assert found(index, "qwertz") == []


def test_the_query_language_of_the_library_is_not_spoken(index: TantivyIndex) -> None:
    for hostile in ('"red', "text:red", "red AND NOT", "[a TO b]", "row:1", "*", "\x00", "re*"):
        assert found(index, *hostile.split()) in ([], found(index, "red"))


@pytest.mark.parametrize("pushed_down_rows", [0, 2_000])
def test_only_allowed_rows_are_found(
    pushed_down_rows: int,
) -> None:
    index = TantivyIndex(TEXTS, pushed_down_rows=pushed_down_rows)
    allowed = np.zeros(len(TEXTS), dtype=np.bool_)
    assert found(index, "red", allowed=allowed) == []
    allowed[[3, 4]] = True
    everywhere = found(index, "red", "lamp")
    inside = [row for row in everywhere if row in (3, 4)]
    assert found(index, "red", "lamp", allowed=allowed) == inside
    assert len(inside) == 2
    index.close()


def test_a_rare_allowed_product_behind_many_others_is_found() -> None:
    texts = ["", *["red lamp"] * 200, "red lamp and much else beside it"]
    index = TantivyIndex(texts, pushed_down_rows=0)
    allowed = np.zeros(202, dtype=np.bool_)
    allowed[201] = True
    assert found(index, "red", count=5, allowed=allowed) == [201]
    index.close()


def test_a_mask_of_another_catalogue_is_refused(index: TantivyIndex) -> None:
    with pytest.raises(DependencyUnavailable, match="allowed has 3 rows"):
        found(index, "red", allowed=np.ones(3, dtype=np.bool_))


def test_a_catalogue_without_texts_finds_nothing() -> None:
    index = TantivyIndex([""])
    assert found(index, "red") == []
    index.close()


def test_a_closed_index_is_unavailable_and_a_late_answer_a_timeout() -> None:
    index = TantivyIndex(TEXTS)
    with pytest.raises(DependencyTimeout):
        asyncio.run(index.search(["red"], 5, allowed=None, timeout_s=0.0))
    index.close()
    with pytest.raises(DependencyUnavailable):
        found(index, "red")
