"""Bench: one command for a bare GPU machine: right first, then timed, one table and one flat JSON.

    python -m export.gpu.bench [--json FILE]            on the GPU, some eight minutes
    python -m export.gpu.bench --device cpu             small, for correctness only

Needs torch, numpy and a checkout. Exit code 0: all was right and every goal was met. 1: right, but
a goal was missed. 2: usage. 3: something was wrong or broke. 4: there is no GPU, and nothing was
measured. What was found is in FILE after every step, whatever happens in the next.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from export.gpu.decoding import right_decoder, timed_decoder, timed_vllm
from export.gpu.plan import Plan, cpu_plan, gpu_plan
from export.gpu.ranking import right_chain, right_models, timed_chain, timed_models
from export.gpu.report import Goal, Report
from export.gpu.search import Storage
from export.gpu.searching import right_searches, timed_search
from export.gpu.timing import copy_bytes_per_s, read_bytes_per_s

MISSED, WRONG, NO_GPU = 1, 3, 4
NO_DEVICE = "torch sees no CUDA device on this machine"
ALONE_US, PER_S, LARGE_OVER_FLOOR, RANKER_GAIN = 150.0, 100_000.0, 1.3, 10.0
DECODE_SHARE = 0.7
_WITHIN_S = 540.0
_GPU_FLOOR_BYTES, _CPU_FLOOR_BYTES = 4 << 30, 16 << 20

Say = Callable[[str, Report], None]


def run_bench(plan: Plan, say: Say = lambda line, report: None) -> Report:
    """All of it. Where float32 is wrong, nothing is timed: the report holds comparisons alone.

    `say` is told every step before it begins, with what was found until then.
    """
    report, began_s = Report(plan.device), time.monotonic()

    def has_time() -> bool:
        return time.monotonic() - began_s < plan.within_s

    for step in (right_searches, right_models, right_chain):
        _guarded(report, step.__name__, say, functools.partial(step, plan, report))
    if not report.is_right:
        report.failures.append("nothing was timed: what is wrong has no speed")
        return report
    over_floor: dict[tuple[int, Storage], float] = {}
    _guarded(report, "floors", say, functools.partial(_floors, plan, report))
    sizes: tuple[tuple[int, Storage], ...] = (
        (plan.rows, "fp16"),
        (plan.rows, "int8"),
        (plan.large_rows, "fp16"),
        (plan.large_rows, "int8"),
    )
    for rows, storage in sizes:
        if not has_time():
            report.left_out.append(f"search {rows:,} {storage}")
            continue

        def search(rows: int = rows, storage: Storage = storage) -> None:
            floor = float(report.figures["read_gb_per_s"]) * 1e9
            over_floor[rows, storage] = timed_search(plan, report, rows, storage, floor)

        _guarded(report, f"search {rows:,} {storage}", say, search)
    measured: dict[str, float] = {}

    def chain() -> None:
        measured["alone_us"], measured["per_s"] = timed_chain(plan, report, has_time)

    def models() -> None:
        measured["gain"] = timed_models(plan, report)

    _guarded(report, "chain", say, chain)
    if has_time():
        _guarded(report, "models", say, models)
    else:
        report.left_out.append("models")
    if plan.on_gpu:  # goals are about a GPU
        report.goals += _goals(measured, over_floor.get((plan.large_rows, "fp16"), float("nan")))
    return report


def _floors(plan: Plan, report: Report) -> None:
    """What the device's memory does at best, in this run."""
    size = _GPU_FLOOR_BYTES if plan.on_gpu else _CPU_FLOOR_BYTES
    copied, read = copy_bytes_per_s(plan.device, size), read_bytes_per_s(plan.device, size)
    report.add("copy_gb_per_s", "device memory, copy (read + write)", copied / 1e9, "GB/s")
    # A search only reads: its floor is the better of the two.
    report.add("read_gb_per_s", "device memory, at best", max(copied, read) / 1e9, "GB/s")


def _goals(measured: dict[str, float], over_floor: float) -> list[Goal]:
    """What was not measured is not met: NaN compares false."""
    unknown = float("nan")
    alone_us, per_s = measured.get("alone_us", unknown), measured.get("per_s", unknown)
    gain = measured.get("gain", unknown)
    return [
        Goal(
            "tower + exact search over 1 M × 64 + rank 500, batch 1, p50",
            f"≤ {ALONE_US:g} µs",
            f"{alone_us:.1f} µs",
            alone_us <= ALONE_US,
        ),
        Goal("the same at the best batch", f"≥ {PER_S:,.0f}/s", f"{per_s:,.0f}/s", per_s >= PER_S),
        Goal(
            "exact search 10 M × 64 fp16, batch 1, over the bandwidth floor",
            f"≤ {LARGE_OVER_FLOOR:g} ×",
            f"{over_floor:.2f} ×",
            over_floor <= LARGE_OVER_FLOOR,
        ),
        Goal(
            "ranker, best form over torch eager fp32, NDCG loss ≤ 0.5 %",
            f"≥ {RANKER_GAIN:g} ×",
            f"{gain:.1f} ×",
            gain >= RANKER_GAIN,
        ),
    ]


def _guarded(report: Report, name: str, say: Say, step: Callable[[], None]) -> None:
    """A step that breaks must not take with it what the others found."""
    say(name, report)
    try:
        step()
    except Exception as error:  # noqa: BLE001  # compilers and drivers raise anything
        report.failed(name, error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.stderr.write(
            f"SKIPPED, NOTHING WAS MEASURED: {NO_DEVICE}.\n"
            "Run this on one with a GPU; `--device cpu` checks correctness only.\n"
        )
        return NO_GPU
    plan = (
        gpu_plan(seed=options.seed, within_s=options.within)
        if on_gpu
        else cpu_plan(seed=options.seed)
    )
    report = run_bench(plan, functools.partial(_told, options.json))
    sys.stdout.write(report.text())
    if options.json is None:
        sys.stdout.write(as_json(report))
    else:
        options.json.write_text(as_json(report))
    if not report.is_right:
        return WRONG
    return MISSED if any(not goal.holds for goal in report.goals) else 0


def as_json(report: Report) -> str:
    """One flat object."""
    return json.dumps(report.flat(), indent=1, ensure_ascii=False) + "\n"


def _told(file: Path | None, line: str, report: Report) -> None:
    sys.stderr.write(f"{line} …\n")
    sys.stderr.flush()
    if file is not None:
        file.write_text(as_json(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.gpu.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the flat JSON, into a file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--within", type=float, default=_WITHIN_S, metavar="S", help="no step begins later"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
