"""Cache: how often it helps, what it saves and costs, and how stale it makes a list.

In one process, on the current release, with prices and stock that keep changing: the same visits
once without the cache and once with it. What lists show is held against what was true.

Shapes: n calls.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loadtest.benchmarks.moving_shop import MovingShop, a_moving_shop
from loadtest.benchmarks.result import Check, Grid, Result, at_most
from loadtest.benchmarks.visits import Mix, ask_of, event_of, views
from loadtest.histogram import percentile
from serving.recommend.cache import RankingCache
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.call import Call, Deps
from serving.recommend.candidates import find_candidates
from serving.recommend.history import read_history
from serving.recommend.pipeline import recommend
from serving.recommend.ranking import rank
from serving.recommend.recall import recalled
from serving.recommend.request import Answer, CacheStatus
from serving.recommend.slate import keep_eligible
from shop.features import shopper_features

CALLS, WARM_UP = 2_000, 300
_SAMPLES, _ROUNDS = 20, 500  # calls, and how often each is looked at
MISS_LIMIT_US = 60.0
_COMPARED = 400  # hits that are worked out anew, to see what was given away
_CHANGES_EVERY_MS = 1_000
_PRICES, _SOLD_OUT = 1, 1  # each second: one price of 6,000 products is 14 a day for every product
# What the shop's systems may be behind by their own time to live, and one call's duration.
_TTL_MS = 2_000
MIXES = (
    Mix("visits", new_shoppers=0.1, reloads=0.15, ways_back=0.1, events=0.3),
    Mix("half of them newcomers", new_shoppers=0.5, reloads=0.15, ways_back=0.1, events=0.3),
    Mix("an event after every page", new_shoppers=0.1, reloads=0.15, ways_back=0.1, events=1.0),
)


@dataclass(slots=True)
class Outcome:
    """What became of one mix's calls."""

    cpu_us: list[float] = field(default_factory=list)
    status: list[CacheStatus] = field(default_factory=list)
    ages_ms: list[int] = field(default_factory=list)  # of those from the cache
    wrong_prices: int = 0  # shown, and no longer true
    stale_prices: int = 0  # of them, for longer than the systems' own time to live
    stale_stock: int = 0  # sold out for longer than that, and shown
    shown: int = 0
    overlaps: list[float] = field(default_factory=list)  # of the first page with one made anew
    degraded: int = 0

    def share(self, *wanted: CacheStatus) -> float:
        """Of the calls."""
        return sum(each in wanted for each in self.status) / max(1, len(self.status))

    def cpu_of(self, *wanted: CacheStatus) -> float:
        """Median of the calls that ended so, µs; NaN without any."""
        found = [us for us, each in zip(self.cpu_us, self.status, strict=True) if each in wanted]
        return float(np.median(found)) if found else float("nan")

    @property
    def mean_us(self) -> float:
        """CPU of a call, all together."""
        return float(np.mean(self.cpu_us))


def measure(state_dir: Path, images: Path) -> Result:
    """Hit rate, CPU, staleness for each mix; and what a miss costs."""
    with a_moving_shop(state_dir) as shop:
        runs = {mix.name: (_run(shop, mix, None), _run(shop, mix, _cache(shop))) for mix in MIXES}
        miss_us = _miss_us(shop)
    return _result(runs, miss_us)


def _cache(shop: MovingShop) -> RankingCache:
    return RankingCache(CacheSettings(), shop.clock)


def _run(shop: MovingShop, mix: Mix, cache: RankingCache | None) -> Outcome:
    outcome = Outcome()
    asyncio.run(_visit(shop, mix, cache, outcome))
    return outcome


