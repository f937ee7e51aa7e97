"""Nodes: a gateway spread over the nodes of a Ray cluster loses one of them under open-loop load.

The application is the one that the manifests name (`serving.cluster_app`), each node has a state
folder of its own as a pod has, and Triton and the shop's systems are one stack's. One half of the
load asks again by the service config, the other half never does.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.call_log import CallLog
from loadtest.doors import GrpcDoor, RetryingDoor
from loadtest.openloop import LoadPlan, run_apart
from loadtest.rehearsal.application import Place, a_place, variables
from loadtest.rehearsal.nodes import REPLICAS, WORKERS, Nodes, nodes_running
from loadtest.traffic import SCENARIOS, Audience, make_calls
from loadtest.verdict import Summary, summary_of
from serving.stack.folder import StackState
from serving.stack.ports import free_port

RATE_PER_S = 20.0  # of both kinds of client together: one replica alone can answer it
SECONDS = 60.0
ANSWERED_SHARE = 0.999  # requirements of a single fault
REPLACED_S = 30.0
_WARM_UP_S = 3.0
_CALLS_BEFORE = 100  # answered before the node is lost, warm-up included
_TIMEOUT_S = 5.0
_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Course:
    """What happened."""

    raw: CallLog
    retrying: CallLog
    replaced_s: float  # from the loss until as many replicas serve as before


def measure(state_dir: Path, images: Path) -> Result:
    """Calls, what failed of them with and without a second attempt, and the time without."""
    audience = audience_of(state_dir)
    with a_stack(state_dir) as stack, tempfile.TemporaryDirectory(prefix="nodes-") as short:
        return result_of(rehearse(state_dir, stack, audience, Path(short)))


def rehearse(state_dir: Path, stack: StackState, audience: Audience, folder: Path) -> Course:
    """One node lost some seconds after the load began. `folder` is empty and has a short path."""
    port = free_port()
    places = [
        replace(a_place(folder / f"node-{at}", state_dir), port=port) for at in range(WORKERS)
    ]
    settings = folder / "settings.toml"
    settings.write_text(f'state_dir = "{folder}"\n')  # each node's environment says which
    with nodes_running(
        folder / "cluster",
        ("serving.cluster_app:build", {"settings": str(settings)}),
        places,
        [_of_node(place, stack) for place in places],
        within_s=_WITHIN_S,
    ) as nodes:
        return _lost(nodes, audience)


def _of_node(place: Place, stack: StackState) -> Mapping[str, str]:
    return variables(place, stack)


def _lost(nodes: Nodes, audience: Audience) -> Course:
    rng = np.random.default_rng(9)
    loads = []
    for door in (GrpcDoor, RetryingDoor):
        at_s = schedule(
            Arrivals.POISSON, rate_per_s=RATE_PER_S / 2, duration_s=SECONDS + _WARM_UP_S, rng=rng
        )
        calls = make_calls(SCENARIOS["browse"], audience, at_s.size, rng)
        plan = LoadPlan(nodes.places[0].address, at_s - _WARM_UP_S, calls, _TIMEOUT_S, door=door)
        loads.append(run_apart(plan))
    nodes.wait_for_calls(_CALLS_BEFORE, within_s=_WITHIN_S)
    began = time.monotonic()
    nodes.kill(nodes.serving()[0])
    nodes.wait_until(REPLICAS, within_s=_WITHIN_S)
    replaced_s = time.monotonic() - began
    raw, retrying = (load.result() for load in loads)
    return Course(raw, retrying, replaced_s)


def result_of(course: Course) -> Result:
    """What it came to."""
    kinds = {"never": summary_of(course.raw), "once": summary_of(course.retrying)}
    once = kinds["once"]
    share = 1.0 - once.failed / max(1, once.calls)
    return Result(
        name="nodes",
        figures={
            "calls": len(course.raw) + len(course.retrying),
            "raw_calls": len(course.raw),
            "raw_failed": kinds["never"].failed,
            "retrying_calls": len(course.retrying),
            "retrying_failed": once.failed,
            "degraded": sum(each.degraded_calls for each in kinds.values()),
            "replaced_s": round(course.replaced_s, 2),
        },
        checks=(
            at_least("calls answered, of clients that ask again once", share, ANSWERED_SHARE, ""),
            at_most("untyped errors", float(_untyped(course)), 0, ""),
            at_most("until the lost replica is replaced", course.replaced_s, REPLACED_S, " s"),
        ),
        grids=(
            Grid(
                f"{RATE_PER_S:g} calls/s for {SECONDS:g} s; {REPLICAS} replicas on {WORKERS} nodes"
                " beside the head, one node lost",
                ("asks again", "calls", "failed", "degraded", "p50", "p99"),
                tuple(_row(name, summary) for name, summary in kinds.items()),
            ),
        ),
        notes=(
            "Every node is a raylet of its own with one replica; all of its processes are killed"
            " at once. The nodes share this machine's cores, so the replica that takes over starts"
            " beside the one that answers.",
        ),
    )


def _row(name: str, summary: Summary) -> tuple[str, ...]:
    codes = ", ".join(f"{code} ×{count}" for code, count in sorted(summary.errors.items()))
    return (
        name,
        str(summary.calls),
        f"{summary.failed}{f' ({codes})' if codes else ''}",
        str(summary.degraded_calls),
        f"{summary.latency_ms['p50']:.1f} ms",
        f"{summary.latency_ms['p99']:.1f} ms",
    )


def _untyped(course: Course) -> int:
    """A connection that breaks is UNAVAILABLE; a bug would be INTERNAL or UNKNOWN."""
    named = ("INTERNAL", "UNKNOWN")
    codes = np.concatenate([course.raw.codes, course.retrying.codes])
    return int(np.isin(codes, named).sum())
