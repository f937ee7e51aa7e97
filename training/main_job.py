"""The main job: a snapshot in, a model folder out, in steps that need not be repeated.

    work/   item-item ─┐
            popularity ├─▶ ranker          tables as of the end of the train window, checkpoints
            two-tower ─┘
    out     the models, and item-item and popularity anew from everything before the test window

The ranker learns from tables that end where its training ends: had they seen the calibration
window, its probabilities would be promises about the past. What ships is fresh. A step leaves its
fingerprint (data, settings, seed, and those of the steps it needs); it runs again only if that
changed. Whoever wants everything from the start deletes the folder.
"""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shop.errors import DataRejected
from training.algorithms import ALGORITHMS, Algorithm
from training.data.progress import Progress, no_progress
from training.data.snapshot import Snapshot, load_snapshot
from training.histories import build_histories
from training.model_folder import (
    add_metrics,
    read_json,
    read_metrics,
    schema_of,
    write_catalogue,
    write_json,
    write_schema,
)
from training.settings import TrainingSettings, settings_for
from training.split import time_split
from training.steps import STEPS, Job

TRAINING_VERSION = 2  # raise when the same settings train something else
_SEARCH = "ship search"
STEPS_FILE = "steps.json"


def train_all(
    snapshot_folder: Path,
    out_folder: Path,
    *,
    seed: int = 0,
    settings: TrainingSettings | None = None,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Every model and table of a release, into `out_folder`; returns its metrics."""
    return train(
        "all", snapshot_folder, out_folder, seed=seed, settings=settings, progress=progress
    )


def train(
    algorithm: Algorithm,
    snapshot_folder: Path,
    out_folder: Path,
    *,
    seed: int = 0,
    settings: TrainingSettings | None = None,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """One algorithm with everything it learns from; finished steps are not repeated.

    Settings default to what suits the data. Raises DataRejected if the snapshot is damaged or a
    window of it is empty.
    """
    progress("loading the snapshot", 0.0)
    job = _job(snapshot_folder, out_folder, seed, settings)
    names = _steps_for(algorithm)
    if not is_searchable(job.snapshot):
        if algorithm == "search":
            raise DataRejected(f"{snapshot_folder} has no titles to search by")
        names = [name for name in names if name != _SEARCH]
    total = sum(STEPS[name].share for name in names)
    done = 0.0
    for name in names:
        progress(name, done / total)
        if not _is_done(job, name):
            _run(job, name, _within(progress, done / total, STEPS[name].share / total))
        done += STEPS[name].share
    progress("done", 1.0)
    return read_metrics(job.out)


def _job(snapshot_folder: Path, out: Path, seed: int, settings: TrainingSettings | None) -> Job:
    snapshot = load_snapshot(snapshot_folder)
    settings = settings or settings_for(snapshot.manifest)
    schema = schema_of(
        snapshot, history_length=settings.history_length, vector_size=settings.vector_size
    )
    if "purchase" not in schema.heads:
        raise DataRejected(f"{snapshot_folder} has no purchases to learn from")
    split = time_split(snapshot, settings.split)
    job = Job(snapshot, build_histories(snapshot), split, schema, settings, seed, out)
    for folder in (job.out, job.work):
        folder.mkdir(parents=True, exist_ok=True)
        write_schema(schema, folder)
        write_catalogue(snapshot, folder)
    return job


def is_searchable(snapshot: Snapshot) -> bool:
    """Whether any product has a title; ids alone are nothing to search by."""
    return any(snapshot.products["title"].to_pylist())


def _steps_for(algorithm: Algorithm) -> list[str]:
    """Names of the steps in the order in which they run."""
    waiting = [f"ship {name}" for name in ALGORITHMS[1:] if algorithm in ("all", name)]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += STEPS[name].needs
    return [name for name in STEPS if name in needed]


def _within(progress: Progress, start: float, share: float) -> Progress:
    return lambda step, part: progress(step, start + share * part)


def _run(job: Job, name: str, progress: Progress) -> None:
    started = time.perf_counter()
    STEPS[name].run(job, _fingerprint(job, name), progress)
    add_metrics({f"{name} seconds": round(time.perf_counter() - started, 2)}, job.out)
    done = _read_done(job)
    write_json(job.work / STEPS_FILE, done | {name: _fingerprint(job, name)})


def _is_done(job: Job, name: str) -> bool:
    folder = job.out if STEPS[name].is_shipped else job.work
    if not all((folder / file).exists() for file in STEPS[name].files):
        return False
    return _read_done(job).get(name) == _fingerprint(job, name)


def _read_done(job: Job) -> dict[str, Any]:
    file = job.work / STEPS_FILE
    return read_json(file) if file.exists() else {}


def _fingerprint(job: Job, name: str) -> str:
    """Of everything that the step's result depends on."""
    body: dict[str, Any] = {
        "version": TRAINING_VERSION,
        "snapshot": job.snapshot.manifest.snapshot,
        "split": asdict(job.split),
        "schema": job.schema.to_json(),
        "step": name,
        "seed": job.seed,
        "settings": asdict(job.settings)[STEPS[name].settings],
        "test_questions": job.settings.test_questions,
        "needs": [_fingerprint(job, needed) for needed in STEPS[name].needs],
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
