"""Two-tower retrieval: trains the towers, epoch by epoch, and searches with them.

An epoch is one example per session (`training.wishes`). After each, recall on the calibration
window decides whether it is the best so far; training stops when it no longer improves. A
checkpoint after every epoch lets an interrupted training go on where it stopped, to the same end.

Shapes: B examples, T history, D vector, R catalogue rows.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shop.features import CONTEXT_VALUES, FeatureSchema
from training.algorithms.sampled_softmax import PoolSampler
from training.algorithms.two_tower_steps import (
    Advance,
    Epoch,
    StepSettings,
    new_optimiser,
    shopper_tensors,
    train_epoch,
)
from training.data.snapshot import Snapshot
from training.examples import Moments, context_codes, context_values, shopper_batch
from training.histories import Histories
from training.model_folder import write_item_vectors, write_whole
from training.models.two_tower import (
    TwoTower,
    TwoTowerConfig,
    save_two_tower,
    serving_user_tower,
)
from training.product_tokens import product_tokens
from training.retrieval import Questions, recalls
from training.wishes import WishSettings, WishSource

_log = logging.getLogger(__name__)

CHECKPOINT = "two_tower.checkpoint"
_CHUNK = 1024
_JUDGED_AT = 20  # the calibration recall that decides which epoch is best


@dataclass(frozen=True, slots=True)
class TwoTowerSettings:
    """How the two-tower model is trained."""

    epochs: int = 2  # the world: the first finds 97 % of what three find, the second all of it
    patience: int = 3  # epochs without a better calibration recall before it stops
    token_buckets: int = 16_384
    ignored_values: tuple[str, ...] = ()  # of shop.features.CONTEXT_VALUES, to see what they give
    protocol: Literal["next", "window"] = "next"  # see training.retrieval
    question_limit: int = 2000  # calibration questions after each epoch
    steps: StepSettings = field(default_factory=StepSettings)
    wishes: WishSettings = field(default_factory=WishSettings)


@dataclass(frozen=True, slots=True, eq=False)
class TwoTowerTask:
    """Everything that stays the same while the towers learn."""

    snapshot: Snapshot
    schema: FeatureSchema
    histories: Histories
    wishes: WishSource
    questions: Questions  # of the calibration window
    settings: TwoTowerSettings
    seed: int


@dataclass(slots=True)
class _Run:
    """How far a training has come."""

    model: TwoTower
    optimiser: torch.optim.Optimizer
    epoch: int = 0  # finished epochs
    best_recall: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def is_over(self, settings: TwoTowerSettings) -> bool:
        waited = self.epoch - self.best_epoch
        return self.epoch >= settings.epochs or (self.epoch > 0 and waited >= settings.patience)


def fit_two_tower(
    task: TwoTowerTask, folder: Path, *, fingerprint: str, advance: Advance = lambda _: None
) -> dict[str, float]:
    """Train, and write towers and item vectors into `folder`; returns what calibration said.

    `fingerprint` names data and settings: a checkpoint of another fingerprint is not continued.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        model = new_two_tower(task)
        run = _Run(model, new_optimiser(model, task.settings.steps))
        _resume(run, folder / CHECKPOINT, fingerprint)
        while not run.is_over(task.settings):
            _one_epoch(run, task, advance)
            _write_checkpoint(run, folder / CHECKPOINT, fingerprint)
    model.load_state_dict(run.best_weights)
    save_two_tower(model, folder)
    write_item_vectors(serving_user_tower(model).items_RD.numpy(), folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    advance(1.0)
    return {
        f"two-tower calibration {task.settings.protocol} recall@{_JUDGED_AT}": run.best_recall,
        "two-tower epochs": float(run.epoch),
        "two-tower best epoch": float(run.best_epoch),
    }


def _one_epoch(run: _Run, task: TwoTowerTask, advance: Advance) -> None:
    settings = task.settings
    seeds = np.random.SeedSequence([task.seed, run.epoch])
    torch.manual_seed(int(seeds.generate_state(1)[0]))
    random = np.random.default_rng(seeds)
    counts = task.wishes.counts
    epoch = Epoch(
        task.wishes.epoch(random),
        PoolSampler(counts / max(1, counts.sum()), settings.steps.uniform_negatives),
        task.histories,
        task.schema,
        start_share=run.epoch / settings.epochs,
        end_share=(run.epoch + 1) / settings.epochs,
    )
    train_epoch(run.model, run.optimiser, epoch, settings.steps, random, advance)
    retriever = TwoTowerRetriever.of(run.model, task.schema, task.histories)
    recall = recalls(retriever, task.questions, [_JUDGED_AT])[_JUDGED_AT]
    run.epoch += 1
    _log.info("epoch %d: calibration recall@%d %.4f", run.epoch, _JUDGED_AT, recall)
    if recall > run.best_recall:
        run.best_recall, run.best_epoch = recall, run.epoch
        run.best_weights = {k: v.clone() for k, v in run.model.state_dict().items()}


def _resume(run: _Run, file: Path, fingerprint: str) -> None:
    if not file.exists():
        return
    saved = torch.load(file, weights_only=True)
    if saved["fingerprint"] != fingerprint:
        return
    run.model.load_state_dict(saved["model"])
    run.optimiser.load_state_dict(saved["optimiser"])
    run.epoch, run.best_epoch = saved["epoch"], saved["best_epoch"]
    run.best_recall, run.best_weights = saved["best_recall"], saved["best_weights"]


def _write_checkpoint(run: _Run, file: Path, fingerprint: str) -> None:
    saved = {
        "fingerprint": fingerprint,
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "epoch": run.epoch,
        "best_epoch": run.best_epoch,
        "best_recall": run.best_recall,
        "best_weights": run.best_weights,
    }
    write_whole(file, lambda part: torch.save(saved, part))


def new_two_tower(task: TwoTowerTask) -> TwoTower:
    """Untrained towers that know the catalogue's words and which products have positives."""
    words = product_tokens(task.snapshot, task.settings.token_buckets)
    model = TwoTower(
        TwoTowerConfig(
            row_count=task.snapshot.products.num_rows + 1,
            token_slots=words.tokens.shape[1],
            token_buckets=task.settings.token_buckets,
            history_length=task.schema.history_length,
            context_code_counts=task.schema.code_counts(),
            context_value_count=len(CONTEXT_VALUES),
            vector_size=task.schema.vector_size,
        )
    )
    model.items.tokens_RL.copy_(torch.from_numpy(words.tokens))
    model.items.weights_RL.copy_(torch.from_numpy(words.weights))
    model.items.is_warm_R.copy_(torch.from_numpy(task.wishes.counts > 0))
    _learn_context(model, task)
    return model


def _learn_context(model: TwoTower, task: TwoTowerTask) -> None:
    """Which codes there are examples of, and how large the values are."""
    users = model.users
    moments = task.wishes.epoch(np.random.default_rng(task.seed)).moments
    seen = np.unique(context_codes(moments) + users.first_code_C.numpy())
    users.is_seen_S1.zero_()
    users.is_seen_S1[torch.from_numpy(seen)] = True
    users.is_seen_S1[users.first_code_C] = True
    values = context_values(task.histories, moments.at(np.arange(0, len(moments), 7)[:20_000]))
    users.value_mean_V.copy_(torch.from_numpy(values.mean(axis=0)))
    users.value_scale_V.copy_(torch.from_numpy(1.0 / np.maximum(values.std(axis=0), 0.1)))
    ignored = task.settings.ignored_values
    users.value_scale_V[[CONTEXT_VALUES.index(name) for name in ignored]] = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TwoTowerRetriever:
    """Exact nearest products of the user vector, from a model as it stands."""

    schema: FeatureSchema
    histories: Histories
    vectors: NDArray[np.float32]  # [R, D]
    tower: torch.nn.Module

    @staticmethod
    def of(model: TwoTower, schema: FeatureSchema, histories: Histories) -> "TwoTowerRetriever":
        """A retriever over the model's present vectors; leaves the model in evaluation mode."""
        tower = serving_user_tower(model)
        return TwoTowerRetriever(schema, histories, tower.items_RD.numpy(), tower)

    def user_vectors(self, moments: Moments) -> NDArray[np.float32]:
        """[B, D] unit vectors."""
        parts = [np.zeros((0, self.vectors.shape[1]), dtype=np.float32)]
        with torch.no_grad():
            for start in range(0, len(moments), _CHUNK):
                part = moments.at(np.arange(start, min(start + _CHUNK, len(moments))))
                batch = shopper_batch(self.histories, part, self.schema)
                inputs = (torch.from_numpy(batch.history_rows), *shopper_tensors(batch)[1:])
                parts.append(self.tower(*inputs).numpy())
        return np.concatenate(parts)

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] the nearest products."""
        cosines = self.user_vectors(moments) @ self.vectors.T
        cosines[:, 0] = -np.inf
        kept = min(count, cosines.shape[1] - 1)
        rows = np.argpartition(-cosines, kept - 1, axis=1)[:, :kept]
        order = np.argsort(-np.take_along_axis(cosines, rows, axis=1), axis=1, kind="stable")
        best = np.zeros((len(moments), count), dtype=np.int64)
        best[:, :kept] = np.take_along_axis(rows, order, axis=1)
        return best