async def _visit(shop: MovingShop, mix: Mix, cache: RankingCache | None, outcome: Outcome) -> None:
    shop.begin()
    deps = shop.deps(cache)
    anew = shop.anew(deps)
    start_ms, changed_ms = shop.clock.now_ms, shop.clock.now_ms
    known = list(shop.histories.of_shopper)
    products = shop.tables.catalogue.product_ids[1:].tolist()
    rng = np.random.default_rng(8)
    for number, view in enumerate(views(mix, known, products, WARM_UP + CALLS, rng)):
        shop.clock.now_ms = start_ms + view.at_ms
        while shop.clock.now_ms - changed_ms >= _CHANGES_EVERY_MS:
            changed_ms += _CHANGES_EVERY_MS
            shop.systems.change(_PRICES, _SOLD_OUT)
        ask = ask_of(view, number, shop.clock.now_ms)
        began_ns = time.process_time_ns()
        answer = await recommend(ask, deps, shop.deadline())
        cpu_us = (time.process_time_ns() - began_ns) / 1e3
        await asyncio.sleep(0)  # questions to the systems that nobody waited for
        if number >= WARM_UP:
            _judge(outcome, shop, answer, cpu_us)
            if answer.cache.status is not CacheStatus.MISS and cache is not None:
                await _compare(outcome, shop, answer, anew)
        if view.logs_event and len(answer.slate):
            shop.histories.add(event_of(view, answer, shop.tables.catalogue, number))
    await deps.offers.close()


def _judge(outcome: Outcome, shop: MovingShop, answer: Answer, cpu_us: float) -> None:
    """Holds what is shown against the truth of this moment."""
    systems, now_ms, rows = shop.systems, shop.clock.now_ms, answer.slate.rows
    outcome.cpu_us.append(cpu_us)
    outcome.status.append(answer.cache.status)
    if answer.cache.status in (CacheStatus.HIT, CacheStatus.PARTIAL):
        outcome.ages_ms.append(answer.cache.age_ms)
    outcome.degraded += bool(answer.degraded)
    if answer.degraded:  # it says that it may show something older
        return
    wrong = answer.offers.price_minor[answer.slate.at] != systems.price_minor[rows]
    outcome.wrong_prices += int(wrong.sum())
    outcome.stale_prices += int((wrong & (now_ms - systems.price_changed_ms[rows] > _TTL_MS)).sum())
    gone = (systems.units[rows] == 0) & (now_ms - systems.sold_out_ms[rows] > _TTL_MS)
    outcome.stale_stock += int(gone.sum())
    outcome.shown += rows.size


async def _compare(outcome: Outcome, shop: MovingShop, answer: Answer, anew: Deps) -> None:
    """How much of a list from the cache a list made anew would have, exploration aside."""
    if len(outcome.overlaps) >= _COMPARED:
        return
    fresh = await recommend(answer.ask, anew, shop.deadline())
    one, other = (a.slate.rows[~a.slate.explored] for a in (answer, fresh))
    outcome.overlaps.append(np.isin(one, other).mean())


def _miss_us(shop: MovingShop) -> float:
    """What the cache adds to a call that it does not help: median of many rounds."""
    return float(np.median(asyncio.run(_rounds(shop))))


async def _rounds(shop: MovingShop) -> list[float]:
    """µs of looking for a real call's ranking in vain and keeping it; less what no cache costs."""
    shop.begin()
    cache = _cache(shop)
    cached = shop.deps(cache)
    known = list(shop.histories.of_shopper)
    products = shop.tables.catalogue.product_ids[1:].tolist()
    rng = np.random.default_rng(9)
    more_us: list[float] = []
    for number, view in enumerate(views(MIXES[0], known, products, _SAMPLES, rng)):
        ask = ask_of(view, number, shop.clock.now_ms)
        call = Call.of(ask, cached, shop.deadline())
        bare = Call.of(ask, shop.anew(cached), shop.deadline())
        past = await read_history(call)
        features = shopper_features(past.history, past.context, shop.tables.schema)
        found = await find_candidates(call, past, features)
        offers = await cached.offers.look_up(
            found.candidates.rows, now_ms=ask.context.now_ms, within_s=1.0, losses=call.losses
        )
        kept, offers = keep_eligible(call, found, offers)
        scores = await rank(call, past, features, kept, offers)
        for _ in range(_ROUNDS):
            cache.kept.clear()
            began_ns = time.perf_counter_ns()
            call.pool_generator()
            async with recalled(call, past, features) as nothing:
                await nothing.keep(found, offers, scores)
            middle_ns = time.perf_counter_ns()
            async with recalled(bare, past, features):
                pass
            more_us.append((2 * middle_ns - began_ns - time.perf_counter_ns()) / 1e3)
    await cached.offers.close()
    return more_us


