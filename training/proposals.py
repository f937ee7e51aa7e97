"""Proposals: the candidates that the gateway would rank, for shoppers at past moments.

Calls the same functions as the gateway (`shop.sources`, `shop.blend`), with an exact search in
place of the index, and without the products it would only show to try them. Sources whose tables
are made at export know of the time that is asked about here, so they are left out.

Shapes: B moments, N candidates, D vector size, R catalogue rows.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shop.blend import Proposal, Quotas, interleave
from shop.candidates import Source
from shop.neighbours import Neighbours, score_neighbours
from shop.popularity import Popularity
from shop.sources import from_history, from_neighbours, from_popularity
from training.examples import Moments
from training.histories import Histories

_CHUNK = 512
_NO_CATEGORIES: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Proposer:
    """All candidate sources over one model folder's tables."""

    histories: Histories
    item_vectors: NDArray[np.float32]  # [R, D]
    neighbours: Neighbours
    popularity: Popularity
    repeats: bool  # False: what the history holds is never proposed
    quotas: Quotas = field(default_factory=Quotas)

    def rows(
        self,
        moments: Moments,
        user_vectors: NDArray[np.float32],
    ) -> NDArray[np.int32]:
        """[B, N] candidates in the order of the blend, padded with 0. user_vectors [B, D]."""
        candidates = np.zeros((len(moments), self.quotas.candidates), dtype=np.int32)
        for start in range(0, len(moments), _CHUNK):
            part = np.arange(start, min(start + _CHUNK, len(moments)))
            nearest = self.nearest(user_vectors[part])
            for at, cosines in zip(part, nearest, strict=True):
                rows = self._blended(moments, int(at), cosines)
                candidates[at, : rows.size] = rows
        return candidates

    def nearest(self, user_vectors: NDArray[np.float32]) -> list[Proposal]:
        """[B] the two-tower model's proposals, by exact search."""
        cosines = user_vectors @ self.item_vectors.T
        cosines[:, 0] = -np.inf
        count = min(self.quotas.of(Source.TWO_TOWER), cosines.shape[1] - 1)
        rows = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        scores = np.take_along_axis(cosines, rows, axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        rows = np.take_along_axis(rows, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        return [Proposal(Source.TWO_TOWER, r, s) for r, s in zip(rows, scores, strict=True)]

    def _blended(self, moments: Moments, at: int, nearest: Proposal) -> NDArray[np.int64]:
        history = self.histories.history_at(
            int(moments.user_rows[at]), int(moments.times_ms[at]), int(moments.session_ids[at])
        )
        quotas, allowed = self.quotas, None
        proposals = [nearest]
        if not self.repeats:
            allowed = np.ones(self.item_vectors.shape[0], dtype=np.bool_)
            allowed[history.product_rows] = False
            kept = allowed[nearest.rows]
            proposals = [Proposal(Source.TWO_TOWER, nearest.rows[kept], nearest.scores[kept])]
        scored = score_neighbours(history, self.neighbours)
        proposals += [
            from_neighbours(scored, quotas.of(Source.ITEM_ITEM), allowed),
            from_history(history, quotas.of(Source.HISTORY), allowed),
            from_popularity(self.popularity, _NO_CATEGORIES, quotas.of(Source.POPULAR), allowed),
        ]
        return interleave(proposals, quotas, quotas.candidates).rows
