"""Call log: what became of every call of a load test, whichever generator sent it.

Kept call by call, so that every percentile is a latency that somebody had, logs of many processes
and machines merge by joining them, and a question that comes up later can still be asked.

Shapes: n calls, S stages.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.recommend.request import Stage
from shop.errors import NotFound

OK = "OK"
CALLS_FILE = "calls.npz"
_MISSING = float("nan")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call."""

    kind: str  # what it was: a placement, or e-mail
    at_s: float  # when it was meant to be sent; below 0 it warms up
    latency_ms: float  # from the intended send time
    late_ms: float  # how late the generator itself sent it
    code: str = OK
    degraded: tuple[str, ...] = ()
    scored: int = 0
    items: int = 0
    stage_ms: Mapping[str, float] | None = None
    asked_again: int = 0  # how often, by a client that does


@dataclass(frozen=True, slots=True, eq=False)
class CallLog:
    """What became of every recorded call, in the order of their intended times."""

    began_unix_s: float  # when 0 of `at_s` was, on the wall clock
    kinds: NDArray[np.str_]  # [n]
    at_s: NDArray[np.float64]  # [n]
    latency_ms: NDArray[np.float64]  # [n] from the intended send time
    late_ms: NDArray[np.float64]  # [n] how late the generator itself sent it
    codes: NDArray[np.str_]  # [n] gRPC status names
    degraded: tuple[tuple[str, ...], ...]  # [n] "stage REASON"
    scored: NDArray[np.int64]  # [n] candidates the ranker scored
    items: NDArray[np.int64]  # [n] products in the reply
    stages: tuple[str, ...]  # [S]
    stage_ms: NDArray[np.float32]  # [n, S] NaN where a reply does not name the stage
    event_latency_ms: NDArray[np.float64]  # of the LogEvents calls that followed
    event_errors: int
    generator_cpu_s: float  # what measuring cost the machine
    wall_s: float
    asked_again: NDArray[np.int64]  # [n] how often, by clients that do

    def __len__(self) -> int:
        return int(self.at_s.size)


@dataclass(frozen=True, slots=True)
class Sending:
    """What a generator tells of itself beside its calls."""

    began_unix_s: float
    event_latency_ms: Sequence[float]
    event_errors: int
    cpu_s: float
    wall_s: float


def log_of(outcomes: Iterable[Outcome], sending: Sending) -> CallLog:
    """The log of one generator; calls that warmed up are left out."""
    rows = sorted((row for row in outcomes if row.at_s >= 0), key=lambda row: row.at_s)
    stages = Stage.ordered(name for row in rows for name in row.stage_ms or ())
    stage_ms = [[(row.stage_ms or {}).get(name, _MISSING) for name in stages] for row in rows]
    return CallLog(
        began_unix_s=sending.began_unix_s,
        kinds=np.array([row.kind for row in rows], np.str_),
        at_s=np.array([row.at_s for row in rows], np.float64),
        latency_ms=np.array([row.latency_ms for row in rows], np.float64),
        late_ms=np.array([row.late_ms for row in rows], np.float64),
        codes=np.array([row.code for row in rows], np.str_),
        degraded=tuple(row.degraded for row in rows),
        scored=np.array([row.scored for row in rows], np.int64),
        items=np.array([row.items for row in rows], np.int64),
        stages=stages,
        stage_ms=np.array(stage_ms, np.float32).reshape(len(rows), len(stages)),
        event_latency_ms=np.array(sending.event_latency_ms, np.float64),
        event_errors=sending.event_errors,
        generator_cpu_s=sending.cpu_s,
        wall_s=sending.wall_s,
        asked_again=np.array([row.asked_again for row in rows], np.int64),
    )