def _result(runs: dict[str, tuple[Outcome, Outcome]], miss_us: float) -> Result:
    first_without, first = next(iter(runs.values()))
    stale = sum(with_.stale_prices + with_.stale_stock for _, with_ in runs.values())
    hits = (CacheStatus.HIT, CacheStatus.PARTIAL)
    ages_s = np.array(first.ages_ms or [0]) / 1e3
    return Result(
        name="cache",
        figures={
            "hit_rate": round(first.share(*hits), 4),
            "partial_rate": round(first.share(CacheStatus.PARTIAL), 4),
            "cpu_us_without": round(first_without.mean_us, 1),
            "cpu_us_with": round(first.mean_us, 1),
            "cpu_us_hit": round(first.cpu_of(CacheStatus.HIT), 1),
            "cpu_us_partial": round(first.cpu_of(CacheStatus.PARTIAL), 1),
            "cpu_us_miss": round(first.cpu_of(CacheStatus.MISS), 1),
            "miss_extra_us": round(miss_us, 1),
            "age_p50_s": round(percentile(ages_s, 50.0), 2),
            "age_max_s": round(float(ages_s.max()), 2),
            "stale_figures": stale,
            "overlap@20": round(float(np.mean(first.overlaps or [np.nan])), 4),
        },
        checks=(
            Check(
                "prices and stock shown that were older than the systems' own time to live",
                "0",
                str(stale),
                stale == 0,
            ),
            at_most("a call that misses, more than without a cache", miss_us, MISS_LIMIT_US, " µs"),
        ),
        grids=(
            Grid(
                f"{CALLS} calls of each mix, {_PRICES} prices and {_SOLD_OUT} stocks change a"
                " second; CPU of the whole call in one process, models included",
                (
                    *("visits", "hit", "of them partial", "CPU a call without", "with"),
                    *("a hit", "partial", "a miss", "age p50 / p99"),
                ),
                tuple(_row(name, *both) for name, both in runs.items()),
            ),
            Grid(
                "What lists from the cache show",
                (
                    *("visits", "products shown", "price not true any more, with / without"),
                    *("for longer than 2 s", "sold out for longer than 2 s", "as if made anew"),
                ),
                tuple(_truth_row(name, *both) for name, both in runs.items()),
            ),
        ),
        notes=(
            f"{sum(one.degraded + other.degraded for one, other in runs.values())} lists lacked"
            " something, said so, and are not judged.",
            "A price can be up to 2 s old with and without the cache: for so long the answers of"
            " the shop's systems count as current. As if made anew: share of the products of a"
            " page from the cache, exploration aside, that the same call worked out anew shows.",
        ),
    )


def _row(name: str, without: Outcome, with_: Outcome) -> tuple[str, ...]:
    partial = with_.share(CacheStatus.PARTIAL)
    ages_s = np.array(with_.ages_ms or [0]) / 1e3
    each = [with_.cpu_of(status) for status in list(CacheStatus)[:3]]
    return (
        name,
        f"{with_.share(CacheStatus.HIT) + partial:.1%}",
        f"{partial:.1%}",
        f"{without.mean_us / 1e3:.2f} ms",
        f"{with_.mean_us / 1e3:.2f} ms",
        *(f"{us / 1e3:.2f} ms" for us in each),
        f"{percentile(ages_s, 50.0):.0f} / {percentile(ages_s, 99.0):.0f} s",
    )


def _truth_row(name: str, without: Outcome, with_: Outcome) -> tuple[str, ...]:
    return (
        name,
        f"{with_.shown:,}",
        f"{with_.wrong_prices} / {without.wrong_prices}",
        str(with_.stale_prices),
        str(with_.stale_stock),
        f"{np.mean(with_.overlaps or [np.nan]):.1%}",
    )
