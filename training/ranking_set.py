"""Ranking set: lists with their features, handed to the ranker batch by batch.

Shapes: Q lists, B lists of a batch, N candidates, T history, C context codes, V context values,
F candidate values, D vector size, H heads.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shop.features import FeatureSchema
from training.examples import shopper_batch
from training.histories import Histories
from training.ranking_examples import Lists


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step reads; the first eight are the ranker's inputs in order."""

    history_rows: Tensor  # [B, T]
    history_events: Tensor  # [B, T]
    history_ages: Tensor  # [B, T]
    context_codes: Tensor  # [B, C]
    context_values: Tensor  # [B, V]
    user_vector: Tensor  # [B, D]
    candidate_rows: Tensor  # [B, N]
    candidate_values: Tensor  # [B, N, F]
    positions: Tensor  # [B, N]
    labels: Tensor  # [B, N, H] 0 or 1
    is_known: Tensor  # [B, N, H] 0 or 1

    def inputs(self) -> tuple[Tensor, ...]:
        """The ranker's inputs, in the order of `shop.tensors.ranker_spec`."""
        return (
            self.history_rows,
            self.history_events,
            self.history_ages,
            self.context_codes,
            self.context_values,
            self.user_vector,
            self.candidate_rows,
            self.candidate_values,
        )

    def without_vectors(self, lost: Tensor) -> "Batch":
        """As if the user tower had been lost where `lost` [B] holds."""
        return replace(self, user_vector=self.user_vector.masked_fill(lost[:, None], 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class RankingSet:
    """Lists, their candidates' values and their shoppers' vectors."""

    lists: Lists
    values: NDArray[np.float32]  # [Q, N, F]
    user_vectors: NDArray[np.float32]  # [Q, D]
    histories: Histories
    schema: FeatureSchema

    def __len__(self) -> int:
        return len(self.lists)

    def without_vectors(self) -> "RankingSet":
        """As if the user tower had been lost throughout."""
        return replace(self, user_vectors=np.zeros_like(self.user_vectors))

    def batch(
        self,
        at: NDArray[np.intp],
        *,
        length: int | None = None,
        random: np.random.Generator | None = None,
    ) -> Batch:
        """The lists at these positions; with `random`, `length` candidates drawn from each.

        The draw does not look at the outcomes, so that probabilities stay true.
        """
        lists, values = self.lists.at(at), self.values[at]
        rows, positions = lists.rows.astype(np.int64), lists.positions.astype(np.int64)
        labels, is_known = lists.labels, lists.is_known
        if random is not None and length is not None and rows.shape[1] > length:
            drawn = random.random(rows.shape).argpartition(length, axis=1)[:, :length]
            rows, positions = (np.take_along_axis(a, drawn, axis=1) for a in (rows, positions))
            values, labels, is_known = (
                np.take_along_axis(a, drawn[..., None], axis=1) for a in (values, labels, is_known)
            )
        shoppers = shopper_batch(self.histories, lists.moments, self.schema)
        return Batch(
            torch.from_numpy(shoppers.history_rows),
            torch.from_numpy(shoppers.history_events),
            torch.from_numpy(shoppers.history_ages),
            torch.from_numpy(shoppers.context_codes),
            torch.from_numpy(shoppers.context_values),
            torch.from_numpy(self.user_vectors[at]),
            torch.from_numpy(rows),
            torch.from_numpy(values),
            torch.from_numpy(positions),
            torch.from_numpy(labels).to(torch.float32),
            torch.from_numpy(is_known).to(torch.float32),
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """All lists in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))))
