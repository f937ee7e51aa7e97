"""Calibration on toys whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.calibration import IDENTITY, Affine, fit_affine, sigmoid
from training.evaluation import calibration_error, log_loss

RNG = np.random.default_rng(7)


def _drawn(probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    drawn: NDArray[np.bool_] = np.random.default_rng(3).random(probabilities.size) < probabilities
    return drawn


def test_the_line_that_made_the_labels_is_found() -> None:
    logits = RNG.normal(size=50_000)
    fitted = fit_affine(logits, _drawn(sigmoid(0.5 * logits - 2.0)))
    assert fitted.scale == pytest.approx(0.5, abs=0.05)
    assert fitted.shift == pytest.approx(-2.0, abs=0.05)


def test_skewed_logits_come_true_after_calibration() -> None:
    truth = RNG.normal(size=20_000) - 1.0
    skewed = 2.0 * truth + 3.0  # overconfident and far too hopeful
    labels = _drawn(sigmoid(truth))
    calibrated = sigmoid(fit_affine(skewed, labels).apply(skewed))
    assert log_loss(labels, calibrated) < log_loss(labels, sigmoid(skewed)) - 0.1
    assert calibration_error(labels, calibrated) < 0.01


def test_a_child_of_the_chain_is_calibrated_as_the_product() -> None:
    click = sigmoid(RNG.normal(size=100_000) - 1.0)
    given_click = RNG.normal(size=100_000)
    labels = _drawn(click * sigmoid(0.7 * given_click - 1.0))
    fitted = fit_affine(given_click, labels, factor=click)
    assert fitted.scale == pytest.approx(0.7, abs=0.08)
    assert fitted.shift == pytest.approx(-1.0, abs=0.08)


def test_order_is_never_turned_round() -> None:
    logits = RNG.normal(size=2_000)
    assert fit_affine(logits, _drawn(sigmoid(-3.0 * logits))) == IDENTITY


@pytest.mark.parametrize("labels", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_one_outcome_only_leaves_the_logits_alone(labels: NDArray[np.bool_]) -> None:
    assert fit_affine(np.zeros(labels.size), labels) == IDENTITY


def test_a_handful_of_examples_moves_little() -> None:
    fitted = fit_affine(np.array([0.0, 0.1]), np.array([True, False]))
    assert abs(fitted.shift) < 0.5


def test_huge_logits_stay_finite() -> None:
    logits = np.array([-1e4, 1e4, -1e4, 1e4])
    fitted = fit_affine(logits, np.array([False, True, True, False]))
    assert np.isfinite(fitted.apply(logits)).all()
    assert np.isfinite(sigmoid(logits)).all()


def test_apply_is_a_straight_line() -> None:
    assert Affine(2.0, 1.0).apply(np.array([0.0, 3.0])).tolist() == [1.0, 7.0]
