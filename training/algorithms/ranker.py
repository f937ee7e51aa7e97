"""Ranker training: learn on the train window, calibrate on the next, judge on the last.

Reads the two-tower model, the neighbours and the popularity that the model folder already holds.

Shapes: Q lists, B lists of a batch, N candidates, H heads, E examples, R catalogue rows.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shop.features import CONTEXT_VALUES, FeatureSchema
from shop.release import VECTORS_FILE
from training.calibration import Affine, fit_affine, sigmoid
from training.data.progress import Progress, no_progress
from training.data.snapshot import Snapshot, file_sha256
from training.evaluation import auc, calibration_error, log_loss
from training.model_folder import read_item_vectors, read_popularity, write_whole
from training.models.ranker import Ranker, RankerConfig, chained_log, save_ranker
from training.product_features import product_features
from training.ranking_examples import Lists
from training.ranking_preparation import SetSettings, prepare_sets
from training.ranking_set import Batch, RankingSet
from training.split import Split

CHECKPOINT = "ranker.checkpoint.pt"
_CHUNK_LISTS = 128  # at once, where nothing is learnt
_SCALE_LISTS = 512  # that the scale of the inputs is taken from
_WARM_UP = 0.03
_FEWEST_KNOWN = 8.0  # a mean over fewer returns than this counts for less


@dataclass(frozen=True, slots=True)
class RankerSettings:
    """How the ranker is trained."""

    epochs: int = 1
    candidates_per_step: int = 2304
    candidates_per_list: int = 96  # drawn anew in every step where lists are longer
    fewest_steps: int = 1000  # in an epoch: few lists are learnt in smaller steps
    learning_rate: float = 4e-3
    embedding_rate: float = 2.0  # times the learning rate, for product embeddings
    position_rate: float = 10.0  # likewise for the examination of positions
    weight_decay: float = 1e-4
    own_dropout: float = 0.1  # share of products that must do without their own embedding
    vector_dropout: float = 0.1  # share of lists that must do without the user vector
    ignored_values: tuple[str, ...] = ()  # of shop.features.CONTEXT_VALUES, to see what they give
    sets: SetSettings = field(default_factory=SetSettings)

    @staticmethod
    def quick() -> "RankerSettings":
        """For tests: a few seconds on a small world."""
        few = SetSettings(train_lists=2_000, later_lists=500, proposed_lists=600, past_tables=2)
        return RankerSettings(fewest_steps=100, sets=few)

    def lists_per_step(self, lists: Lists) -> int:
        """How many lists one step learns from."""
        longest = min(self.candidates_per_list, lists.rows.shape[1])
        return max(1, min(self.candidates_per_step // longest, len(lists) // self.fewest_steps))


def loss_of(ranker: Ranker, batch: Batch, own_kept: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of every head over all candidates whose outcome is known, summed."""
    logits = ranker(*batch.inputs(), own_kept)
    log_examined = ranker.log_examined(batch.positions, batch.context_codes)
    losses = []
    for head, log_p in enumerate(chained_log(logits, ranker.config, log_examined)):
        log_p = log_p.clamp(max=-1e-6)
        log_not = torch.log(-torch.expm1(log_p))
        label, known = batch.labels[..., head], batch.is_known[..., head]
        entropy = -(label * log_p + (1.0 - label) * log_not) * known
        losses.append(entropy.sum() / known.sum().clamp(min=_FEWEST_KNOWN))
    return torch.stack(losses).sum()


