"""Visits of the cache benchmark: in time, and as alike from page to page as their mix says."""

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np

from loadtest.benchmarks.visits import Mix, View, ask_of, views

MIX = Mix("visits", new_shoppers=0.5, reloads=0.3, ways_back=0.0, events=0.25)


def some(mix: Mix, seed: int = 1) -> list[View]:
    shoppers, products = ["u1", "u2", "u3"], [f"p{row}" for row in range(50)]
    return list(views(mix, shoppers, products, 2_000, np.random.default_rng(seed)))


def reloaded(seen: list[View]) -> float:
    """Share of the product pages that show the product of the page before."""
    by_visit: dict[str, list[View]] = defaultdict(list)
    for view in seen:
        by_visit[view.session].append(view)
    pairs = [(one, two) for visit in by_visit.values() for one, two in itertools.pairwise(visit)]
    about = [(one, two) for one, two in pairs if one.placement == "product"]
    return sum(one.product == two.product for one, two in about) / len(about)


def test_views_come_in_order_of_time_and_alike_for_a_seed() -> None:
    seen = some(MIX)
    assert [view.at_ms for view in seen] == sorted(view.at_ms for view in seen)
    assert seen == some(MIX)
    assert seen != some(MIX, seed=2)


def test_a_mix_is_what_it_says() -> None:
    seen = some(MIX)
    assert abs(np.mean([view.logs_event for view in seen]) - 0.25) < 0.05
    new = {view.session for view in seen if view.shopper.startswith("new-")}
    assert abs(len(new) / len({view.session for view in seen}) - 0.5) < 0.1
    assert reloaded(seen) > 0.28
    assert reloaded(some(replace(MIX, reloads=0.0))) < 0.15


def test_a_page_asks_for_what_it_is_about() -> None:
    for view in some(MIX)[:200]:
        ask = ask_of(view, 7, 1_000)
        named = ask.context_product_ids + ask.cart_product_ids
        assert named == ((view.product,) if view.product else ())
        assert bool(view.product) == (view.placement in ("product", "cart"))
