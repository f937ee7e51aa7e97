"""Batching: what it could bring, and what Triton's dynamic batching makes of calls in flight.

Both halves are of the current release. In process, lists of so many shoppers in one run of each
model say what one core could gain at most; through the door, Triton's own counters say how many
rankings it really put together, and how long they waited for it.
"""

import asyncio
import re
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.audience import audience_of
from loadtest.benchmarks.result import Grid, Result
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.benchmarks.warmth import warm_up
from loadtest.call_log import OK
from loadtest.doors import Call, GrpcDoor
from loadtest.histogram import percentile
from loadtest.peers.core import Core
from loadtest.peers.task import PAGE_SIZE, shopper_name, write_task
from loadtest.traffic import SCENARIOS, make_calls

IN_FLIGHT = (1, 2, 4, 8, 16, 32)
BATCHES = (1, 2, 4, 8, 16)
_SECONDS = 4.0
_RUNS = 40
_TIMEOUT_S = 5.0
_MODEL = "ranker"
_COUNTERS = {
    "count": "nv_inference_count",
    "runs": "nv_inference_exec_count",
    "queue_us": "nv_inference_queue_duration_us",
}


@dataclass(frozen=True, slots=True)
class Flight:
    """So many calls in flight, always."""

    in_flight: int
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    batch: float  # rankings in one run of the model, mean
    queue_ms: float  # of a ranking in Triton, mean


def measure(state_dir: Path, images: Path) -> Result:
    """Milliseconds a list by batch in process; rate, batch and queue by calls in flight."""
    alone_ms = _in_process_ms(state_dir)
    rng = np.random.default_rng(41)
    calls = make_calls(SCENARIOS["product"], audience_of(state_dir), 4_000, rng)
    quiet = [call for call in calls if not call.clicks]
    with a_stack(state_dir) as stack:
        warm_up(state_dir, stack.door)
        metrics = stack.addresses.get("triton metrics")
        if metrics is None:
            raise BenchmarkFailed("this stack runs without Triton; there is nothing to batch")
        flights = [_flight(stack.door, metrics, quiet, count) for count in IN_FLIGHT]
    figures: dict[str, float | int] = {}
    for batch, ms in alone_ms.items():
        figures[f"in_process_ms_a_list_{batch}"] = round(ms, 4)
    for each in flights:
        figures |= {
            f"rate_per_s_{each.in_flight}": round(each.rate_per_s, 1),
            f"p50_ms_{each.in_flight}": round(each.p50_ms, 2),
            f"batch_{each.in_flight}": round(each.batch, 3),
            f"queue_ms_{each.in_flight}": round(each.queue_ms, 4),
        }
    return Result(
        name="batching",
        figures=figures,
        grids=(
            Grid(
                "In process, one core: ms a list (tower, index, ranker) by lists in one run",
                tuple(str(batch) for batch in alone_ms),
                (tuple(f"{ms:.2f} ms" for ms in alone_ms.values()),),
            ),
            Grid(
                "Through the door, by calls in flight; batch and queue are the ranker's on Triton",
                ("in flight", "calls/s", "p50", "p99", "failed", "batch, mean", "queue, mean"),
                tuple(
                    (
                        str(each.in_flight),
                        f"{each.rate_per_s:.0f}",
                        f"{each.p50_ms:.1f} ms",
                        f"{each.p99_ms:.1f} ms",
                        str(each.failed),
                        f"{each.batch:.2f}",
                        f"{each.queue_ms:.2f} ms",
                    )
                    for each in flights
                ),
            ),
        ),
        notes=(
            "Calls in flight are a closed loop: it shows what batching does, and flatters latency."
            f" {_SECONDS:g} s each, product pages, generator on the same cores.",
        ),
    )


def _in_process_ms(state_dir: Path) -> dict[int, float]:
    """Median milliseconds of one list, by how many are worked out in one run."""
    with tempfile.TemporaryDirectory(prefix="vitrine-batching-") as folder:
        write_task(state_dir, Path(folder))
        core = Core(Path(folder))
    found = {}
    for batch in BATCHES:
        shoppers = [shopper_name(number) for number in range(batch)]
        times = []
        for _ in range(_RUNS):
            began = time.perf_counter()
            core.recommend_many(shoppers, PAGE_SIZE)
            times.append((time.perf_counter() - began) * 1e3 / batch)
        found[batch] = percentile(np.array(times), 50.0)
    return found


def _flight(door: str, metrics: str, calls: Sequence[Call], in_flight: int) -> Flight:
    before = counters_of(_metrics_text(metrics), _MODEL)
    latency_ms, failed = asyncio.run(_keep_in_flight(door, calls, in_flight))
    after = counters_of(_metrics_text(metrics), _MODEL)
    count, runs, queue_us = (after[name] - before[name] for name in ("count", "runs", "queue_us"))
    return Flight(
        in_flight,
        latency_ms.size / _SECONDS,
        percentile(latency_ms, 50.0),
        percentile(latency_ms, 99.0),
        failed,
        count / max(runs, 1.0),
        queue_us / max(count, 1.0) / 1e3,
    )


async def _keep_in_flight(
    door: str, calls: Sequence[Call], in_flight: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], int]:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    failed = 0
    async with GrpcDoor(door, min(4, in_flight)) as opened:
        until = loop.time() + _SECONDS

        async def one_after_the_other(first: int) -> None:
            nonlocal failed
            number = first
            while loop.time() < until:
                began = loop.time()
                reply = await opened.ask(number, calls[number % len(calls)], _TIMEOUT_S)
                times.append((loop.time() - began) * 1e3)
                failed += reply.code != OK
                number += in_flight

        await asyncio.gather(*(one_after_the_other(first) for first in range(in_flight)))
    return np.array(times), failed


def _metrics_text(address: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}", timeout=5.0) as answer:
        text: str = answer.read().decode()
    return text


def counters_of(text: str, model: str) -> dict[str, float]:
    """Triton's counters of a model, all versions together; 0 of one that is not there."""
    found = dict.fromkeys(_COUNTERS, 0.0)
    for name, counter in _COUNTERS.items():
        pattern = rf'^{counter}{{[^}}]*model="{re.escape(model)}"[^}}]*}} (\S+)$'
        found[name] = sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))
    return found
