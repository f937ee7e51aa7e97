"""The metrics, against values worked out by hand."""

import numpy as np
import pytest

from training.evaluation import (
    auc,
    calibration_error,
    capped_recall_at,
    hit_rate_at,
    hits_of,
    log_loss,
    ndcg_at,
    recall_at,
    reciprocal_rank,
    reliability,
)

HITS = np.array([[True, False, True, False], [False, True, False, False]])
WANTED = np.array([4, 1])


def test_a_hit_is_a_ranked_product_that_was_wanted() -> None:
    ranked = np.array([[3, 1, 0], [5, 0, 0]])
    hits = hits_of(ranked, [np.array([1, 9]), np.array([0, 5])])
    assert hits.tolist() == [[False, True, False], [True, False, False]]


def test_recall_is_the_share_of_the_wanted_products_found() -> None:
    assert recall_at(HITS, WANTED, 2) == pytest.approx((1 / 4 + 1) / 2)


def test_capped_recall_forgives_what_k_places_cannot_hold() -> None:
    assert capped_recall_at(HITS, WANTED, 2) == pytest.approx((1 / 2 + 1) / 2)


def test_hit_rate_counts_questions_with_any_hit() -> None:
    assert hit_rate_at(HITS, 1) == pytest.approx(1 / 2)
    assert hit_rate_at(HITS, 2) == pytest.approx(1.0)


def test_ndcg_matches_the_hand_computed_value() -> None:
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    ideal_of_three = 1 + second + third
    assert ndcg_at(HITS, WANTED, 3) == pytest.approx(((1 + third) / ideal_of_three + second) / 2)


def test_ndcg_of_a_perfect_list_is_one_even_if_the_list_is_shorter_than_k() -> None:
    assert ndcg_at(np.array([[True, True]]), np.array([2]), 20) == pytest.approx(1.0)


def test_reciprocal_rank_looks_at_the_first_hit() -> None:
    assert reciprocal_rank(np.vstack([HITS, np.zeros((1, 4), bool)])) == pytest.approx(0.5)


def test_auc_counts_ties_half() -> None:
    labels = np.array([True, True, False, False])
    assert auc(labels, np.array([0.9, 0.5, 0.5, 0.1])) == pytest.approx(3.5 / 4)


def test_auc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_log_loss_matches_the_hand_computed_value_and_survives_certainty() -> None:
    labels = np.array([True, False])
    assert log_loss(labels, np.array([0.8, 0.4])) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert np.isfinite(log_loss(labels, np.array([0.0, 1.0])))


def test_calibration_error_weights_the_gap_of_each_bin_by_its_examples() -> None:
    labels = np.array([True, False, False, False, True])
    promised = np.array([0.2, 0.2, 0.2, 0.2, 0.7])
    assert calibration_error(labels, promised, bins=2) == pytest.approx(0.8 * 0.05 + 0.2 * 0.3)


def test_a_probability_on_a_bound_belongs_to_the_bin_below() -> None:
    table = reliability(np.array([True, False]), np.array([0.5, 0.51]), bins=2)
    assert table.counts.tolist() == [1, 1]


def test_equal_mass_bins_hold_equally_many() -> None:
    rng = np.random.default_rng(0)
    promised = rng.random(300) ** 4
    table = reliability(rng.random(300) < promised, promised, equal_mass=True)
    assert table.counts.tolist() == [20] * 15


def test_honest_probabilities_have_a_small_calibration_error() -> None:
    rng = np.random.default_rng(1)
    promised = rng.random(200_000)
    assert calibration_error(rng.random(promised.size) < promised, promised) < 0.005
