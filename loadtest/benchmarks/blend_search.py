"""Blend search: weights for the weighted blend, chosen on shoppers that `bench sources` leaves out.

    python -m loadtest.benchmarks.blend_search --state-dir .vitrine [--tries 200]

Draws weights at random and keeps the best by two figures of retrieval alone: the share of the
truth's best 500 that is found and NDCG@20 in the order found, each divided by the two-tower
model's. What it prints is for a person to round and to write into `shop.blend_policies`.

Shapes: S shoppers.
"""

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadtest.benchmarks.retrieval_shop import open_shop
from loadtest.benchmarks.retrieval_truth import Shop, proposals_of
from loadtest.benchmarks.sources import alone, blended, shoppers_of
from shop.blend import Proposal
from shop.blend_policies import BlendWeights, Warmth, blend
from shop.candidates import Source

_DRAWN = {  # each from the logarithm's even spread between these
    "two_tower": (1.0, 4.0),
    "item_item": (0.1, 1.0),
    "history": (0.1, 2.0),
    "popular": (0.02, 0.5),
    "content": (0.1, 2.0),
    "user_user": (0.1, 2.0),
    "segment_popular": (0.2, 2.0),
    "fresh": (0.02, 0.5),
    "rank_offset": (20.0, 200.0),
    "content_shift": (0.01, 1.0),
    "shopper_half": (1.0, 20.0),
    "product_half": (1.0, 50.0),
}


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Choose weights for the weighted blend.")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--tries", type=int, default=200)
    options = parser.parse_args()
    names = shoppers_of(options.state_dir, tuning=True)
    shop = open_shop(options.state_dir, names, blended("weighted"), with_ranker=False)
    tower = shop.judge(alone(Source.TWO_TOWER))
    base = float(tower.recall.mean()), float(tower.unranked.mean())
    proposed = asyncio.run(proposals_of(shop, blended("weighted")))
    rng = np.random.default_rng(0)
    tried = [BlendWeights(), *(_drawn(rng) for _ in range(options.tries))]
    scored = [(_score(shop, proposed, weights, base), weights) for weights in tried]
    sys.stdout.write(f"now: {scored[0][0]}\n")
    for score, weights in sorted(scored, key=lambda each: -each[0][0])[:8]:
        shown = {name: round(float(getattr(weights, name)), 3) for name in _DRAWN}
        sys.stdout.write(f"{score} {shown}\n")
    return 0


def _drawn(rng: np.random.Generator) -> BlendWeights:
    logs = {name: rng.uniform(np.log(low), np.log(high)) for name, (low, high) in _DRAWN.items()}
    return replace(BlendWeights(), **{name: float(np.exp(log)) for name, log in logs.items()})


def _score(
    shop: Shop,
    proposed: list[list[Proposal]],
    weights: BlendWeights,
    base: tuple[float, float],
) -> tuple[float, float, float]:
    """Mean of both figures over the two-tower model's, and each of them."""
    settings = blended("weighted")
    products = Warmth.of_products(shop.deps.release.tables.sources.wishes, weights)
    blending = replace(settings.blend, weights=weights)
    recall, ndcg = np.zeros(len(proposed)), np.zeros(len(proposed))
    for at, proposals in enumerate(proposed):
        shopper = Warmth.of_shopper(int(shop.interactions[at]), weights)
        found = blend(
            "weighted",
            proposals,
            blending,
            settings.quotas,
            Warmth(shopper, products),
            settings.quotas.looked_up,
        )
        recall[at], _, ndcg[at], _ = shop.judge_one(at, found.rows)
    means = float(recall.mean()) / base[0], float(ndcg.mean()) / base[1]
    return round(sum(means) / 2, 4), round(means[0], 4), round(means[1], 4)


if __name__ == "__main__":
    raise SystemExit(main())
