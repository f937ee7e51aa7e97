"""Item–item scores: recency-weighted sums of the neighbours of what was looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.events import History
from shop.neighbours import RECENCY_DECAY, ItemItemScores, Neighbours, score_neighbours
from tests.unit.small_shop import next_five


def history(*rows: int) -> History:
    count = len(rows)
    return History(
        np.array(rows, dtype=np.int64),
        np.full(count, 2, dtype=np.int64),
        np.arange(count, dtype=np.int64),
        np.zeros(count, dtype=np.bool_),
    )


def table() -> Neighbours:
    """Of product 1: 2 (0.9) and 3 (0.4); of product 2: 3 (0.5); of product 3: nothing."""
    rows = np.array([[0, 0], [2, 3], [3, 0], [0, 0]], dtype=np.int32)
    scores = np.array([[0, 0], [0.9, 0.4], [0.5, 0], [0, 0]], dtype=np.float32)
    return Neighbours(rows, scores)


def test_the_newest_product_counts_most() -> None:
    scored = score_neighbours(history(1, 2), table())
    assert scored.rows.tolist() == [2, 3]
    np.testing.assert_allclose(
        scored.scores, [RECENCY_DECAY * 0.9, 0.5 + RECENCY_DECAY * 0.4], rtol=1e-6
    )


@given(st.lists(st.integers(1, 5), max_size=40), st.integers(0, 45))
def test_the_best_are_those_of_a_whole_sort_ties_by_row(values: list[int], count: int) -> None:
    scored = ItemItemScores(np.arange(1, len(values) + 1), np.array(values, dtype=np.float32))
    rows, scores = scored.best(count)
    expected = sorted(scored.rows.tolist(), key=lambda row: (-values[row - 1], row))[:count]
    assert rows.tolist() == expected
    assert scores.tolist() == [values[row - 1] for row in expected]


def test_padding_is_no_neighbour() -> None:
    assert score_neighbours(history(3), table()).rows.tolist() == []


@pytest.mark.parametrize("rows", [(), (0, 0)])
def test_nothing_known_gives_no_scores(rows: tuple[int, ...]) -> None:
    scored = score_neighbours(history(*rows), table())
    assert scored.rows.size == 0
    assert scored.of(np.array([1, 2])).tolist() == [0.0, 0.0]


def test_scores_are_read_by_row_and_zero_elsewhere() -> None:
    scored = ItemItemScores(np.array([4, 9]), np.array([0.5, 0.25], dtype=np.float32))
    assert scored.of(np.array([9, 1, 4, 99])).tolist() == [0.25, 0.0, 0.5, 0.0]


def test_the_best_come_first_and_ties_by_row() -> None:
    scored = ItemItemScores(np.array([2, 5, 7]), np.array([0.5, 0.9, 0.5], dtype=np.float32))
    rows, scores = scored.best(2)
    assert rows.tolist() == [5, 2]
    assert scores.tolist() == pytest.approx([0.9, 0.5])


@given(st.lists(st.integers(0, 40), max_size=30))
def test_scores_are_the_sums_of_the_definition(rows: list[int]) -> None:
    neighbours = next_five(40)
    expected: dict[int, float] = {}
    newest_first = [row for row in reversed(rows) if row > 0][:20]
    for age, row in enumerate(newest_first):
        pairs = zip(neighbours.rows[row].tolist(), neighbours.scores[row].tolist(), strict=True)
        for neighbour, score in pairs:
            expected[neighbour] = expected.get(neighbour, 0.0) + RECENCY_DECAY**age * score
    scored = score_neighbours(history(*rows), neighbours)
    assert scored.rows.tolist() == sorted(expected)
    np.testing.assert_allclose(
        scored.scores, [expected[row] for row in sorted(expected)], rtol=1e-4
    )


def test_a_large_catalogue_scores_as_a_small_one_does() -> None:
    random = np.random.default_rng(3)
    small = Neighbours(
        random.integers(0, 300, (300, 40)).astype(np.int32),
        random.random((300, 40), dtype=np.float32),
    )
    padding = ((0, 70_000), (0, 0))
    large = Neighbours(np.pad(small.rows, padding), np.pad(small.scores, padding))
    rows = random.integers(0, 300, 30)
    past = History(rows, np.full(30, 2), np.arange(30), np.zeros(30, dtype=np.bool_))
    few, many = score_neighbours(past, small), score_neighbours(past, large)
    assert few.rows.tolist() == many.rows.tolist()
    assert few.scores.tobytes() == many.scores.tobytes()
