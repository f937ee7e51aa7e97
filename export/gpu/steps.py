"""Steps: what one run of the GPU benchmark does, in order, and what it is held against.

Each part is compared with float64 before anything is timed; a part that breaks leaves the others.
"""

import functools
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch

from export.gpu.celling import right_cells, timed_cells
from export.gpu.decoding import right_decoder, timed_decoder, timed_vllm
from export.gpu.door.step import timed_door
from export.gpu.plan import Plan
from export.gpu.ranking import right_chain, right_models, timed_chain, timed_models
from export.gpu.report import Goal, Report
from export.gpu.search import Storage
from export.gpu.searching import right_searches, right_shards, timed_search, timed_shards
from export.gpu.timing import copy_bytes_per_s, read_bytes_per_s

ALONE_US, PER_S, LARGE_OVER_FLOOR, RANKER_GAIN = 150.0, 100_000.0, 1.3, 10.0
DOOR_PER_S, DOOR_P99_MS, DECODE_SHARE = 5_000.0, 10.0, 0.7
_DOOR_KEPT_UP = 0.97  # of the calls that were due: their number is drawn, too
_GPU_FLOOR_BYTES, _CPU_FLOOR_BYTES = 4 << 30, 16 << 20
_UNKNOWN = float("nan")
NOT_MEASURED = "not measured"

Say = Callable[[str, Report], None]


@dataclass(slots=True)
class _Run:
    """One run under way."""

    plan: Plan
    report: Report
    say: Say
    began_s: float = field(default_factory=time.monotonic)
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def bytes_per_s(self) -> float:
        """What the device's memory reads at best."""
        return float(self.report.figures["read_gb_per_s"]) * 1e9

    def has_time(self) -> bool:
        """Whether another step may begin."""
        return time.monotonic() - self.began_s < self.plan.within_s

    def guarded(self, name: str, step: Callable[[], None]) -> None:
        """A step that breaks must not take with it what the others found."""
        self.say(name, self.report)
        try:
            step()
        except Exception as error:  # noqa: BLE001  # compilers and drivers raise anything
            self.report.failed(name, error)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def timed(self, name: str, step: Callable[[], None]) -> None:
        """The same, unless the time is up."""
        if self.has_time():
            self.guarded(name, step)
        else:
            self.report.left_out.append(name)


def run_bench(
    plan: Plan, say: Say = lambda line, report: None, only: Collection[str] = ()
) -> Report:
    """All parts, or `only` those named. Where something is wrong, nothing is timed.

    `say` is told every step before it begins, with what was found until then.
    """
    report = Report(plan.device)
    run = _Run(plan, report, say)
    parts = [part for name, part in PARTS.items() if name in (only or PARTS)]
    for step in dict.fromkeys(step for part in parts for step in part.right):
        run.guarded(step.__name__, functools.partial(step, plan, report))
    if not report.is_right:
        report.failures.append("nothing was timed: what is wrong has no speed")
        return report
    run.guarded("floors", functools.partial(_floors, plan, report))
    for part in parts:
        part.time(run)
    if plan.on_gpu:  # goals are about a GPU
        report.goals += [goal for part in parts for goal in part.goals(run.measured)]
    return report


def _floors(plan: Plan, report: Report) -> None:
    """What the device's memory does at best, in this run."""
    size = _GPU_FLOOR_BYTES if plan.on_gpu else _CPU_FLOOR_BYTES
    copied, read = copy_bytes_per_s(plan.device, size), read_bytes_per_s(plan.device, size)
    report.add("copy_gb_per_s", "device memory, copy (read + write)", copied / 1e9, "GB/s")
    # Searching and decoding only read: their floor is the better of the two.
    report.add("read_gb_per_s", "device memory, at best", max(copied, read) / 1e9, "GB/s")


def _time_chain(run: _Run) -> None:
    def chain() -> None:
        alone_us, per_s = timed_chain(run.plan, run.report, run.has_time)
        run.measured |= {"alone_us": alone_us, "per_s": per_s}

    run.guarded("chain", chain)


def _time_search(run: _Run) -> None:
    plan = run.plan
    sizes: tuple[tuple[int, Storage], ...] = (
        (plan.rows, "fp16"),
        (plan.rows, "int8"),
        (plan.large_rows, "fp16"),
        (plan.large_rows, "int8"),
    )
    for rows, storage in sizes:

        def search(rows: int = rows, storage: Storage = storage) -> None:
            over = timed_search(plan, run.report, rows, storage, run.bytes_per_s)
            run.measured[f"over_floor_{rows}_{storage}"] = over
            if (rows, storage) == (plan.large_rows, "fp16"):
                run.measured["large_over_floor"] = over

        run.timed(f"search {rows:,} {storage}", search)


