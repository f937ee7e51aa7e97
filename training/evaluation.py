"""Evaluation: the figures that judge retrieval, ranking and calibration, on plain arrays.

One definition of every metric for all models. What is fed in, and the protocol behind it, is the
caller's business.

Shapes: Q questions (shoppers, requests), K ranked places, E examples, X bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 under a logarithm


def hits_of(
    ranked_rows: NDArray[np.int64], wanted_rows: Sequence[NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """[Q, K] True where the product ranked there was wanted; ranked_rows [Q, K], 0 = empty."""
    hits = np.zeros(ranked_rows.shape, dtype=np.bool_)
    for at, wanted in enumerate(wanted_rows):
        hits[at] = np.isin(ranked_rows[at], wanted) & (ranked_rows[at] > 0)
    return hits


def recall_at(hits: NDArray[np.bool_], wanted_counts: NDArray[np.int64], k: int) -> float:
    """Mean share of the wanted products found in the first k places; counts [Q] are positive."""
    return _mean(hits[:, :k].sum(axis=1) / wanted_counts)


def capped_recall_at(hits: NDArray[np.bool_], wanted_counts: NDArray[np.int64], k: int) -> float:
    """As `recall_at`, but a shopper who wanted more than k products can be served fully by k."""
    return _mean(hits[:, :k].sum(axis=1) / np.minimum(wanted_counts, k))


def hit_rate_at(hits: NDArray[np.bool_], k: int) -> float:
    """Share of the questions with at least one wanted product in the first k places."""
    return _mean(np.asarray(hits[:, :k].any(axis=1)))


def ndcg_at(hits: NDArray[np.bool_], wanted_counts: NDArray[np.int64], k: int) -> float:
    """Mean normalised discounted cumulative gain at k with gains 0 and 1 (Järvelin 2002)."""
    places = min(k, hits.shape[1])
    discounts = 1.0 / np.log2(np.arange(k) + 2.0)
    gained = (hits[:, :places] * discounts[:places]).sum(axis=1)
    ideal = np.cumsum(discounts)[np.minimum(wanted_counts, k) - 1]
    return _mean(gained / ideal)


def reciprocal_rank(hits: NDArray[np.bool_]) -> float:
    """Mean of 1 / place of the first hit, 0 where there is none."""
    first = hits.argmax(axis=1)
    return _mean(np.where(hits.any(axis=1), 1.0 / (first + 1.0), 0.0))


def auc(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Chance that a positive scores above a negative, ties count half; NaN without both."""
    positives = int(np.count_nonzero(labels))
    negatives = labels.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2.0  # 1-based, ties share their mean
    rank_sum = float(mean_ranks[inverse][labels.astype(np.bool_)].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def log_loss(labels: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> float:
    """Mean negative log likelihood in nats; NaN without examples."""
    kept = np.clip(probabilities.astype(np.float64), _SMALLEST, 1.0 - _SMALLEST)
    return _mean(-np.where(labels, np.log(kept), np.log1p(-kept)))


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What was promised against what happened, in bins of the promised probability."""

    counts: NDArray[np.int64]  # [X] examples in the bin; empty bins are left out
    promised: NDArray[np.float64]  # [X] mean probability
    happened: NDArray[np.float64]  # [X] share of positives

    @property
    def error(self) -> float:
        """Expected calibration error (Guo 2017): mean gap, weighted by examples; NaN if empty."""
        if self.counts.size == 0:
            return float("nan")
        return float(np.average(np.abs(self.promised - self.happened), weights=self.counts))


def reliability(
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> Reliability:
    """Guo's bins of equal width by default; with `equal_mass`, bins of equally many examples."""
    promised = probabilities.astype(np.float64)
    if equal_mass:
        ranks = np.empty(promised.size, dtype=np.int64)
        ranks[np.argsort(promised, kind="stable")] = np.arange(promised.size)
        bin_of = ranks * bins // max(1, promised.size)
    else:
        bin_of = np.clip(np.ceil(promised * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    used = counts > 0
    sums = np.bincount(bin_of, weights=promised, minlength=bins)
    positives = np.bincount(bin_of, weights=labels.astype(np.float64), minlength=bins)
    return Reliability(counts[used], sums[used] / counts[used], positives[used] / counts[used])


def calibration_error(
    labels: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> float:
    """Expected calibration error; see `reliability`."""
    return reliability(labels, probabilities, bins=bins, equal_mass=equal_mass).error


def _mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if values.size else float("nan")
