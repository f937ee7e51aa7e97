"""Sampled softmax over a shared pool of products, corrected for how the pool was drawn (Yi 2019).

The pool of a step is every product wanted in the batch and some drawn uniformly. A product gets
into it the more often the more popular it is; subtracting the log of that probability from its
logit makes the loss estimate the softmax over the whole catalogue. Where the pool is the whole
catalogue, the correction is zero and the loss is that softmax.

Shapes: B examples, M wanted products of each, N pool, R catalogue rows.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_NEARLY_ALL = 1.0 - 1e-9  # the logarithm of missing what is always drawn stays finite


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The products that one step compares the wanted ones with."""

    rows: NDArray[np.int64]  # [N] distinct, ascending
    log_inclusion: NDArray[np.float32]  # [N] log of the chance to be in the pool


@dataclass(frozen=True, slots=True, eq=False)
class PoolSampler:
    """Draws pools and knows how likely every product was to be in one."""

    shares: NDArray[np.float64]  # [R] of all wishes; the exact form of Yi's frequency estimate
    uniform_count: int

    def draw(self, wanted_rows: NDArray[np.int64], random: np.random.Generator) -> Pool:
        """The wanted rows of a batch [B, M] and `uniform_count` uniform draws."""
        wanted = wanted_rows[wanted_rows > 0]
        catalogue = self.shares.size - 1
        rows = np.unique(
            np.concatenate([wanted, random.integers(1, catalogue + 1, self.uniform_count)])
        )
        # A row is in the pool unless all draws miss it.
        missed = wanted.size * np.log1p(-np.minimum(self.shares[rows], _NEARLY_ALL))
        missed += self.uniform_count * np.log1p(-min(1.0 / catalogue, _NEARLY_ALL))
        return Pool(rows, np.log(-np.expm1(missed)).astype(np.float32))


def sampled_softmax(
    similarity: Tensor,
    wanted_at: Tensor,
    weights: Tensor,
    log_inclusion: Tensor,
    *,
    temperature: float,
) -> Tensor:
    """The mean loss per unit of weight.

    similarity [B, N] cosines to the pool; wanted_at [B, M] pool positions; weights [B, M] 0 = none;
    log_inclusion [N]. A shopper's other wanted products are not their negatives.
    """
    logits = similarity / temperature - log_inclusion
    wanted_logits = logits.gather(1, wanted_at)
    is_real = (weights > 0).to(logits.dtype)
    is_wanted = torch.zeros_like(logits).scatter_add(1, wanted_at, is_real) > 0
    others = logits.masked_fill(is_wanted, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = functional.softplus(others - wanted_logits)
    return (losses * weights).sum() / weights.sum().clamp_min(1e-6)
