"""Retrieval truth: shoppers of the world, the gateway's own retrieval for them, and its judge.

Candidates come from `find_candidates` with the release's own tables and models, an exact index and
no deadline. The ranker judges every product of every shopper once (it looks at one product at a
time), so any number of blends can be compared.

Shapes: S shoppers, R catalogue rows, K places, N candidates.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.deadline import Deadline
from serving.recommend.beside import Beside
from serving.recommend.call import Call, Deps
from serving.recommend.candidates import find_candidates
from serving.recommend.history import Past, read_history
from serving.recommend.request import Ask
from serving.recommend.settings import RecommendSettings, StageBudgets
from shop.blend import Proposal
from shop.candidates import Source
from shop.features import shopper_features as features_of

PLACES = 20
BEST = 500  # of the truth, which retrieval should find
_PATIENT_S = 600.0
PATIENT = StageBudgets(
    total_ms=600_000.0, history_ms=60_000.0, tower_ms=60_000.0, index_ms=60_000.0
)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One way of finding candidates, by shopper."""

    recall: NDArray[np.float64]  # [S] of the truth's best BEST, among as many candidates
    ranked: NDArray[np.float64]  # [S] NDCG@20 of the candidates in the ranker's order
    unranked: NDArray[np.float64]  # [S] NDCG@20 in the order in which they were found
    new: NDArray[np.float64]  # [S] recall of the new products among the truth's best; NaN: none


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """Shoppers to ask for, and what is true of them."""

    deps: Deps
    asks: tuple[Ask, ...]  # [S]
    gain: NDArray[np.float64]  # [S, R] true purchase probability; 0 where it cannot be had
    ranking: NDArray[np.float32]  # [S, R] the ranker's purchase probability
    is_sellable: NDArray[np.bool_]  # [R]
    is_new: NDArray[np.bool_]  # [R]
    interactions: NDArray[np.int64]  # [S]

    def with_settings(self, settings: RecommendSettings) -> Deps:
        """The same shop, retrieving otherwise."""
        deps = self.deps
        return Deps(
            deps.histories,
            deps.release,
            deps.offers,
            deps.impressions,
            replace(settings, budgets=PATIENT),
            deps.clock,
            deps.feeds,
        )

    def judge(self, settings: RecommendSettings) -> Judged:
        """What these settings find."""
        found = asyncio.run(_found(self.asks, self.with_settings(settings)))
        columns = [self.judge_one(at, rows) for at, rows in enumerate(found)]
        return Judged(*(np.array(column) for column in zip(*columns, strict=True)))

    def judge_one(self, at: int, found: NDArray[np.int64]) -> tuple[float, float, float, float]:
        """The columns of `Judged` for one shopper."""
        gain = self.gain[at]
        rows = found[self.is_sellable[found]][:BEST]
        best = np.argsort(-gain, kind="stable")[:BEST]
        by_ranker = rows[np.argsort(-self.ranking[at, rows], kind="stable")]
        new = best[self.is_new[best]]
        ideal = _discounted(gain[best])
        return (
            float(np.isin(best, rows).mean()),
            _discounted(gain[by_ranker]) / ideal,
            _discounted(gain[rows]) / ideal,
            float(np.isin(new, rows).mean()) if new.size else np.nan,
        )


def _discounted(gains: NDArray[np.float64]) -> float:
    first = gains[:PLACES]
    return float(first @ (1.0 / np.log2(np.arange(first.size) + 2.0)))


async def _found(asks: Sequence[Ask], deps: Deps) -> list[NDArray[np.int64]]:
    return [(await retrieved(ask, deps))[0] for ask in asks]


async def proposals_of(shop: Shop, settings: RecommendSettings) -> list[list[Proposal]]:
    """[S] what every source proposes to each shopper, before they are blended."""
    deps = shop.with_settings(settings)
    release, reach = deps.release, settings.quotas.looked_up
    proposed = []
    for ask in shop.asks:
        call = Call.of(ask, deps, _patience())
        past = await read_history(call)
        features = features_of(past.history, past.context, release.tables.schema)
        vector = await release.user_tower.user_vector(features, timeout_s=1.0)
        rows, cosines = await release.index.search(vector, reach, allowed=None, timeout_s=1.0)
        nearest = Proposal(Source.TWO_TOWER, rows, cosines)
        proposed.append([nearest, *Beside.of(call, past).proposals(None)])
    return proposed


async def retrieved(ask: Ask, deps: Deps) -> tuple[NDArray[np.int64], Past]:
    """[N] rows in the order of the blend, and the shopper's past."""
    call = Call.of(ask, deps, _patience())
    past = await read_history(call)
    features = features_of(past.history, past.context, deps.release.tables.schema)
    return (await find_candidates(call, past, features)).candidates.rows, past


def _patience() -> Deadline:
    return Deadline(time.monotonic, start_s=time.monotonic(), total_s=_PATIENT_S, reserve_s=0.0)