def merged(logs: Sequence[CallLog]) -> CallLog:
    """One log of what several generators sent at the same time. Raises ValueError of none."""
    if not logs:
        raise ValueError("there is no log to merge")
    stages = Stage.ordered(name for log in logs for name in log.stages)
    at_s = np.concatenate([log.at_s for log in logs])
    order = np.argsort(at_s, kind="stable")
    degraded = [reasons for log in logs for reasons in log.degraded]
    return CallLog(
        began_unix_s=min(log.began_unix_s for log in logs),
        kinds=np.concatenate([log.kinds for log in logs])[order],
        at_s=at_s[order],
        latency_ms=np.concatenate([log.latency_ms for log in logs])[order],
        late_ms=np.concatenate([log.late_ms for log in logs])[order],
        codes=np.concatenate([log.codes for log in logs])[order],
        degraded=tuple(degraded[at] for at in order.tolist()),
        scored=np.concatenate([log.scored for log in logs])[order],
        items=np.concatenate([log.items for log in logs])[order],
        stages=stages,
        stage_ms=np.concatenate([_columns(log, stages) for log in logs])[order],
        event_latency_ms=np.concatenate([log.event_latency_ms for log in logs]),
        event_errors=sum(log.event_errors for log in logs),
        generator_cpu_s=sum(log.generator_cpu_s for log in logs),
        wall_s=max(log.wall_s for log in logs),
        asked_again=np.concatenate([log.asked_again for log in logs])[order],
    )


def _columns(log: CallLog, stages: tuple[str, ...]) -> NDArray[np.float32]:
    """[n, S] its stage times in the order of `stages`."""
    found = np.full((len(log), len(stages)), np.nan, np.float32)
    for at, name in enumerate(stages):
        if name in log.stages:
            found[:, at] = log.stage_ms[:, log.stages.index(name)]
    return found


def save_log(log: CallLog, path: Path) -> None:
    """Everything in one compressed file of arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(log_bytes(log))


def log_bytes(log: CallLog) -> bytes:
    """The same to be sent elsewhere; `read_log` takes it back."""
    reasons = sorted(set(log.degraded))
    number = {each: at for at, each in enumerate(reasons)}
    told = {
        "began_unix_s": log.began_unix_s,
        "stages": log.stages,
        "reasons": reasons,
        "event_errors": log.event_errors,
        "generator_cpu_s": log.generator_cpu_s,
        "wall_s": log.wall_s,
    }
    written = io.BytesIO()
    np.savez_compressed(
        written,
        told=np.array(json.dumps(told)),
        kinds=log.kinds,
        at_s=log.at_s,
        latency_ms=log.latency_ms,
        late_ms=log.late_ms,
        codes=log.codes,
        degraded=np.array([number[each] for each in log.degraded], np.int32),
        scored=log.scored,
        items=log.items,
        stage_ms=log.stage_ms,
        event_latency_ms=log.event_latency_ms,
        asked_again=log.asked_again,
    )
    return written.getvalue()


def read_log(source: Path | bytes) -> CallLog:
    """What was written. Raises NotFound, naming the fix, if there is nothing readable."""
    name = source if isinstance(source, Path) else "what a worker sent"
    try:
        raw = source.read_bytes() if isinstance(source, Path) else source
        with np.load(io.BytesIO(raw), allow_pickle=False) as kept:
            told = json.loads(str(kept["told"]))
            reasons = [tuple(each) for each in told["reasons"]]
            arrays = ("kinds", "at_s", "latency_ms", "late_ms", "codes", "scored", "items")
            return CallLog(
                began_unix_s=float(told["began_unix_s"]),
                degraded=tuple(reasons[at] for at in kept["degraded"].tolist()),
                stages=tuple(told["stages"]),
                stage_ms=kept["stage_ms"],
                event_latency_ms=kept["event_latency_ms"],
                event_errors=int(told["event_errors"]),
                generator_cpu_s=float(told["generator_cpu_s"]),
                wall_s=float(told["wall_s"]),
                # Logs of before there were clients that ask again do not have it.
                asked_again=kept["asked_again"]
                if "asked_again" in kept
                else np.zeros(kept["at_s"].size, np.int64),
                **{name: kept[name] for name in arrays},
            )
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise NotFound(
            f"{name} is no log of a load test ({error}); `vitrine loadtest … --report DIR` writes"
            " one into DIR"
        ) from error