def train_ranker(
    snapshot: Snapshot,
    folder: Path,
    schema: FeatureSchema,
    split: Split,
    *,
    seed: int = 0,
    settings: RankerSettings | None = None,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Write `ranker.pt` and `ranker.json` to the model folder; returns the test figures.

    The same data, seed and settings give the same model. Taken up again after a stop, it goes on
    from the last whole epoch. Raises NotFound if the folder lacks what the two-tower step writes.
    """
    settings = settings or RankerSettings()
    sets = prepare_sets(
        snapshot,
        folder,
        schema,
        split,
        settings=settings.sets,
        seed=seed,
        progress=_part(progress, 0.0, 0.3),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ranker = new_ranker(snapshot, folder, sets.train, settings.ignored_values)
        mark = _fingerprint(snapshot, folder, settings, seed)
        _fit(ranker, sets.train, folder, mark, seed, settings, _part(progress, 0.3, 0.9))
    ranker.eval()
    progress("calibrating the ranker", 0.9)
    calibrate(ranker, sets.calibration)
    save_ranker(ranker, folder)
    progress("judging the ranker", 0.95)
    metrics = judge_heads(ranker, sets.test)
    alone = judge_heads(ranker, sets.test.without_vectors())
    metrics |= {f"{name}, tower lost": alone[name] for name in alone if "positives" not in name}
    (folder / CHECKPOINT).unlink(missing_ok=True)
    progress("ranker done", 1.0)
    return metrics


def _part(progress: Progress, start: float, end: float) -> Progress:
    return lambda step, share: progress(step, start + share * (end - start))


def new_ranker(
    snapshot: Snapshot, folder: Path, train: RankingSet, ignored: tuple[str, ...] = ()
) -> Ranker:
    """An untrained ranker that knows the catalogue and the scale of its inputs."""
    products = product_features(snapshot, read_popularity(folder).popularity)
    ranker = Ranker(
        RankerConfig(
            heads=train.schema.heads,
            context_code_counts=train.schema.code_counts(),
            product_code_counts=products.code_counts,
            static_count=products.statics.shape[1],
            vector_size=train.schema.vector_size,
        )
    )
    ranker.products.codes_RA.copy_(torch.from_numpy(products.codes))
    ranker.products.statics_RS.copy_(torch.from_numpy(products.statics))
    ranker.products.vectors_RD.copy_(torch.from_numpy(read_item_vectors(folder)))
    batch = train.batch(np.linspace(0, len(train) - 1, _SCALE_LISTS).astype(np.intp))
    ranker.trunk.context_scale.fit(batch.context_values)
    ranker.trunk.context_scale.ignore([CONTEXT_VALUES.index(name) for name in ignored])
    ranker.trunk.value_scale.fit(batch.candidate_values[batch.candidate_rows > 0])
    return ranker


def _fingerprint(snapshot: Snapshot, folder: Path, settings: RankerSettings, seed: int) -> str:
    """What a checkpoint belongs to: data, settings, seed, and the towers below."""
    towers = file_sha256(folder / VECTORS_FILE)
    return f"{snapshot.manifest.snapshot} {settings} {seed} {towers}"


def _fit(
    ranker: Ranker,
    train: RankingSet,
    folder: Path,
    fingerprint: str,
    seed: int,
    settings: RankerSettings,
    progress: Progress,
) -> None:
    optimiser = _new_optimiser(ranker, settings)
    steps = max(1, math.ceil(len(train) / settings.lists_per_step(train.lists)))
    first = _resume(ranker, optimiser, folder / CHECKPOINT, fingerprint)
    ranker.train()
    for epoch in range(first, settings.epochs):
        random = np.random.default_rng([seed, epoch])
        torch.manual_seed(int(random.integers(2**31)))
        for step, at in enumerate(np.array_split(random.permutation(len(train)), steps)):
            share = (epoch + step / steps) / settings.epochs
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * group["pace"] * _rate_at(share)
            batch = train.batch(at, length=settings.candidates_per_list, random=random)
            batch = batch.without_vectors(torch.rand(at.size) < settings.vector_dropout)
            own_kept = torch.rand(batch.candidate_rows.shape) >= settings.own_dropout
            loss = loss_of(ranker, batch, own_kept.to(torch.float32))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(ranker.parameters(), 1.0)
            optimiser.step()
            progress(f"learning the ranker, epoch {epoch + 1} of {settings.epochs}", share)
        _write_checkpoint(ranker, optimiser, epoch + 1, folder / CHECKPOINT, fingerprint)
    _forget_unseen(ranker, train)


def _new_optimiser(ranker: Ranker, settings: RankerSettings) -> torch.optim.Optimizer:
    embeddings = list(ranker.products.parameters())
    positions = [ranker.overlooked, ranker.overlooked_on]
    special = {id(parameter) for parameter in (*embeddings, *positions)}
    others = [p for p in ranker.parameters() if id(p) not in special]
    groups = [
        {"params": others, "pace": 1.0},
        {"params": embeddings, "pace": settings.embedding_rate},
        {"params": positions, "pace": settings.position_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _rate_at(share: float) -> float:
    """The learning rate's course: a short rise, then a half cosine down to nothing."""
    return min(1.0, share / _WARM_UP + 0.01) * 0.5 * (1.0 + math.cos(math.pi * share))


def _forget_unseen(ranker: Ranker, train: RankingSet) -> None:
    """Products never shown in training keep no embedding of their own: it would be noise."""
    own = ranker.products.embeddings[0].weight
    seen = torch.zeros(own.shape[0], dtype=torch.bool)
    seen[torch.from_numpy(np.unique(train.lists.rows).astype(np.int64))] = True
    with torch.no_grad():
        own[~seen] = 0.0


def _resume(ranker: Ranker, optimiser: torch.optim.Optimizer, file: Path, fingerprint: str) -> int:
    """Take up a checkpoint of the same training; returns the finished epochs."""
    if not file.exists():
        return 0
    saved = torch.load(file, weights_only=True)
    if saved["fingerprint"] != fingerprint:
        return 0
    ranker.load_state_dict(saved["ranker"])
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["epoch"])


