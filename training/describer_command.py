"""What `vitrine train describer` takes beside the other algorithms' arguments, and what it runs."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from shop.errors import DataRejected
from training.data.progress import Progress

DESCRIBER = "describer"


def configure_describer(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that only the describer reads."""
    group = parser.add_argument_group("describer")
    group.add_argument(
        "--texts",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="Parquet files with real specifications and descriptions, or with lines of"
        " specifications (product_id, name, value, unit); may be given several times",
    )
    group.add_argument(
        "--adapt", type=Path, metavar="MODEL", help="learn a LoRA adapter for this model instead"
    )
    group.add_argument(
        "--pages", type=Path, metavar="FILE", help="with --adapt: pages and their sales, JSON lines"
    )
    group.add_argument(
        "--best",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="with --adapt: learn from this share of the pages that were shown (default 0.25)",
    )


def describer_job(arguments: argparse.Namespace) -> Callable[[Progress], dict[str, float]]:
    """The training that was asked for. Raises DataRejected if something is missing."""
    if arguments.adapt is not None:
        if arguments.pages is None:
            raise DataRejected("--adapt needs --pages: a file of pages and their sales")
        if not 0 < arguments.best <= 1:
            raise DataRejected("--best must be above 0, at most 1")
        return lambda progress: _adapt(arguments, progress)
    if arguments.data is None:
        raise DataRejected("--data is missing: the folder of a snapshot")
    return lambda progress: _train(arguments, progress)


def _train(arguments: argparse.Namespace, progress: Progress) -> dict[str, float]:
    from training.algorithms.describer import DescriberSettings
    from training.describer_job import train_describer

    settings = DescriberSettings()
    if arguments.quick:
        settings = replace(settings, rounds=1, pairs_per_round=200, short_rounds=0, judged=8)
    return train_describer(
        arguments.data,
        arguments.out,
        texts=arguments.texts,
        seed=arguments.seed,
        settings=settings,
        progress=progress,
    )


def _adapt(arguments: argparse.Namespace, progress: Progress) -> dict[str, float]:
    from training.describer_adapt import train_adapter

    return train_adapter(
        arguments.adapt,
        arguments.pages,
        arguments.out,
        best_share=arguments.best,
        seed=arguments.seed,
        progress=progress,
    )
