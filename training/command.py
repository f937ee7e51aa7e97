"""The `vitrine train` command: learn from a snapshot, write a model folder."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from shop.errors import DataRejected
from training.algorithms import ALGORITHMS
from training.data.progress import Progress as ShowProgress
from training.data.progress import progress_lines
from training.data.snapshot import read_snapshot_manifest
from training.describer_command import DESCRIBER, configure_describer, describer_job


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vitrine train`."""
    names = (*ALGORITHMS, DESCRIBER)
    parser.add_argument("algorithm", choices=names, metavar="ALGORITHM", help=", ".join(names))
    parser.add_argument("--data", type=Path, metavar="SNAPSHOT", help="folder of a snapshot")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="model folder; what is finished in it is not trained again",
    )
    configure_describer(parser)
    parser.add_argument("--seed", type=int, default=0, help="same seed, same models (default 0)")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything: to try out, not to ship"
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Train; the exit status is 0 once the model folder is complete.

    Raises DataRejected where the snapshot cannot be learnt from.
    """
    learn = describer_job(arguments) if arguments.algorithm == DESCRIBER else _main_job(arguments)
    metrics = _shown(learn) if sys.stderr.isatty() else learn(progress_lines(sys.stderr))
    if arguments.json:
        sys.stdout.write(json.dumps(metrics, indent=2) + "\n")
    else:
        _show(metrics, arguments.out)
    return 0


def _shown(learn: Callable[[ShowProgress], dict[str, float]]) -> dict[str, float]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("starting", total=1.0)
        return learn(lambda step, share: bar.update(task, description=step, completed=share))


def _main_job(arguments: argparse.Namespace) -> Callable[[ShowProgress], dict[str, float]]:
    from training.main_job import train  # torch takes seconds: only where it is used
    from training.settings import quick, settings_for

    if arguments.data is None:
        raise DataRejected("--data is missing: the folder of a snapshot")
    settings = settings_for(read_snapshot_manifest(arguments.data))
    return lambda progress: train(
        arguments.algorithm,
        arguments.data,
        arguments.out,
        seed=arguments.seed,
        settings=quick(settings) if arguments.quick else settings,
        progress=progress,
    )


def _show(metrics: dict[str, float], out: Path) -> None:
    table = Table("measured", "value", title=f"models in {out}", title_justify="left")
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4g}")
    Console().print(table)