def _time_shards(run: _Run) -> None:
    run.timed("shards", lambda: timed_shards(run.plan, run.report))


def _time_models(run: _Run) -> None:
    def models() -> None:
        run.measured["gain"] = timed_models(run.plan, run.report)

    run.timed("models", models)


def _time_door(run: _Run) -> None:
    def door() -> None:
        per_s, p99_ms = timed_door(run.plan, run.report)
        run.measured |= {"door_per_s": per_s, "door_p99_ms": p99_ms}

    run.timed("door", door)


def _time_decoder(run: _Run) -> None:
    def decoder() -> None:
        run.measured["decode"] = timed_decoder(run.plan, run.report, run.bytes_per_s)

    run.timed("decoder", decoder)


def _time_vllm(run: _Run) -> None:
    run.timed("vllm", functools.partial(timed_vllm, run.plan, run.report))


def _time_cells(run: _Run) -> None:
    run.timed("cells", functools.partial(timed_cells, run.plan, run.report))


def _told(text: str, *values: float) -> str:
    """The text, unless one of the values in it was not measured."""
    return NOT_MEASURED if any(map(math.isnan, values)) else text


def _no_goals(measured: dict[str, float]) -> list[Goal]:
    return []


def _chain_goals(measured: dict[str, float]) -> list[Goal]:
    """What was not measured is not met: NaN compares false. So in the others."""
    alone_us, per_s = measured.get("alone_us", _UNKNOWN), measured.get("per_s", _UNKNOWN)
    return [
        Goal(
            "tower + exact search over 1 M × 64 + rank 500, batch 1, p50",
            f"≤ {ALONE_US:g} µs",
            _told(f"{alone_us:.1f} µs", alone_us),
            alone_us <= ALONE_US,
        ),
        Goal(
            "the same at the best batch",
            f"≥ {PER_S:,.0f}/s",
            _told(f"{per_s:,.0f}/s", per_s),
            per_s >= PER_S,
        ),
    ]


def _search_goals(measured: dict[str, float]) -> list[Goal]:
    over = measured.get("large_over_floor", _UNKNOWN)
    what = "exact search 10 M × 64 fp16, batch 1, over the bandwidth floor"
    asked = f"≤ {LARGE_OVER_FLOOR:g} ×"
    return [Goal(what, asked, _told(f"{over:.2f} ×", over), over <= LARGE_OVER_FLOOR)]


def _models_goals(measured: dict[str, float]) -> list[Goal]:
    gain = measured.get("gain", _UNKNOWN)
    what = "ranker, best form over torch eager fp32, NDCG loss ≤ 0.5 %"
    measured_gain = _told(f"{gain:.1f} ×", gain)
    return [Goal(what, f"≥ {RANKER_GAIN:g} ×", measured_gain, gain >= RANKER_GAIN)]


def _door_goals(measured: dict[str, float]) -> list[Goal]:
    per_s = measured.get("door_per_s", _UNKNOWN)
    p99_ms = measured.get("door_p99_ms", _UNKNOWN)
    return [
        Goal(
            "through the gRPC door, 16 cores",
            f"≥ {DOOR_PER_S:,.0f}/s at p99 ≤ {DOOR_P99_MS:g} ms",
            _told(f"{per_s:,.0f}/s at p99 {p99_ms:.2f} ms", per_s, p99_ms),
            per_s >= _DOOR_KEPT_UP * DOOR_PER_S and p99_ms <= DOOR_P99_MS,
        )
    ]


def _decoder_goals(measured: dict[str, float]) -> list[Goal]:
    share = measured.get("decode", _UNKNOWN)
    what = "LLM decode of an 8 B-shape model, batch 1, of the bandwidth floor"
    said = _told(f"{share:.1%}", share)
    return [Goal(what, f"≥ {DECODE_SHARE:.0%}", said, share >= DECODE_SHARE)]


@dataclass(frozen=True, slots=True)
class _Part:
    """Compared, timed, and held against goals."""

    right: tuple[Callable[[Plan, Report], None], ...]  # functions: two parts may share one
    time: Callable[[_Run], None]
    goals: Callable[[dict[str, float]], list[Goal]] = _no_goals


# What is asked for comes first: a run whose time is up has left out the rest.
PARTS = {
    "search": _Part((right_searches,), _time_search, _search_goals),
    "decoder": _Part((right_decoder,), _time_decoder, _decoder_goals),
    "door": _Part((), _time_door, _door_goals),
    "chain": _Part((right_models, right_chain), _time_chain, _chain_goals),
    "models": _Part((right_models,), _time_models, _models_goals),
    "cells": _Part((right_cells,), _time_cells),
    "vllm": _Part((), _time_vllm),
    "shards": _Part((right_shards,), _time_shards),
}
