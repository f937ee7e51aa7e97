"""Several rankings become one, and a relevance that orders."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.fusion import fused, relevance

rankings = st.lists(st.lists(st.integers(1, 30), unique=True, max_size=20), max_size=3)


def rows(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def test_what_both_rankings_have_beats_what_one_has_alone() -> None:
    order, scores = fused([rows(1, 2), rows(3, 2)])
    assert order.tolist() == [2, 1, 3]
    np.testing.assert_allclose(scores, [2 / 62, 1 / 61, 1 / 61])


@settings(max_examples=30)
@given(rankings)
def test_every_product_is_there_once_and_the_order_is_by_score(lists: list[list[int]]) -> None:
    order, scores = fused([rows(*each) for each in lists])
    assert sorted(order.tolist()) == sorted(set().union(*lists))
    assert (np.diff(scores) <= 0).all()


def test_relevance_is_one_for_the_best_and_equals_are_equal() -> None:
    scores = np.array([[0.9, 3.0], [0.8, 3.0], [np.nan, 1.0], [np.nan, np.nan]], np.float32)
    found = relevance(scores, 1.0)
    assert found[0] == 1.0
    assert found[0] > found[1] > found[2] == found[3] > 0.0
    np.testing.assert_allclose(relevance(scores, 3.0), found**3)


def test_without_any_ranking_all_are_alike() -> None:
    assert relevance(np.full((3, 2), np.nan, np.float32), 5.0).tolist() == [1.0, 1.0, 1.0]
    assert relevance(np.zeros((0, 2), np.float32), 5.0).size == 0
