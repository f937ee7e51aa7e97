"""Steps of the main job: each learns one thing or ships one thing, and names the files it leaves.

`learn` steps write to the work folder, from the train window. `ship` steps write to the model
folder and judge what they ship on the test window.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shop.features import FeatureSchema
from shop.release import NEIGHBOURS_FILE, POPULARITY_FILE, VECTORS_FILE
from training.algorithms import Retriever
from training.algorithms.item_item import ItemItemRetriever, fit_neighbours
from training.algorithms.popularity import PopularRetriever, fit_popularity
from training.algorithms.ranker import train_ranker
from training.algorithms.text_encoder import fit_text_encoder
from training.algorithms.two_tower import TwoTowerRetriever, TwoTowerTask, fit_two_tower
from training.data.progress import Progress
from training.data.snapshot import Snapshot
from training.histories import Histories
from training.model_folder import (
    RANKER_CONFIG,
    RANKER_WEIGHTS,
    TEXT_ENCODER_WEIGHTS,
    TWO_TOWER_CONFIG,
    TWO_TOWER_WEIGHTS,
    add_metrics,
    write_neighbours,
    write_popularity,
    write_whole,
)
from training.models.two_tower import load_two_tower
from training.retrieval import LIST_SIZES, next_questions, recalls, window_questions
from training.search_texts import SearchTexts
from training.served_list import ServedRetriever
from training.settings import TrainingSettings
from training.split import Split
from training.wishes import wishes_before

WORK = "work"
_TWO_TOWER_FILES = (TWO_TOWER_WEIGHTS, TWO_TOWER_CONFIG, VECTORS_FILE)
_RANKER_FILES = (RANKER_WEIGHTS, RANKER_CONFIG)
_SERVED_QUESTIONS = 2000  # 500 candidates are ranked for each: 5 ms
_QUESTIONS = {"next": next_questions, "window": window_questions}


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What every step reads."""

    snapshot: Snapshot
    histories: Histories
    split: Split
    schema: FeatureSchema
    settings: TrainingSettings
    seed: int
    out: Path

    @property
    def work(self) -> Path:
        return self.out / WORK


