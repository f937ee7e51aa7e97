"""Bench: one command for a bare GPU machine: right first, then timed, one table and one flat JSON.

    python -m export.gpu.bench [--json FILE]            on the GPU
    python -m export.gpu.bench --only decoder,door      some parts of it
    python -m export.gpu.bench --device cpu             small, for correctness only

Needs torch, numpy and a checkout; what needs more (the gRPC door, vLLM) is NOT RUN without, and
says so. Exit code 0: all was right and every goal was met. 1: right, but a goal was missed. 2:
usage. 3: something was wrong or broke. 4: there is no GPU, and nothing was measured. What was found
is in FILE after every step, whatever happens in the next.
"""

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from export.gpu.plan import cpu_plan, gpu_plan
from export.gpu.report import Report
from export.gpu.steps import PARTS, run_bench

MISSED, WRONG, NO_GPU = 1, 3, 4
NO_DEVICE = "torch sees no CUDA device on this machine"
_WITHIN_S = 540.0


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
    if not on_gpu:
        torch.set_num_threads(1)  # tensors are small there: more threads only wait for each other
    plan = (
        gpu_plan(seed=options.seed, within_s=options.within)
        if on_gpu
        else cpu_plan(seed=options.seed)
    )
    report = run_bench(plan, functools.partial(_told, options.json), options.only)
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
    parser.add_argument(
        "--only",
        type=_parts,
        default=(),
        metavar="PART,…",
        help=f"of {', '.join(PARTS)} (all, as far as the time goes)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="the flat JSON, into a file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--within", type=float, default=_WITHIN_S, metavar="S", help="no step begins later"
    )
    return parser


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}"
        )
    return names


if __name__ == "__main__":
    raise SystemExit(main())
