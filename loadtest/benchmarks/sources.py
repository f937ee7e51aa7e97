"""Sources: every candidate source alone, and every blend of them, against the world's truth.

Retrieval answers for what the ranker may choose from, so it is judged by the share of the truth's
best 500 products in stock (by true purchase probability) that are among its first 500 candidates in
stock. Beside it stand NDCG@20 after the ranker, with true purchase probability as gain, and NDCG@20
in the order of the blend, which is what is shown when the ranker is lost. A source alone may fill
all 500 places. Exploration is off: it is no guess.

The shoppers here are not those on whom the weights were chosen (`blend_search`).

Shapes: S shoppers.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loadtest.benchmarks.result import Check, Grid, Result
from loadtest.benchmarks.retrieval_shop import open_shop, world_shoppers
from loadtest.benchmarks.retrieval_truth import Judged, Shop, proposals_of, retrieved
from serving.deadline import Deadline
from serving.recommend.beside import Beside
from serving.recommend.call import Call, Deps
from serving.recommend.history import Past
from serving.recommend.settings import RecommendSettings
from shop.blend import Proposal, Quotas
from shop.blend_policies import BlendPolicy, BlendSettings, Warmth, blend
from shop.candidates import BLENDED, Source

SHOPPERS = 1_000
TUNED_ON = 500  # other shoppers
COLD = 5  # interactions; fewer make a cold shopper
_POLICIES: tuple[BlendPolicy, ...] = ("weighted", "mixed", "cascade")
_RANKED = [source for source in BLENDED if source is not Source.EXPLORATION]
_DEEP = 600
_TIMED_CALLS = 200
_T = TypeVar("_T")
_SEED = 12


def shoppers_of(state_dir: Path, *, tuning: bool) -> list[str]:
    """Those to choose weights on, or those to report on; nobody is among both."""
    mixed = np.random.default_rng(_SEED).permutation(world_shoppers(state_dir))
    chosen = mixed[:TUNED_ON] if tuning else mixed[TUNED_ON : TUNED_ON + SHOPPERS]
    names: list[str] = chosen.tolist()
    return names


def blended(policy: BlendPolicy, **changes: int) -> RecommendSettings:
    """The defaults without exploration, one policy for the home page, quotas changed as named."""
    settings = RecommendSettings()
    return replace(
        settings,
        quotas=replace(settings.quotas, exploration=0, **changes),
        blend=replace(settings.blend, home=policy),
    )


def alone(source: Source) -> RecommendSettings:
    """One source that may fill the whole list."""
    none = {each.name.lower(): 0 for each in BLENDED}
    settings = RecommendSettings()
    quotas = Quotas(**none | {source.name.lower(): _DEEP})
    return replace(settings, quotas=quotas, blend=BlendSettings(home="mixed"))


def measure(state_dir: Path, images: Path) -> Result:
    """Every source alone, every policy, and the default without each source."""
    shop = open_shop(state_dir, shoppers_of(state_dir, tuning=False), blended("mixed"))
    singles = {_named(source): shop.judge(alone(source)) for source in _RANKED}
    policies = {policy: shop.judge(blended(policy)) for policy in _POLICIES}
    default = RecommendSettings().blend.home
    without = {
        f"{default} without {_named(source)}": shop.judge(blended(default, **{_named(source): 0}))
        for source in _RANKED
        if source is not Source.TWO_TOWER and RecommendSettings().quotas.of(source)
    }
    best = max(singles, key=lambda name: float(singles[name].recall.mean()))
    cost_us = _costs(shop)
    is_cold = shop.interactions < COLD
    gained = {name: _gain(each.recall, singles[best].recall) for name, each in policies.items()}
    return Result(
        name="sources",
        figures={
            "shoppers": len(shop.asks),
            "cold_shoppers": int(is_cold.sum()),
            "best_single_source": best,
            **{f"recall@500_{name}": _mean(j.recall) for name, j in (singles | policies).items()},
            **{f"ndcg@20_{name}": _mean(j.ranked) for name, j in (singles | policies).items()},
            **{f"recall_gain_{name}": round(gain, 5) for name, (gain, _) in gained.items()},
            "cost_us": {name: round(us, 1) for name, us in cost_us.items()},
        },
        checks=tuple(
            Check(
                f"recall of the truth's best 500: {name} − {best}",
                "> 0 by two standard errors",
                f"{gain:+.4f} ± {2 * error:.4f}",
                gain > 2 * error,
            )
            for name, (gain, error) in gained.items()
        ),
        grids=(
            Grid(
                f"{len(shop.asks)} shoppers, {int(is_cold.sum())} of them cold"
                f" (fewer than {COLD} interactions)",
                (
                    "candidates from",
                    "recall@500",
                    "cold shoppers",
                    "new products",
                    "NDCG@20 ranked",
                    "NDCG@20 as found",
                    "CPU a call",
                ),
                tuple(
                    _row(name, judged, is_cold, cost_us.get(name))
                    for name, judged in (singles | policies | without).items()
                ),
            ),
        ),
        notes=(_note(singles[best], policies),),
    )


def _named(source: Source) -> str:
    return source.name.lower()


def _mean(values: NDArray[np.float64]) -> float:
    return round(float(np.nanmean(values)), 4)


def _gain(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """Mean difference shopper by shopper, and its standard error."""
    more = ours - theirs
    return float(more.mean()), float(more.std(ddof=1) / np.sqrt(more.size))


def _row(
    name: str, judged: Judged, is_cold: NDArray[np.bool_], cost_us: float | None
) -> tuple[str, ...]:
    return (
        name.replace("_", " "),
        f"{_mean(judged.recall):.4f}",
        f"{_mean(judged.recall[is_cold]):.4f}",
        f"{_mean(judged.new):.4f}",
        f"{_mean(judged.ranked):.4f}",
        f"{_mean(judged.unranked):.4f}",
        "" if cost_us is None else f"{cost_us:.0f} µs",
    )


def _note(best: Judged, policies: dict[BlendPolicy, Judged]) -> str:
    gains = {name: _gain(judged.ranked, best.ranked) for name, judged in policies.items()}
    figures = ", ".join(f"{name} {gain:+.5f} ± {2 * e:.5f}" for name, (gain, e) in gains.items())
    ordered = [name for name, j in policies.items() if j.unranked.mean() > best.unranked.mean()]
    return (
        f"NDCG@20 after the ranker, against the best single source: {figures} (two standard"
        " errors). It moves little because 500 candidates of one good source already hold what the"
        " ranker would put on top of the whole catalogue; a blend is a wider choice for rules,"
        " filters and stock to leave something of. As found, which is what a lost ranker leaves,"
        f" the order is better than the best single source's in: {', '.join(ordered) or 'none'}."
        " A source's CPU is that of its share of a default call, a policy's"
        " that of blending, in process, median."
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    """What is timed of one call."""

    call: Call
    past: Past


def _costs(shop: Shop) -> dict[str, float]:
    """Median microseconds of each source and policy with the default settings' quotas."""
    deps = shop.with_settings(RecommendSettings())
    timed = asyncio.run(_timed_calls(shop, deps))
    quotas = deps.settings.quotas
    ways: dict[str, Callable[[Beside], object]] = {
        "item_item": lambda it: it.item_item_first(quotas.item_item, None),
        "history": lambda it: it.own_history(quotas.history, None),
        "content": lambda it: it.alike(quotas.content, None),
        "user_user": lambda it: it.bought_by_others(quotas.user_user, None),
        "segment_popular": lambda it: it.popular_in_segment(quotas.segment_popular, None),
        "popular": lambda it: it.popular_nearby(quotas.popular, None),
        "fresh": lambda it: it.fresh(quotas.fresh, None),
    }
    calls = [Beside.of(each.call, each.past) for each in timed]
    costs = {name: _median_us(way, calls) for name, way in ways.items()}
    proposed = asyncio.run(proposals_of(shop, RecommendSettings()))[:_TIMED_CALLS]
    warmth = Warmth(0.5, deps.product_warmth)
    for policy in _POLICIES:
        way = partial(_blend, policy=policy, settings=deps.settings, warmth=warmth)
        costs[policy] = _median_us(way, proposed)
    return costs


def _blend(
    proposals: list[Proposal],
    *,
    policy: BlendPolicy,
    settings: RecommendSettings,
    warmth: Warmth,
) -> object:
    quotas = settings.quotas
    return blend(policy, proposals, settings.blend, quotas, warmth, quotas.looked_up)


async def _timed_calls(shop: Shop, deps: Deps) -> list[_Timed]:
    timed = []
    for ask in shop.asks[:_TIMED_CALLS]:
        _, past = await retrieved(ask, deps)
        deadline = Deadline(time.monotonic, start_s=time.monotonic(), total_s=60.0, reserve_s=0.0)
        timed.append(_Timed(Call.of(ask, deps, deadline), past))
    return timed


def _median_us(way: Callable[[_T], object], calls: list[_T]) -> float:
    took = []
    for _ in range(5):
        for call in calls:
            began = time.perf_counter()
            way(call)
            took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1e6
