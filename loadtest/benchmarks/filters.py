"""Filters: what searching, judging and not having one cost, on catalogues made for it.

Needs no stack and no release. The figures say where the served path changes from one way of
searching to another (`serving/adapters/faiss_filtering.py`) and from the event loop to a thread
(`serving/recommend/filter_masks.py`).
"""

import asyncio
import gc
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.benchmarks.filtered_calls import Calls, calls_grid, measured_calls
from loadtest.benchmarks.filtered_graph import graph_grid
from loadtest.benchmarks.filtered_search import (
    measured_cells,
    search_checks,
    search_grids,
    switch_overs,
)
from loadtest.benchmarks.result import Check, Grid, Result, at_most
from loadtest.benchmarks.synthetic import a_catalogue
from loadtest.benchmarks.twins import a_price_moves, offers_of
from serving.recommend.filter_masks import FilterMasks
from shop.filters import parse_filter

SEARCHED = (4_000, 19_000, 100_000)  # flat as in the world, the largest flat, and cells
JUDGED = (20_000, 1_000_000)
FILTERS = (
    "price < 20 AND in_stock",
    'category = "category 7" AND price < 50',
    'brand IN ("brand 3", "brand 5") AND NOT category = "category 9" AND price >= 10',
)
_ROUNDS = 15
UNFILTERED_US = 5.0
_ON_LOOP_MS = 1.0


def measure(state_dir: Path, images: Path) -> Result:
    """Every part; some two minutes."""
    cells = [cell for count in SEARCHED for cell in measured_cells(count)]
    gc.collect()
    gc.disable()
    try:
        judged = {count: asyncio.run(_judging(count)) for count in JUDGED}
        calls = measured_calls()
    finally:
        gc.enable()
    on_loop_us = max(each["on the loop"] for each in judged[max(JUDGED)].values())
    return Result(
        name="filters",
        figures={
            "switch_overs": switch_overs(cells),
            "judging_us": {str(count): each for count, each in judged.items()},
            "unfiltered_us": round(calls.unfiltered_us, 2),
            "call_ms": {name: round(ms, 3) for name, ms in calls.ms.items()},
        },
        checks=(
            *search_checks(cells),
            *_call_checks(calls),
            at_most(
                "event loop's time for a filter on a million products",
                on_loop_us / 1e3,
                _ON_LOOP_MS,
                " ms",
            ),
        ),
        grids=(*search_grids(cells), graph_grid(), _judging_grid(judged), calls_grid(calls)),
    )


def _call_checks(calls: Calls) -> tuple[Check, ...]:
    return (
        at_most(
            "what a call without a filter pays for filters",
            calls.unfiltered_us,
            UNFILTERED_US,
            " µs",
        ),
        Check(
            "products of 20,000 that pass 0.1 %, shown of 20 wanted",
            "20",
            str(calls.shown_of_a_thousandth),
            calls.shown_of_a_thousandth == 20,
        ),
    )


async def _judging(count: int) -> dict[str, dict[str, float]]:
    """Microseconds by filter: for the first time, after a price moved, kept; most on the loop."""
    catalogue = a_catalogue(count)
    offers, pricing = offers_of(catalogue)
    found = {}
    for text in FILTERS:
        wanted = parse_filter(text)
        first, moved, kept = [], [], []
        for at in range(_ROUNDS):
            now_ms = await a_price_moves(offers, pricing, 2 * at)
            masks = FilterMasks(catalogue, offers, ttl_ms=0)  # it knows no names yet
            first.append(await _cpu_us(masks.of(wanted, now_ms)))
            now_ms = await a_price_moves(offers, pricing, 2 * at + 1)
            moved.append(await _cpu_us(masks.of(wanted, now_ms)))
            kept.append(await _cpu_us(masks.of(wanted, now_ms)))
        every = {"first": first, "price moved": moved, "kept": kept}
        measured = {name: [each for each, _ in times] for name, times in every.items()}
        found[text] = {name: round(float(np.median(us)), 2) for name, us in measured.items()}
        on_loop = max(float(np.median([each for _, each in times])) for times in every.values())
        found[text]["on the loop"] = round(on_loop, 2)
    return found


async def _cpu_us(asked: Coroutine[Any, Any, object]) -> tuple[float, float]:
    """Of all threads, and of the event loop's: others use the machine."""
    all_began, loop_began = time.process_time(), time.thread_time()
    await asked
    return (time.process_time() - all_began) * 1e6, (time.thread_time() - loop_began) * 1e6


def _judging_grid(judged: dict[int, dict[str, dict[str, float]]]) -> Grid:
    return Grid(
        "Judging a filter on the whole catalogue, µs of CPU (medians): names not known yet; known,"
        " and a price has moved; nothing has changed; and the most of these on the event loop",
        ("products", "filter", "first", "price moved", "kept", "on the loop"),
        tuple(
            (f"{count:,}", text, *(f"{us:,.1f}" for us in times.values()))
            for count, its in judged.items()
            for text, times in its.items()
        ),
    )
