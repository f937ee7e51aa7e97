"""Filtered calls: whole calls in this process, with and without a filter, and what each pays."""

import asyncio
import time
from dataclasses import dataclass, replace

import numpy as np

from loadtest.benchmarks.result import Grid
from loadtest.benchmarks.synthetic import a_catalogue
from loadtest.benchmarks.twins import deps_of
from serving.deadline import Deadline
from serving.recommend.call import Call, Deps
from serving.recommend.filtering import allowed_rows, conditions_dropped, relaxed_steps
from serving.recommend.pipeline import recommend
from serving.recommend.request import Answer, Ask
from shop.features import Context
from shop.filters import Filter, parse_filter

_PRODUCTS = 20_000
_LOOPS = 10_000
_CALLS = 60
_WANTED = 20


@dataclass(frozen=True, slots=True)
class Calls:
    """What calls took."""

    unfiltered_us: float  # of a call without a filter, for asking whether it has one
    ms: dict[str, float]  # CPU of a whole call, median, models and back-ends in memory
    shown_of_a_thousandth: int


def measured_calls() -> Calls:
    """On 20,000 products."""
    deps = deps_of(a_catalogue(_PRODUCTS))
    thousandth = _thousandth(deps)
    asked: dict[str, Filter | None] = {
        "no filter": None,
        "half pass": parse_filter("price < 40"),
        "2 % pass": parse_filter('category = "category 7"'),
        "0.1 % pass": thousandth,
        "none passes": parse_filter('category = "none of them" AND price < 5'),
    }
    return asyncio.run(_measured(deps, asked, thousandth))


async def _measured(deps: Deps, asked: dict[str, Filter | None], thousandth: Filter) -> Calls:
    ms = {}
    for name, wanted in asked.items():
        ask = _an_ask(wanted)
        times = []
        for _ in range(_CALLS):
            began = time.process_time()
            await _answer(deps, ask)
            times.append((time.process_time() - began) * 1e3)
        ms[name] = float(np.median(times[10:]))
    strict = replace(_an_ask(thousandth), strict_filtering=True)
    answer = await _answer(deps, strict)
    return Calls(await _unfiltered_us(deps), ms, len(answer.slate))


async def _answer(deps: Deps, ask: Ask) -> Answer:
    deadline = Deadline(deps.clock, start_s=deps.clock(), total_s=10.0, reserve_s=0.005)
    return await recommend(ask, deps, deadline)


async def _unfiltered_us(deps: Deps) -> float:
    """Everything about filters that a call without one comes by; the quickest of five loops."""
    ask = _an_ask(None)
    answer = await _answer(deps, ask)
    call = Call.of(ask, deps, Deadline(deps.clock, start_s=0.0, total_s=1e9, reserve_s=0.0))
    inside = np.ones(len(answer.offers), dtype=np.bool_)
    loops = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(_LOOPS):
            await allowed_rows(call)
            relaxed_steps(call, answer.offers, inside)
            conditions_dropped(call, answer.offers, answer.slate)
        loops.append((time.perf_counter() - began) / _LOOPS * 1e6)
    return min(loops)


def _thousandth(deps: Deps) -> Filter:
    """Passed by the twenty cheapest products from 40.00 on; prices may stand twice."""
    prices = np.sort(deps.release.tables.catalogue.list_price_minor[1:])
    first = int(np.searchsorted(prices, 4_000))
    low, high = prices[first], prices[first + _WANTED - 1]
    return parse_filter(f"price >= {low / 100:.2f} AND price <= {high / 100:.2f}")


def _an_ask(wanted: Filter | None) -> Ask:
    return Ask(
        request_id="benchmark",
        shopper="",
        session_id="",
        context=Context(now_ms=1_750_000_000_000, utc_offset_minutes=0, placement="home"),
        page_size=_WANTED,
        page=None,
        recent_events=(),
        context_product_ids=("P7", "P8"),
        cart_product_ids=(),
        exclude_product_ids=frozenset(),
        filter=wanted,
        strict_filtering=False,
        diversity=0.0,
        explain=False,
    )


def calls_grid(calls: Calls) -> Grid:
    """Whole calls by what passes."""
    return Grid(
        f"Whole calls of {_PRODUCTS:,} products, models and back-ends in memory, CPU (median)",
        tuple(calls.ms),
        (tuple(f"{ms:.2f} ms" for ms in calls.ms.values()),),
    )
