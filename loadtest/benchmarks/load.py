"""Load: 150 calls a second, Poisson, for a minute, through the gRPC door."""

from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Grid, Result, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.openloop import LoadPlan, run_apart
from loadtest.report import draw
from loadtest.traffic import SCENARIOS, make_calls
from loadtest.verdict import Summary, summary_of

RATE_PER_S = 150.0
DURATION_S = 60.0
# What starts after the door, the descriptions' application, is done by then.
WARM_UP_S = 30.0
P99_MS = 100.0
CANDIDATES = 500


def measure(state_dir: Path, images: Path) -> Result:
    """p99, errors, stage medians and what was scored."""
    rng = np.random.default_rng(1)
    at_s = schedule(
        Arrivals.POISSON, rate_per_s=RATE_PER_S, duration_s=DURATION_S + WARM_UP_S, rng=rng
    )
    calls = make_calls(SCENARIOS["browse"], audience_of(state_dir), at_s.size, rng)
    with a_stack(state_dir) as stack:
        log = run_apart(LoadPlan(stack.door, at_s - WARM_UP_S, calls, timeout_s=5.0)).result()
    summary = summary_of(log)
    picture = "load.png"
    draw(
        images / picture,
        title=f"browse, {RATE_PER_S:g}/s Poisson, {DURATION_S:g} s",
        log=log,
        summary=summary,
        limit_ms=P99_MS,
    )
    return Result(
        name="load",
        figures=_figures(summary),
        checks=(
            at_most("p99, from the intended send time", summary.latency_ms["p99"], P99_MS, " ms"),
            at_most("failed calls, events included", float(_failed(summary)), 0, ""),
            Check(
                "candidates scored, least and median",
                f"{CANDIDATES} each",
                f"{summary.scored_least} and {summary.scored_p50:.0f}",
                summary.scored_least >= CANDIDATES,
            ),
        ),
        grids=(
            Grid(
                "Latency",
                tuple(summary.latency_ms),
                (tuple(f"{ms:.1f} ms" for ms in summary.latency_ms.values()),),
            ),
            Grid(
                "Where the time goes, p50 of every stage as the server measures it",
                tuple(summary.stage_p50_ms),
                (tuple(f"{ms:.2f} ms" for ms in summary.stage_p50_ms.values()),),
            ),
        ),
        pictures=(picture,),
        notes=(
            f"{summary.calls} calls, {summary.rate_per_s:.1f}/s answered,"
            f" {summary.degraded_calls} of them degraded ({summary.degraded or 'none'}), and"
            f" {summary.event_calls} clicks logged between them."
            f" The generator took {summary.generator_cpu_share:.0%} of a core and was late by"
            f" {summary.generator_late_p99_ms:.1f} ms at p99, which is part of the latency.",
            "The bare reference of the same path elsewhere (grpc.aio, both models on Triton, no"
            " look-ups, no rules, no log, two cores): open loop at 300/s p99 19 ms, at 400/s 31 ms,"
            " 516/s when saturated.",
        ),
    )


def _failed(summary: Summary) -> int:
    return sum(summary.errors.values()) + summary.event_errors


def _figures(summary: Summary) -> dict[str, float | int]:
    figures: dict[str, float | int] = {
        f"{name}_ms": round(ms, 3) for name, ms in summary.latency_ms.items()
    }
    figures |= {f"stage_{name}_p50_ms": round(ms, 3) for name, ms in summary.stage_p50_ms.items()}
    return figures | {
        "calls": summary.calls,
        "errors": _failed(summary),
        "degraded_calls": summary.degraded_calls,
        "rate_per_s": round(summary.rate_per_s, 2),
        "scored_least": summary.scored_least,
        "scored_p50": summary.scored_p50,
        "generator_cpu_share": round(summary.generator_cpu_share, 3),
        "generator_late_p99_ms": round(summary.generator_late_p99_ms, 3),
    }