def _write_checkpoint(
    ranker: Ranker, optimiser: torch.optim.Optimizer, epoch: int, file: Path, fingerprint: str
) -> None:
    saved = {
        "fingerprint": fingerprint,
        "ranker": ranker.state_dict(),
        "optimiser": optimiser.state_dict(),
        "epoch": epoch,
    }
    write_whole(file, lambda part: torch.save(saved, part))


def calibrate(ranker: Ranker, held_out: RankingSet) -> None:
    """Fit one line per head on `held_out`, parents before children, and set them."""
    logits, examined = _outputs(ranker, held_out)
    lines: list[Affine] = []
    probabilities: list[NDArray[np.float64]] = []
    for head, parent in enumerate(ranker.config.parents):
        factor = _factor(ranker.config, head, parent, examined, probabilities)
        known = held_out.lists.is_known[..., head]
        labels = held_out.lists.labels[..., head]
        line = fit_affine(logits[..., head][known], labels[known], factor=factor[known])
        lines.append(line)
        probabilities.append(factor * sigmoid(line.apply(logits[..., head])))
    ranker.set_calibration(tuple(lines))


def probabilities_of(ranker: Ranker, asked: RankingSet) -> NDArray[np.float64]:
    """[Q, N, H] calibrated, where the candidates stood."""
    logits, examined = _outputs(ranker, asked)
    calibrated = ranker.calibrated(torch.from_numpy(logits)).numpy()
    probabilities: list[NDArray[np.float64]] = []
    for head, parent in enumerate(ranker.config.parents):
        factor = _factor(ranker.config, head, parent, examined, probabilities)
        probabilities.append(factor * sigmoid(calibrated[..., head].astype(np.float64)))
    return np.stack(probabilities, axis=-1)


def _factor(
    config: RankerConfig,
    head: int,
    parent: int | None,
    examined: NDArray[np.float64],
    probabilities: list[NDArray[np.float64]],
) -> NDArray[np.float64]:
    """[Q, N] what the head's own probability is multiplied by."""
    if parent is not None:
        return probabilities[parent]
    return examined if config.heads[head] == "click" else np.ones_like(examined)


def _outputs(ranker: Ranker, asked: RankingSet) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Raw logits [Q, N, H] and the chance to be looked at [Q, N]."""
    logits, examined = [], []
    with torch.no_grad():
        for batch in asked.batches(_CHUNK_LISTS):
            logits.append(ranker(*batch.inputs()).numpy())
            log_examined = ranker.log_examined(batch.positions, batch.context_codes)
            examined.append(torch.exp(log_examined).numpy().astype(np.float64))
    return np.concatenate(logits), np.concatenate(examined)


def judge_heads(ranker: Ranker, test: RankingSet) -> dict[str, float]:
    """AUC, log loss and both calibration errors of every head, return over purchases."""
    probabilities = probabilities_of(ranker, test)
    metrics: dict[str, float] = {}
    for head, name in enumerate(ranker.config.heads):
        known = test.lists.is_known[..., head]
        labels, promised = test.lists.labels[..., head][known], probabilities[..., head][known]
        metrics |= {
            f"ranker {name} test auc": auc(labels, promised),
            f"ranker {name} test log loss": log_loss(labels, promised),
            f"ranker {name} test ece": calibration_error(labels, promised),
            f"ranker {name} test ece, equal mass": calibration_error(
                labels, promised, equal_mass=True
            ),
            f"ranker {name} test positives": float(labels.sum()),
        }
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
