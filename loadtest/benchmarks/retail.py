"""Retail: next month's purchases of a real shop, asked through the door.

The models learn from UCI Online Retail up to its last month, the stack starts with histories that
end there and a clock that stands there, and every customer who bought something in the month is
asked for once, at its beginning. Item–item and popularity learn from the same days.

Shapes: Q customers, K places.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from export.command import RELEASE_KEY
from export.prepare import QUICK
from export.release import export_release
from loadtest.benchmarks.result import Grid, Result, at_least
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.current import current_folder, current_manifest
from serving.adapters.key_files import read_or_create_key
from serving.adapters.release_files import load_tables
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.stack.folder import StateFolder
from training.algorithms.item_item import ItemItemRetriever, fit_neighbours
from training.algorithms.popularity import PopularRetriever, fit_popularity
from training.data.snapshot import (
    EVENTS,
    MANIFEST,
    PRODUCTS,
    SHOPPERS,
    Snapshot,
    SnapshotWriter,
    load_snapshot,
)
from training.data.sources import snapshot_for
from training.evaluation import capped_recall_at, hits_of, recall_at
from training.histories import build_histories
from training.main_job import train_all
from training.model_folder import add_metrics, read_schema
from training.retrieval import Questions, window_questions
from training.settings import settings_for
from training.split import time_split

PLACES = 20
OVER_BEST = 1.1


class _Teller:
    """Names each step of long work once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, step: str, share: float) -> None:
        if step and step != self._last:
            sys.stderr.write(f"  {step}\n")
            self._last = step


def measure(state_dir: Path, images: Path, data: Path | None = None) -> Result:
    """recall@20 of the served lists, of item–item and of popularity."""
    if data is None:
        raise BenchmarkFailed("name the folder with the UCI Online Retail file: --retail-data DIR")
    state = StateFolder(state_dir / "bench" / "retail")
    snapshot_folder = snapshot_for(data, state.snapshots)
    snapshot = load_snapshot(snapshot_folder)
    settings = settings_for(snapshot.manifest)
    split = time_split(snapshot, settings.split)
    model = state.models / snapshot_folder.name
    train_all(snapshot_folder, model, settings=settings, progress=_Teller())
    add_metrics({QUICK: 0.0}, model)
    until = _snapshot_until(
        snapshot, split.calibration_end_ms, state.snapshots / "until-last-month"
    )
    _export(state, model, until)
    questions = window_questions(
        snapshot,
        read_schema(model),
        start_ms=split.calibration_end_ms,
        end_ms=split.test_end_ms,
    )
    with a_stack(state.root, "--data", str(until)) as stack:
        served = _served(state.root, stack.door, snapshot, questions)
    before_ms = split.calibration_end_ms
    neighbours = fit_neighbours(snapshot, before_ms=before_ms, settings=settings.item_item)
    item_item = ItemItemRetriever(neighbours, build_histories(snapshot))
    popularity = PopularRetriever(fit_popularity(snapshot, before_ms=before_ms))
    lists = {
        "served through the door": served,
        "item–item": item_item.best_rows(questions.moments, PLACES),
        "popularity": popularity.best_rows(questions.moments, PLACES),
    }
    return _result(lists, questions)


def _result(lists: dict[str, NDArray[np.int64]], questions: Questions) -> Result:
    counts = questions.wanted_counts
    hits = {name: hits_of(rows, questions.wanted_rows) for name, rows in lists.items()}
    recall = {name: recall_at(found, counts, PLACES) for name, found in hits.items()}
    capped = {name: capped_recall_at(found, counts, PLACES) for name, found in hits.items()}
    served, item_item, popularity = recall.values()
    ratio = served / max(item_item, popularity)
    return Result(
        name="retail",
        figures={
            "recall@20_served": round(served, 4),
            "recall@20_item_item": round(item_item, 4),
            "recall@20_popularity": round(popularity, 4),
            "served_over_best_baseline": round(ratio, 3),
            "customers": len(questions),
        },
        checks=(
            at_least("recall@20 served / better of item–item and popularity", ratio, OVER_BEST, ""),
        ),
        grids=(
            Grid(
                f"{len(questions)} customers who bought in the last month,"
                f" {counts.mean():.1f} products each",
                ("list of 20", "recall@20", "recall@20, capped at 20 wanted"),
                tuple((name, f"{recall[name]:.4f}", f"{capped[name]:.4f}") for name in lists),
            ),
        ),
        notes=(
            "UCI Online Retail (Chen, Sain & Guo 2012). Customers without earlier purchases are"
            " among those asked for; lists are ordered by expected margin after returns, with the"
            " default margin where the cost is unknown, as it is here for every product.",
        ),
    )


def _snapshot_until(snapshot: Snapshot, end_ms: int, folder: Path) -> Path:
    """The same products and shoppers, and only what had happened by then."""
    if (folder / MANIFEST).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    events = pq.read_table(snapshot.folder / EVENTS)
    writer = SnapshotWriter(
        folder,
        snapshot.manifest.source,
        snapshot.manifest.currency,
        time_is_real=snapshot.manifest.time_is_real,
        repeats=snapshot.manifest.repeats,
        notes=[f"cut from {snapshot.manifest.snapshot}"],
    )
    writer.finish(
        pq.read_table(snapshot.folder / PRODUCTS),
        pq.read_table(snapshot.folder / SHOPPERS),
        events.filter(pc.less(events["time_ms"], end_ms)),
    )
    return folder


def _export(state: StateFolder, model: Path, snapshot: Path) -> None:
    if any(state.releases.glob("r*")):
        return
    key = read_or_create_key(state.keys / RELEASE_KEY)
    export_release(
        model_folder=model,
        snapshot_folder=snapshot,
        releases_root=state.releases,
        key=key,
        progress=_Teller(),
    )


def _served(
    state_dir: Path, door: str, snapshot: Snapshot, questions: Questions
) -> NDArray[np.int64]:
    """[Q, K] catalogue rows."""
    catalogue = load_tables(current_folder(state_dir), current_manifest(state_dir)).catalogue
    lists = np.zeros((len(questions), PLACES), dtype=np.int64)
    with VitrineClient(door) as client:
        for at, user_row in enumerate(questions.moments.user_rows.tolist()):
            reply = client.recommend(
                pb.RecommendRequest(
                    user_id=str(snapshot.user_ids[user_row]),
                    placement="home",
                    page_size=PLACES,
                    request_id=f"retail-{at}",
                )
            )
            rows = catalogue.rows_of([item.product_id for item in reply.items])
            lists[at, : rows.size] = rows
    return lists
