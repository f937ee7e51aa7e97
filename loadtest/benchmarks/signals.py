"""Signals: what browsing speed, abandoned carts, promotions, dwell and dead ends give the models.

One small world is learnt from three times: with everything; without the session's values, in the
tower and in the ranker alike; and with everything by a ranker that never had to do without the
user's vector. The same lists judge all three, later than anything they learnt from. Deeds of the
history (an abandoned cart among them), device and hour reach the models either way.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from loadtest.benchmarks.result import Grid, Result, at_least
from shop.context_values import VALUES
from shop.scoring import HEADS
from simulator.world import WorldSettings, generate, is_current_world
from training.data.snapshot import read_snapshot_manifest
from training.data.sources import snapshot_for
from training.main_job import train_all
from training.settings import TrainingSettings, settings_for

_WORLD = WorldSettings(product_count=3_000, shopper_count=10_000, days=60)
_LASTING = ("hours_since_last", "interactions", "purchases", "is_cold", "year_sin", "year_cos")
SESSION_VALUES = tuple(value.name for value in VALUES if value.name not in _LASTING)
_LOST = ", tower lost"
Metrics = dict[str, float]


def measure(state_dir: Path, images: Path) -> Result:
    """Log loss and AUC per head, with and without; and what is left when the tower is lost."""
    root = state_dir / "bench" / "signals"
    if not is_current_world(root / "world"):
        sys.stderr.write("  a world\n")
        generate(root / "world", _WORLD)
    snapshot = snapshot_for(root / "world", root / "snapshots")
    settings = settings_for(read_snapshot_manifest(snapshot))
    everything = _learnt(snapshot, root / "everything", settings)
    without = _learnt(snapshot, root / "without", _without(settings))
    if not (root / "never-lost").exists():  # the same towers, so that only the ranker differs
        shutil.copytree(root / "everything", root / "never-lost")
    never_lost = replace(settings, ranker=replace(settings.ranker, vector_dropout=0.0))
    spoilt = _learnt(snapshot, root / "never-lost", never_lost)
    return _result(everything, without, spoilt)


def _without(settings: TrainingSettings) -> TrainingSettings:
    return replace(
        settings,
        two_tower=replace(settings.two_tower, ignored_values=SESSION_VALUES),
        ranker=replace(settings.ranker, ignored_values=SESSION_VALUES),
    )


def _learnt(snapshot: Path, folder: Path, settings: TrainingSettings) -> Metrics:
    sys.stderr.write(f"  learning: {folder.name}\n")
    return train_all(snapshot, folder, settings=settings)


def _result(everything: Metrics, without: Metrics, spoilt: Metrics) -> Result:
    heads = [head for head in HEADS if f"ranker {head} test auc" in everything]
    gains = {
        head: without[f"ranker {head} test log loss"] - everything[f"ranker {head} test log loss"]
        for head in heads
    }
    figures = {
        f"{what}_{head}_{name}": round(metrics[f"ranker {head} test {figure}"], 5)
        for what, figure in (("auc", "auc"), ("log_loss", "log loss"))
        for head in heads
        for name, metrics in (("with", everything), ("without", without))
    }
    return Result(
        name="signals",
        figures=figures,
        checks=tuple(
            at_least(f"log loss of {head} saved by session signals", gains[head], 0.0, "")
            for head in heads
            if head != "return"  # few are known, and none depends on the session
        ),
        grids=(_gains(heads, everything, without), _losses(heads, everything, spoilt)),
        notes=(
            f"A world of {_WORLD.product_count:,} products and {_WORLD.shopper_count:,} shoppers."
            f" Left out of the second column: {', '.join(SESSION_VALUES)}.",
        ),
    )


def _gains(heads: list[str], everything: Metrics, without: Metrics) -> Grid:
    recall = "two-tower next recall@20"
    rows = [
        (
            head,
            *(f"{m[f'ranker {head} test auc']:.4f}" for m in (everything, without)),
            *(f"{m[f'ranker {head} test log loss']:.5f}" for m in (everything, without)),
            f"{everything[f'ranker {head} test positives']:.0f}",
        )
        for head in heads
    ]
    rows.append((recall, f"{everything[recall]:.4f}", f"{without[recall]:.4f}", "", "", ""))
    header = ("head", "AUC", "without", "log loss", "without", "positives")
    return Grid("With session signals and without, on the unseen window", header, tuple(rows))


def _losses(heads: list[str], everything: Metrics, spoilt: Metrics) -> Grid:
    rows = tuple(
        (
            head,
            *(
                f"{metrics[f'ranker {head} test {figure}{lost}']:.4f}"
                for figure in ("auc", "ece")
                for metrics in (everything, spoilt)
                for lost in ("", _LOST)
            ),
        )
        for head in heads
    )
    header = (
        "head",
        "AUC",
        "tower lost",
        "AUC, never lost in training",
        "tower lost",
        "ECE",
        "tower lost",
        "ECE, never lost in training",
        "tower lost",
    )
    return Grid("A ranker without the user's vector", header, rows)
