"""Served list: what the shop would show, from every candidate source and ranked, to judge it whole.

The order is by the chance that the product is wanted. The gateway's own order also weighs margins
and rules, which no log can judge.

Shapes: B moments, N candidates, H heads.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shop.events import WANTED_TYPES
from shop.features import FeatureSchema
from training.data.snapshot import Snapshot
from training.examples import Moments
from training.model_folder import list_prices
from training.models.ranker import ServingRanker, load_serving_ranker
from training.ranking_examples import Lists
from training.ranking_preparation import PastTables, Sources

_CHUNK = 64


@dataclass(frozen=True, slots=True, eq=False)
class ServedRetriever:
    """Candidates of all sources, ordered by the ranker."""

    sources: Sources
    ranker: ServingRanker

    @staticmethod
    def read(snapshot: Snapshot, folder: Path, schema: FeatureSchema) -> "ServedRetriever":
        """From a complete model folder. Raises NotFound if a part is missing."""
        return ServedRetriever(
            Sources.read(snapshot, folder, schema), load_serving_ranker(folder).eval()
        )

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] the candidates most likely wanted."""
        best = np.zeros((len(moments), count), dtype=np.int64)
        for start in range(0, len(moments), _CHUNK):
            part = np.arange(start, min(start + _CHUNK, len(moments)))
            rows = self._ordered(moments.at(part))[:, :count]
            best[part, : rows.shape[1]] = rows
        return best

    def _ordered(self, moments: Moments) -> NDArray[np.int64]:
        past = PastTables(np.zeros(1, dtype=np.int64), (self.sources.neighbours,))
        lists = _unjudged(self.sources, moments, self.sources.proposed(moments, past))
        batch = self.sources.ranking_set(lists, past).batch(np.arange(len(moments)))
        with torch.no_grad():
            probabilities = self.ranker(*batch.inputs()).numpy()
        wanted = [at for at, head in enumerate(self.sources.schema.heads) if head in WANTED_TYPES]
        scores = np.where(lists.rows > 0, probabilities[..., wanted].sum(axis=-1), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(lists.rows, order, axis=1).astype(np.int64)


def _unjudged(sources: Sources, moments: Moments, rows: NDArray[np.int32]) -> Lists:
    """Candidates at list price, of which nothing is known yet."""
    heads = len(sources.schema.heads)
    return Lists(
        moments=moments,
        rows=rows,
        price_minor=list_prices(sources.snapshot)[rows],
        discounts=np.zeros(rows.shape, dtype=np.float32),
        positions=np.zeros(rows.shape, dtype=np.int16),
        labels=np.zeros((*rows.shape, heads), dtype=np.bool_),
        is_known=np.zeros((*rows.shape, heads), dtype=np.bool_),
        certain_ms=np.zeros((len(moments), heads), dtype=np.int64),
    )
