"""Drive: starts engine and replicas, sends calls when they are due, tells what became of them.

    python -m export.gpu.door.drive PLAN_JSON

Prints one JSON object for each rate. Latency counts from the intended send time
(`loadtest.openloop`). The first rate is run several times, and the round with the median p99
counts; the others are run once.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from export.gpu.door.plan import ENGINE_READY, REPLICA_READY, DoorPlan
from export.gpu.door.processes import ends_with_parent, start, stop, wait_for
from loadtest.arrivals import Arrivals, schedule
from loadtest.call_log import OK, CallLog
from loadtest.doors import Call
from loadtest.histogram import percentile
from loadtest.openloop import LoadPlan, run_apart
from serving.proto import recommendations_pb2 as pb
from serving.stack.ports import LOOPBACK, free_port

_ENGINE_WITHIN_S, _REPLICA_WITHIN_S = 300.0, 60.0
_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class RateResult:
    """What became of one rate, in its median round."""

    rate_per_s: float
    answered_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int  # of all rounds
    shortest: int  # items in the shortest list
    generator_late_p99_ms: float


def run_door(plan: DoorPlan) -> Iterator[RateResult]:
    """Each rate's result as it comes. Raises RuntimeError if a process does not come up."""
    with tempfile.TemporaryDirectory(prefix="vitrine-door-") as folder:
        port = free_port()
        with _started(plan, Path(folder), port):
            for rate in plan.rates_per_s:
                count = plan.rounds if rate == plan.rates_per_s[0] else 1
                yield _median(plan, rate, [_one_round(plan, port, rate, at) for at in range(count)])


@contextmanager
def _started(plan: DoorPlan, folder: Path, port: int) -> Iterator[None]:
    running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def begin(name: str, module: str, *arguments: str) -> None:
        log = folder / f"{name}.log"
        running.append((start(module, [str(folder), *arguments], log), log))

    try:
        begin("engine", "export.gpu.door.engine", plan.to_json())
        ready = folder / ENGINE_READY
        wait_for(ready.exists, running, within_s=_ENGINE_WITHIN_S)
        for number in range(plan.replicas):
            words = (str(number), str(port), plan.to_json())
            begin(f"replica-{number}", "export.gpu.door.replica", *words)
        told = [folder / REPLICA_READY.format(number) for number in range(plan.replicas)]
        wait_for(lambda: all(map(Path.exists, told)), running, within_s=_REPLICA_WITHIN_S)
        yield
        wait_for(lambda: True, running, within_s=1.0)
    finally:
        stop([process for process, _ in running])


def _one_round(plan: DoorPlan, port: int, rate: float, number: int) -> CallLog:
    rng = np.random.default_rng((plan.seed, number))
    at_s = schedule(
        Arrivals.POISSON, rate_per_s=rate, duration_s=plan.warm_s + plan.duration_s, rng=rng
    )
    shoppers = rng.integers(0, plan.shoppers, at_s.size)
    load = LoadPlan(
        address=f"{LOOPBACK}:{port}",
        at_s=at_s - plan.warm_s,
        calls=[_call(shopper) for shopper in shoppers.tolist()],
        timeout_s=_TIMEOUT_S,
        channels=plan.channels,
    )
    return run_apart(load, plan.generators).result()


def _call(shopper: int) -> Call:
    request = pb.RecommendRequest(
        placement="home", user_id=f"U{shopper:07d}", device="mobile", country="DE"
    )
    return Call(request.SerializeToString())


def _median(plan: DoorPlan, rate: float, rounds: Sequence[CallLog]) -> RateResult:
    p99s = [_p99_ms(log) for log in rounds]
    log = rounds[int(np.argsort(p99s)[len(rounds) // 2])]
    answered = log.codes == OK
    latencies = log.latency_ms[answered]
    return RateResult(
        rate_per_s=rate,
        answered_per_s=float(answered.sum() / plan.duration_s),
        p50_ms=percentile(latencies, 50.0) if latencies.size else math.inf,
        p99_ms=_p99_ms(log),
        failed=sum(int((each.codes != OK).sum()) for each in rounds),
        shortest=int(log.items[answered].min(initial=plan.listed)) if answered.any() else 0,
        generator_late_p99_ms=percentile(log.late_ms, 99.0) if len(log) else math.inf,
    )


def _p99_ms(log: CallLog) -> float:
    """Of all calls: one that failed took for ever."""
    latencies = np.where(log.codes == OK, log.latency_ms, np.inf)
    return percentile(latencies, 99.0) if latencies.size else math.inf


def main() -> None:
    """The command line."""
    ends_with_parent()
    for result in run_door(DoorPlan.from_json(sys.argv[1])):
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
