"""GPU: what `python -m export.gpu.bench` finds, as a benchmark of the suite."""

from pathlib import Path

import torch

from export.gpu.bench import NO_DEVICE
from export.gpu.plan import Plan, gpu_plan
from export.gpu.report import Report
from export.gpu.steps import run_bench
from loadtest.benchmarks.result import Check, Grid, Result
from shop.errors import DependencyUnavailable

_SEED, _WITHIN_S = 1, 1_800.0


def measure(state_dir: Path, images: Path) -> Result:
    """All of it. Raises DependencyUnavailable where there is no GPU: nothing was measured."""
    if not torch.cuda.is_available():
        raise DependencyUnavailable("gpu", f"{NO_DEVICE}; nothing was measured")
    return measured(gpu_plan(seed=_SEED, within_s=_WITHIN_S))


def measured(plan: Plan) -> Result:
    """What `plan` measures, as the page shows it."""
    report = run_bench(plan)
    return Result(
        name="gpu",
        figures=report.flat(),
        checks=tuple(_checks(report)),
        grids=(
            Grid(
                "against float64, on random inputs",
                ("what", "measured", ""),
                tuple((c.what, c.measured, "holds" if c.holds else "no") for c in report.checks),
            ),
            Grid("medians", ("what", "measured"), tuple(report.rows)),
        ),
        notes=(f"On {report.flat()['device']}, torch {torch.__version__}.", *_unmeasured(report)),
    )


def _unmeasured(report: Report) -> list[str]:
    left_out = [f"Left out for want of time: {each}." for each in report.left_out]
    return [*report.failures, *left_out, *(f"Not run: {each}." for each in report.not_run)]


def _checks(report: Report) -> list[Check]:
    wrong = [c.what for c in report.checks if not (c.holds or c.is_gate)]
    right = Check(
        "comparisons with float64",
        "all hold",
        f"{len(report.checks) - len(wrong)} of {len(report.checks)}",
        report.is_right,
    )
    return [right, *(Check(g.what, g.asked, g.measured, g.holds) for g in report.goals)]
