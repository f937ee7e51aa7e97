"""Calibration: whether what the ranker says happens as often as it says, per head."""

import re
from pathlib import Path

from loadtest.benchmarks.result import Grid, Result, at_most
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.current import current_manifest

ECE = 0.02
_ECE = re.compile(r"ranker (\w+) test ece")


def measure(state_dir: Path, images: Path) -> Result:
    """Expected calibration error of each head on the newest, unseen time window."""
    manifest = current_manifest(state_dir)
    errors = {
        found[1]: value
        for name, value in sorted(manifest.metrics.items())
        if (found := _ECE.fullmatch(name))
    }
    if not errors:
        raise BenchmarkFailed(f"{manifest.release} carries no calibration metrics")
    return Result(
        name="calibration",
        figures={f"ece_{head}": round(value, 5) for head, value in errors.items()},
        checks=tuple(at_most(f"ECE of {head}", value, ECE, "") for head, value in errors.items()),
        grids=(
            Grid(
                f"Expected calibration error on the test window of {manifest.release}",
                ("head", "ECE", "with bins of equally many examples", "positives"),
                tuple(
                    (
                        head,
                        f"{value:.4f}",
                        f"{manifest.metrics[f'ranker {head} test ece, equal mass']:.4f}",
                        f"{manifest.metrics[f'ranker {head} test positives']:.0f}",
                    )
                    for head, value in errors.items()
                ),
            ),
        ),
    )
