"""Upgrade: a second Ray cluster takes over from the first under load, by weight. No call may fail.

Both clusters are started from the manifests of the overlay cpu-local, as KubeRay would start them;
Triton and the shop's systems are one stack's, as they are one in a cluster.
"""

import contextlib
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.openloop import OK, CallLog, LoadPlan, run_apart
from loadtest.rehearsal.application import (
    Described,
    Place,
    a_place,
    running,
    variables,
    wait_until_serving,
)
from loadtest.rehearsal.balancer import Balancer, balancing
from loadtest.traffic import SCENARIOS, make_calls
from serving.stack.folder import StackState

RATE_PER_S = 20.0
STEP_S = 8.0
WEIGHTS = (0, 10, 50, 100)  # of the new cluster, in per cent
WARM_UP_S = 3.0
_AFTER_S = 6.0  # the old cluster is gone, and calls go on
_DRAIN_S = 20.0
_STEADY_S = 4.0  # of counting at the end, where the old cluster must get nothing
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(slots=True)
class Course:
    """What happened in one rehearsal."""

    shares: list[tuple[int, float, int]] = field(default_factory=list)  # weight, share, calls
    drained_s: float = 0.0
    log: CallLog | None = None


def measure(state_dir: Path, images: Path) -> Result:
    """Failed calls over a whole upgrade, and the shares that the weights really gave."""
    from k8s.checks.build import BuildFailed, build_overlay  # it reads YAML; the others do not

    try:
        described = Described.of(build_overlay("cpu-local"))
    except BuildFailed as error:
        raise BenchmarkFailed(f"the manifests cannot be built: {error}") from error
    with a_stack(state_dir) as stack, tempfile.TemporaryDirectory(prefix="up-") as short:
        return result_of(rehearse(described, state_dir, stack, Path(short)))


def rehearse(
    described: Described,
    state_dir: Path,
    stack: StackState,
    folder: Path,
    *,
    step_s: float = STEP_S,
) -> Course:
    """The whole upgrade, `step_s` at each weight. `folder` is empty and has a short path."""
    old, new = (a_place(folder / name, state_dir) for name in ("old", "new"))
    run = f"rehearsal.{time.time_ns()}"
    course = Course()
    with contextlib.ExitStack() as staying, contextlib.ExitStack() as going:
        leaving = going.enter_context(running(described, old, variables(old, stack), run))
        wait_until_serving(old, leaving)
        # The second one starts beside the first; its first calls find it warm.
        starting = running(described, new, variables(new, stack), run)
        wait_until_serving(new, staying.enter_context(starting))
        doors = {"old": old.address, "new": new.address}
        balancer = staying.enter_context(balancing(folder, doors))
        load = run_apart(_plan(balancer, state_dir, step_s))
        time.sleep(WARM_UP_S + 2.0)
        for weight in WEIGHTS:
            course.shares.append(_step(balancer, weight, old, new, step_s))
        course.drained_s = _drain(balancer)
        calls_before = _calls(old)
        time.sleep(_STEADY_S)
        if _calls(old) != calls_before:
            raise BenchmarkFailed("the old cluster still gets calls at weight 0")
        going.close()  # the old cluster ends, and calls go on
        course.log = load.result()
    return course


def _plan(balancer: Balancer, state_dir: Path, step_s: float) -> LoadPlan:
    rng = np.random.default_rng(6)
    seconds = len(WEIGHTS) * step_s + _STEADY_S + _DRAIN_S + _AFTER_S
    at_s = schedule(Arrivals.POISSON, rate_per_s=RATE_PER_S, duration_s=seconds, rng=rng)
    calls = make_calls(SCENARIOS["browse"], audience_of(state_dir), at_s.size, rng)
    return LoadPlan(balancer.address, at_s - WARM_UP_S, calls, timeout_s=5.0)


def _step(
    balancer: Balancer, weight: int, old: Place, new: Place, step_s: float
) -> tuple[int, float, int]:
    balancer.weigh({"old": 100 - weight, "new": weight})
    before = _calls(old), _calls(new)
    time.sleep(step_s)
    at_old, at_new = _calls(old) - before[0], _calls(new) - before[1]
    return weight, at_new / max(at_old + at_new, 1), at_old + at_new


def _drain(balancer: Balancer) -> float:
    """Seconds until the old cluster has answered its last call."""
    began = time.monotonic()
    while balancer.sessions("old"):
        if time.monotonic() - began > _DRAIN_S:
            raise BenchmarkFailed("the old cluster's calls do not end")
        time.sleep(0.05)
    return time.monotonic() - began


def _calls(place: Place) -> int:
    with _OPENER.open(place.metrics, timeout=5) as page:
        lines = page.read().decode().splitlines()
    return round(
        sum(float(line.rpartition(" ")[2]) for line in lines if "vitrine_requests_total{" in line)
    )


def result_of(course: Course) -> Result:
    """What the rehearsal came to. It only holds if calls were really shifted."""
    log = course.log
    if log is None:
        raise BenchmarkFailed("no call was made")
    failed = int(np.count_nonzero(log.codes != OK)) + log.event_errors
    last = course.shares[-1]
    rows = tuple((f"{w} %", f"{share:.0%}", str(calls)) for w, share, calls in course.shares)
    half = next(share for weight, share, _ in course.shares if weight == 50)
    return Result(
        name="upgrade",
        figures={
            "calls": len(log),
            "events": int(log.event_latency_ms.size) + log.event_errors,
            "failed": failed,
            "p50_ms": round(float(np.percentile(log.latency_ms, 50)), 1),
            "p99_ms": round(float(np.percentile(log.latency_ms, 99)), 1),
            "share_at_half": round(half, 3),
            "drained_s": round(course.drained_s, 2),
        },
        checks=(
            at_most("failed calls over the whole upgrade, events included", failed, 0, ""),
            at_least("share of the new cluster at weight 50 %", half, 0.35, ""),
            Check(
                "share of the new cluster at weight 100 %",
                "all calls",
                f"{last[1]:.1%} of {last[2]}",
                last[1] >= 1.0 and last[2] > 0,
            ),
        ),
        grids=(
            Grid(
                f"{RATE_PER_S:g} calls/s through one address, {STEP_S:g} s at each weight",
                ("weight of the new cluster", "calls it answered", "calls"),
                rows,
            ),
        ),
        notes=(
            "Two Ray clusters, both from the manifests' own serveConfigV2 and settings, on one"
            " machine; HAProxy moves the weights and repeats nothing. Then the old cluster ends,"
            " under the same load.",
        ),
    )
