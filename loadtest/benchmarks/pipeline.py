"""Pipeline: one call at a time through the door, against the floors of the same release."""

import time
from pathlib import Path

import numpy as np

from loadtest.audience import audience_of
from loadtest.benchmarks.floors import floors_of
from loadtest.benchmarks.result import Grid, Result
from loadtest.benchmarks.stack import a_stack
from loadtest.benchmarks.warmth import warm_up
from loadtest.histogram import percentile
from loadtest.traffic import SCENARIOS, make_calls
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Stage

CALLS = 500


def measure(state_dir: Path, images: Path) -> Result:
    """p50 of one in flight, the floors, and the p50 of every stage."""
    floors = floors_of(state_dir)
    with a_stack(state_dir) as stack:
        warm_up(state_dir, stack.door)
        latency_ms, replies = _one_by_one(state_dir, stack.door)
    p50_ms = percentile(latency_ms, 50.0)
    stages = Stage.ordered(name for reply in replies for name in reply.stage_ms)
    stage_ms = {
        name: percentile(np.array([reply.stage_ms.get(name, 0.0) for reply in replies]), 50.0)
        for name in stages
    }
    scored = percentile(np.array([reply.scored_count for reply in replies]), 50.0)
    return Result(
        name="pipeline",
        figures={
            "p50_ms": round(p50_ms, 3),
            "p99_ms": round(percentile(latency_ms, 99.0), 3),
            "floors_ms": round(floors.sum_ms, 3),
            "p50_over_floors": round(p50_ms / floors.sum_ms, 2),
            "scored_p50": scored,
            "stage_ms": {name: round(ms, 3) for name, ms in stage_ms.items()},
        },
        grids=(
            Grid(
                f"{CALLS} calls, one in flight, {scored:.0f} candidates scored (median)",
                ("p50", "p99", "floors", "p50 / floors"),
                (
                    (
                        f"{p50_ms:.2f} ms",
                        f"{percentile(latency_ms, 99.0):.2f} ms",
                        f"{floors.sum_ms:.2f} ms",
                        f"{p50_ms / floors.sum_ms:.1f}",
                    ),
                ),
            ),
            Grid(
                "Stages, p50 as the server measures them (tower lies inside candidates)",
                tuple(stage_ms),
                (tuple(f"{ms:.2f} ms" for ms in stage_ms.values()),),
            ),
        ),
    )


def _one_by_one(
    state_dir: Path, door: str
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], list[pb.RecommendResponse]]:
    calls = make_calls(SCENARIOS["browse"], audience_of(state_dir), CALLS, np.random.default_rng(5))
    latency_ms, replies = np.empty(CALLS), []
    with VitrineClient(door, retries=False) as client:
        for at, call in enumerate(calls):
            request = pb.RecommendRequest.FromString(call.body)
            began = time.perf_counter()
            replies.append(client.recommend(request))
            latency_ms[at] = (time.perf_counter() - began) * 1e3
    return latency_ms, replies