def _learn_item_item(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("item-item neighbours", 0.0)
    before_ms = job.split.train_end_ms
    neighbours = fit_neighbours(job.snapshot, before_ms=before_ms, settings=job.settings.item_item)
    write_neighbours(neighbours, job.work)


def _learn_popularity(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("popularity", 0.0)
    before_ms = job.split.train_end_ms
    popularity = fit_popularity(job.snapshot, before_ms=before_ms, settings=job.settings.popularity)
    write_popularity(popularity, job.work)


def _learn_two_tower(job: Job, fingerprint: str, progress: Progress) -> None:
    settings = job.settings.two_tower
    wishes = wishes_before(
        job.snapshot, job.schema, before_ms=job.split.train_end_ms, settings=settings.wishes
    )
    questions = _QUESTIONS[settings.protocol](
        job.snapshot,
        job.schema,
        start_ms=job.split.train_end_ms,
        end_ms=job.split.calibration_end_ms,
        limit=settings.question_limit,
        seed=job.seed,
    )
    task = TwoTowerTask(
        job.snapshot, job.schema, job.histories, wishes, questions, settings, job.seed
    )
    metrics = fit_two_tower(
        task,
        job.work,
        fingerprint=fingerprint,
        advance=lambda share: progress("learning the two-tower model", share),
    )
    add_metrics(metrics, job.out)


def _learn_ranker(job: Job, fingerprint: str, progress: Progress) -> None:
    metrics = train_ranker(
        job.snapshot,
        job.work,
        job.schema,
        job.split,
        seed=job.seed,
        settings=job.settings.ranker,
        progress=progress,
    )
    add_metrics(metrics, job.out)


def _ship_item_item(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("item-item neighbours, fresh", 0.0)
    before_ms = job.split.calibration_end_ms
    neighbours = fit_neighbours(job.snapshot, before_ms=before_ms, settings=job.settings.item_item)
    write_neighbours(neighbours, job.out)
    _judge(job, "item-item", ItemItemRetriever(neighbours, job.histories))


def _ship_popularity(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("popularity, fresh", 0.0)
    before_ms = job.split.calibration_end_ms
    popularity = fit_popularity(job.snapshot, before_ms=before_ms, settings=job.settings.popularity)
    write_popularity(popularity, job.out)
    _judge(job, "popularity", PopularRetriever(popularity))


def _ship_two_tower(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("judging the two-tower model", 0.0)
    model = load_two_tower(job.work)
    _judge(job, "two-tower", TwoTowerRetriever.of(model, job.schema, job.histories))
    for name in _RANKER_FILES:  # one that was trained on another tower must not ship with this one
        (job.out / name).unlink(missing_ok=True)
    _copy(job, _TWO_TOWER_FILES)


def _ship_ranker(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("judging the served list", 0.0)
    _copy(job, (*_TWO_TOWER_FILES, *_RANKER_FILES))
    served = ServedRetriever.read(job.snapshot, job.out, job.schema)
    _judge(job, "served", served, limit=_SERVED_QUESTIONS)


def _ship_search(job: Job, fingerprint: str, progress: Progress) -> None:
    progress("reading titles and specifications", 0.0)
    metrics = fit_text_encoder(
        SearchTexts.of(job.snapshot),
        job.out,
        job.settings.search,
        seed=job.seed,
        fingerprint=fingerprint,
        advance=lambda share: progress("learning the text encoder", share),
    )
    add_metrics(metrics, job.out)


def _copy(job: Job, names: tuple[str, ...]) -> None:
    for name in names:
        source = job.work / name
        write_whole(job.out / name, lambda part, source=source: shutil.copyfile(source, part))


def _judge(job: Job, name: str, retriever: Retriever, *, limit: int | None = None) -> None:
    """Recall on the test window, under both protocols of `training.retrieval`."""
    limit = min(limit or job.settings.test_questions, job.settings.test_questions)
    for protocol, ask in _QUESTIONS.items():
        questions = ask(
            job.snapshot,
            job.schema,
            start_ms=job.split.calibration_end_ms,
            end_ms=job.split.test_end_ms,
            limit=limit,
            seed=job.seed,
        )
        found = recalls(retriever, questions, LIST_SIZES)
        add_metrics({f"{name} {protocol} recall@{k}": v for k, v in found.items()}, job.out)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what runs, what must have run before, and the files it leaves."""

    run: Callable[[Job, str, Progress], None]  # the string is the step's fingerprint
    settings: str  # the field of TrainingSettings that it reads
    files: tuple[str, ...]
    needs: tuple[str, ...] = ()
    is_shipped: bool = False  # its files lie in the model folder, not in the work folder
    share: float = 0.01  # of the whole time, as measured on the world


# In the order in which they run.
STEPS: dict[str, Step] = {
    "learn item-item": Step(_learn_item_item, "item_item", (NEIGHBOURS_FILE,), share=0.02),
    "learn popularity": Step(_learn_popularity, "popularity", (POPULARITY_FILE,)),
    "learn two-tower": Step(_learn_two_tower, "two_tower", _TWO_TOWER_FILES, share=0.5),
    "learn ranker": Step(
        _learn_ranker,
        "ranker",
        _RANKER_FILES,
        needs=("learn item-item", "learn popularity", "learn two-tower"),
        share=0.4,
    ),
    "ship item-item": Step(
        _ship_item_item, "item_item", (NEIGHBOURS_FILE,), is_shipped=True, share=0.03
    ),
    "ship popularity": Step(_ship_popularity, "popularity", (POPULARITY_FILE,), is_shipped=True),
    "ship two-tower": Step(
        _ship_two_tower,
        "two_tower",
        _TWO_TOWER_FILES,
        needs=("learn two-tower",),
        is_shipped=True,
        share=0.03,
    ),
    "ship ranker": Step(
        _ship_ranker,
        "ranker",
        (*_TWO_TOWER_FILES, *_RANKER_FILES),
        needs=("learn ranker", "ship item-item", "ship popularity"),
        is_shipped=True,
        share=0.05,
    ),
    "ship search": Step(
        _ship_search, "search", (TEXT_ENCODER_WEIGHTS,), is_shipped=True, share=0.08
    ),
}
