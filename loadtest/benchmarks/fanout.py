"""Fan-out: 500 products asked of all five back-ends at once, and what a stalled one costs.

Measures the look-up itself, in this process, against the running stack's back-ends: every product
is asked anew each time. What calls through the door make of ailing back-ends is `backends`.

Shapes: n fan-outs.
"""

import asyncio
import gc
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from loadtest.benchmarks.result import Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.current import current_folder, current_manifest
from loadtest.histogram import percentile
from serving.adapters.business import open_business_systems
from serving.adapters.release_files import load_tables
from serving.proto import business_pb2 as pb
from serving.proto import business_pb2_grpc as rpc
from serving.recommend.lookups import OfferCache
from serving.recommend.request import Losses
from serving.recommend.settings import RecommendSettings
from serving.stack.local import BUSINESS_SYSTEMS
from shop.catalogue import Catalogue

PRODUCTS = 500
HEALTHY, STALLED = 1_000, 200  # fan-outs
_WARM_UP = 50
HEALTHY_MS = 8.0
OVER_BUDGET_MS = 2.0
_PATIENT_S = 5.0
_LATER_MS = 1_000_000  # nothing is current any more


@dataclass(frozen=True, slots=True, eq=False)
class FanOuts:
    """Cold fan-outs, one after the other."""

    took_ms: NDArray[np.float64]  # [n]
    incomplete: int  # of them, so many lacked an answer within the budget

    @property
    def p99_ms(self) -> float:
        """What one in a hundred took at least."""
        return percentile(self.took_ms, 99.0)


def measure(state_dir: Path, images: Path) -> Result:
    """p99 of cold fan-outs, healthy and with each back-end stalled."""
    catalogue = load_tables(current_folder(state_dir), current_manifest(state_dir)).catalogue
    with a_stack(state_dir) as stack:
        healthy, stalled = cold_fan_outs(catalogue, stack.addresses)
    return outcome_of(healthy, stalled)


def cold_fan_outs(
    catalogue: Catalogue, addresses: Mapping[str, str]
) -> tuple[FanOuts, dict[str, FanOuts]]:
    """With all back-ends healthy, and with each of them stalled, by its name."""
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would show up as a back-end's latency
    try:
        return asyncio.run(_measured(catalogue, addresses))
    finally:
        gc.enable()
        gc.unfreeze()


async def _measured(
    catalogue: Catalogue, addresses: Mapping[str, str]
) -> tuple[FanOuts, dict[str, FanOuts]]:
    stalled = {}
    async with AsyncExitStack() as stack:
        systems = open_business_systems(stack, addresses, currency=catalogue.currency)
        settings = RecommendSettings()
        # With the breaker open nobody would ask, so nobody would wait: here everybody does.
        asked_for_ever = replace(settings.offers, breaker_failures=1 << 30)
        cache = OfferCache(catalogue, systems, asked_for_ever, time.monotonic)
        stack.push_async_callback(cache.close)
        fan_outs = _Repeated(cache, catalogue.product_count, settings.budgets.lookups_ms)
        await fan_outs.run(_WARM_UP, within_s=_PATIENT_S)
        healthy = await fan_outs.run(HEALTHY)
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(addresses["control"], (("grpc.enable_http_proxy", 0),))
        )
        faults = rpc.FaultsStub(channel)
        for system in BUSINESS_SYSTEMS:
            await faults.SetFaults(pb.FaultSettings(system=system, stall=True))
            try:
                stalled[system] = await fan_outs.run(STALLED)
            finally:
                await faults.SetFaults(pb.FaultSettings(system=system))
            await fan_outs.run(_WARM_UP, within_s=_PATIENT_S)
    return healthy, stalled


class _Repeated:
    """The same cache, asked for other products later and later."""

    def __init__(self, cache: OfferCache, product_count: int, budget_ms: float) -> None:
        self._cache = cache
        self._rows = np.arange(1, product_count + 1)
        self._budget_s = budget_ms / 1e3
        self._now_ms = time.time_ns() // 1_000_000
        self._rng = np.random.default_rng(6)

    async def run(self, count: int, *, within_s: float | None = None) -> FanOuts:
        """So many, one in flight, each within its budget unless said otherwise."""
        took_ms, incomplete = np.empty(count), 0
        for at in range(count):
            size = min(PRODUCTS, self._rows.size)
            rows = self._rng.choice(self._rows, size, replace=False)
            self._now_ms += _LATER_MS
            losses = Losses()
            began = time.perf_counter()
            await self._cache.look_up(
                rows, now_ms=self._now_ms, within_s=within_s or self._budget_s, losses=losses
            )
            took_ms[at] = (time.perf_counter() - began) * 1e3
            incomplete += bool(losses.found)
        return FanOuts(took_ms, incomplete)


def outcome_of(healthy: FanOuts, stalled: Mapping[str, FanOuts]) -> Result:
    """What was asked, beside what was measured. A stall only counts if it was felt."""
    budget_ms = RecommendSettings().budgets.lookups_ms
    worst_ms = max((each.p99_ms for each in stalled.values()), default=float("nan"))
    felt = sum(each.incomplete for each in stalled.values())
    return Result(
        name="fanout",
        figures={
            "products": PRODUCTS,
            "healthy_p50_ms": round(percentile(healthy.took_ms, 50.0), 3),
            "healthy_p99_ms": round(healthy.p99_ms, 3),
            "healthy_incomplete": healthy.incomplete,
            "stalled_p99_ms": {name: round(each.p99_ms, 3) for name, each in stalled.items()},
        },
        checks=(
            at_most("p99, all back-ends healthy", healthy.p99_ms, HEALTHY_MS, " ms"),
            at_most(
                f"p99, any one stalled (budget {budget_ms:g} ms)",
                worst_ms,
                budget_ms + OVER_BUDGET_MS,
                " ms",
            ),
            at_least("fan-outs that felt the stall", felt, len(stalled) * STALLED * 0.9, ""),
        ),
        grids=(_times(healthy, stalled),),
    )


def _times(healthy: FanOuts, stalled: Mapping[str, FanOuts]) -> Grid:
    return Grid(
        f"{PRODUCTS} products asked anew of five back-ends, one fan-out in flight",
        ("back-ends", "fan-outs", "p50", "p99", "incomplete"),
        tuple(
            (
                name,
                str(each.took_ms.size),
                f"{percentile(each.took_ms, 50.0):.2f} ms",
                f"{each.p99_ms:.2f} ms",
                str(each.incomplete),
            )
            for name, each in (
                ("healthy", healthy),
                *((f"{name} stalled", each) for name, each in stalled.items()),
            )
        ),
    )
