"""Adversity: one thing after another goes wrong under load, and every caller is answered."""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from loadtest.adversity import ADVERSITIES, Adversity
from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.benchmarks.faults import full_quality_after
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.doors import GrpcDoor
from loadtest.openloop import OK, CallLog, LoadPlan, run_apart
from loadtest.patience import as_our_client
from loadtest.traffic import SCENARIOS, make_calls
from loadtest.victims import Tally, Victim, replicas_of, wait_until
from serving.stack.folder import StateFolder
from serving.triton.status import STATUS_FILE, read_status

RATE_PER_S = 40.0
DURATION_S = 20.0
HARM_AT_S = 4.0
HARM_S = 4.0
WARM_UP_S = 3.0
ANSWERED = 99.9  # per cent
RECOVERY_S = 10.0
_HEALED_WITHIN_S = 30.0
_HEADER = (
    *("", "", "calls", "answered", "asked again", "degraded", "reasons", "p99"),
    "full quality after",
)
# What a caller of ours may be told; anything else is a bug that got out.
TYPED = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"),
    *("UNAVAILABLE", "CANCELLED", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the callers while one thing went wrong."""

    adversity: Adversity
    calls: int
    answered_percent: float
    untyped: int  # errors without a meaning, those of the misbehaving clients included
    degraded: int
    reasons: tuple[str, ...]
    p99_ms: float
    full_quality_after_s: float  # from the beginning of the harm
    told: dict[str, int]  # what the misbehaving clients were answered, or who logged events
    asked_again: int = 0  # calls whose clients were turned away before

    @property
    def must_be_felt(self) -> bool:
        """Else nothing was harmed, and nothing shown."""
        it = self.adversity
        return it.is_felt or it.asks_again or it.refuses_events

    @property
    def was_felt(self) -> bool:
        """In the way in which it has to be."""
        return (
            (not self.adversity.is_felt or self.degraded > 0)
            and (not self.adversity.asks_again or self.asked_again > 0)
            and (not self.adversity.refuses_events or self.told.get("UNAVAILABLE", 0) > 0)
        )


def measure(state_dir: Path, images: Path) -> Result:
    """Answered calls, errors without a type, degradations and recovery for each adversity."""
    with a_stack(state_dir) as stack:
        audience = audience_of(state_dir)
        outcomes, replicas = [], len(replicas_of(stack.door))
        for number, adversity in enumerate(ADVERSITIES):
            sys.stderr.write(f"  {adversity.name} …\n")
            rng = np.random.default_rng(70 + number)
            at_s = schedule(
                Arrivals.POISSON, rate_per_s=RATE_PER_S, duration_s=DURATION_S + WARM_UP_S, rng=rng
            )
            calls = make_calls(SCENARIOS["browse"], audience, at_s.size, rng)
            door = as_our_client if adversity.asks_again else GrpcDoor
            plan = LoadPlan(stack.door, at_s - WARM_UP_S, calls, timeout_s=5.0, door=door)
            outcomes.append(_one(adversity, Victim(state_dir, stack, calls[0]), plan))
            if not wait_until(partial(_is_whole, state_dir, replicas), within_s=_HEALED_WITHIN_S):
                sys.stderr.write(f"  after {adversity.name}, the stack is still not whole\n")
    return result_of(outcomes)


def _one(adversity: Adversity, victim: Victim, plan: LoadPlan) -> Outcome:
    running = run_apart(plan)
    time.sleep(WARM_UP_S + HARM_AT_S)
    harmed_at = time.time()
    with adversity.harm(victim) as tally:
        time.sleep(HARM_S)
    log = running.result()
    return outcome_of(adversity, log, tally, harmed_s=harmed_at - log.began_unix_s)


def outcome_of(adversity: Adversity, log: CallLog, tally: Tally, *, harmed_s: float) -> Outcome:
    """What the log says of one adversity that began `harmed_s` after its first call."""
    since = [reasons for at, reasons in zip(log.at_s, log.degraded, strict=True) if at >= harmed_s]
    failed = int(np.count_nonzero(log.codes != OK))
    untyped = sum(str(code) not in TYPED for code in log.codes)
    untyped += sum(count for code, count in tally.codes.items() if code not in TYPED)
    return Outcome(
        adversity=adversity,
        calls=len(log),
        answered_percent=100.0 * (len(log) - failed) / max(1, len(log)),
        untyped=untyped,
        degraded=sum(bool(reasons) for reasons in since),
        reasons=tuple(sorted({reason for reasons in since for reason in reasons})),
        p99_ms=float(np.percentile(log.latency_ms, 99, method="higher")),
        full_quality_after_s=full_quality_after(log, harmed_s),
        told=dict(sorted(tally.codes.items())),
        asked_again=int(np.count_nonzero(log.asked_again)),
    )


def result_of(outcomes: list[Outcome]) -> Result:
    """Holds if every caller was answered, every error had a type, and all of it passed."""
    felt = [each for each in outcomes if each.must_be_felt]
    return Result(
        name="adversity",
        figures={
            f"{each.adversity.name.replace(' ', '_')}_{name}": value
            for each in outcomes
            for name, value in (
                ("answered_percent", round(each.answered_percent, 3)),
                ("degraded", each.degraded),
                ("asked_again", each.asked_again),
                ("full_quality_after_s", round(each.full_quality_after_s, 2)),
            )
        },
        checks=(
            at_least(
                "calls answered, in the worst case",
                min(each.answered_percent for each in outcomes),
                ANSWERED,
                " %",
            ),
            at_most("errors without a type", float(sum(each.untyped for each in outcomes)), 0, ""),
            at_most(
                "full quality again after, in the worst case",
                max(each.full_quality_after_s for each in outcomes),
                HARM_S + RECOVERY_S,
                " s from the beginning of the harm",
            ),
            Check(
                "harm that was felt and marked",
                f"{len(felt)} of {len(felt)}",
                f"{sum(each.was_felt for each in felt)} of {len(felt)}",
                all(each.was_felt for each in felt),
            ),
        ),
        grids=(
            Grid(
                f"{RATE_PER_S:g} calls/s for {DURATION_S:g} s, harm from {HARM_AT_S:g} s"
                f" for {HARM_S:g} s",
                _HEADER,
                tuple(_row(each) for each in outcomes),
            ),
        ),
        notes=tuple(
            f"{each.adversity.name} were told: "
            + ", ".join(f"{code} {count}" for code, count in each.told.items())
            for each in outcomes
            if each.told
        ),
    )


def _row(each: Outcome) -> tuple[str, ...]:
    return (
        each.adversity.name,
        each.adversity.what,
        str(each.calls),
        f"{each.answered_percent:.2f} %",
        str(each.asked_again) if each.adversity.asks_again else "–",
        str(each.degraded),
        ", ".join(each.reasons),
        f"{each.p99_ms:.0f} ms",
        f"{each.full_quality_after_s:.1f} s",
    )


def _is_whole(state_dir: Path, replicas: int) -> bool:
    folder = StateFolder(state_dir)
    if len(replicas_of(folder.running().door)) < replicas:
        return False
    status = read_status(folder.run / STATUS_FILE)
    return status is not None and status.is_live and all(each.is_ready for each in status.models)
