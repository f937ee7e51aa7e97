"""Steps of two-tower training: batches of equally long histories, their loss, one pass over them.

Shapes: B examples, T history, M wanted products of each, D vector size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shop.features import FeatureSchema
from training.algorithms.sampled_softmax import PoolSampler, sampled_softmax
from training.examples import ShopperBatch, shopper_batch
from training.histories import Histories
from training.models.two_tower import TwoTower
from training.wishes import Wishes

Advance = Callable[[float], None]  # is told the share done so far, 0..1
_LAST_RATE = 0.05  # share of the learning rate left at the end
_GROUP = 16  # batches whose shoppers are sorted by history length together


@dataclass(frozen=True, slots=True)
class StepSettings:
    """How one step learns. The values were tried on Online Retail and the world; see each."""

    batch_size: int = 512
    uniform_negatives: int = 2048
    temperature: float = 0.1  # Online Retail: 0.05 and 0.07 find 1–2 % less
    learning_rate: float = 3e-3  # 1e-3 finds 6 % less in as many epochs
    weight_decay: float = 1e-2  # against 1e-4: 2 % more


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """What one pass learns from, and where in the whole training it stands."""

    wishes: Wishes
    sampler: PoolSampler
    histories: Histories
    schema: FeatureSchema
    start_share: float  # of the whole training done before this pass
    end_share: float


def new_optimiser(model: TwoTower, settings: StepSettings) -> torch.optim.Optimizer:
    """AdamW over all weights of both towers."""
    return torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def train_epoch(
    model: TwoTower,
    optimiser: torch.optim.Optimizer,
    epoch: Epoch,
    settings: StepSettings,
    random: np.random.Generator,
    advance: Advance = lambda _: None,
) -> float:
    """One pass; returns the mean loss. `advance` is told the share of the whole training."""
    batches = _batches(epoch.wishes, epoch.histories, settings.batch_size, random)
    shares = np.linspace(epoch.start_share, epoch.end_share, len(batches) + 1)
    losses = np.zeros(len(batches))
    model.train()
    for step, at in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate_left(float(shares[step]))
        batch = shopper_batch(epoch.histories, epoch.wishes.moments.at(at), epoch.schema)
        loss = batch_loss(
            model,
            _trimmed(batch),
            epoch.wishes.wanted_rows[at],
            epoch.wishes.weights[at],
            epoch.sampler,
            random,
            temperature=settings.temperature,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses[step] = loss.item()
        advance(float(shares[step + 1]))
    return float(losses.mean())


def _rate_left(share_done: float) -> float:
    """Cosine from 1 down; a function of progress alone, so that resuming is exact."""
    return _LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * share_done))


def _batches(
    wishes: Wishes, histories: Histories, size: int, random: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Random batches of shoppers with about equally long histories, so that little is padding."""
    spans = histories.interactions.spans(wishes.moments.user_rows, wishes.moments.times_ms)
    lengths = spans.ends - spans.starts
    order = random.permutation(len(wishes))
    batches: list[NDArray[np.intp]] = []
    for group in np.array_split(order, max(1, len(wishes) // (size * _GROUP))):
        by_length = group[np.argsort(lengths[group], kind="stable")]
        batches += np.array_split(by_length, max(1, round(group.size / size)))
    return [batches[at] for at in random.permutation(len(batches))]


def batch_loss(
    model: TwoTower,
    batch: ShopperBatch,
    wanted_rows: NDArray[np.int64],
    weights: NDArray[np.float32],
    sampler: PoolSampler,
    random: np.random.Generator,
    *,
    temperature: float,
) -> Tensor:
    """The sampled softmax of one batch; wanted_rows [B, M], weights [B, M]."""
    pool = sampler.draw(wanted_rows, random)
    rows, inverse = np.unique(
        np.concatenate([pool.rows, batch.history_rows.ravel()]), return_inverse=True
    )
    vectors = model.items(torch.from_numpy(rows))
    places = torch.from_numpy(inverse)
    history = functional.embedding(places[pool.rows.size :].view(batch.history_rows.shape), vectors)
    users = model.users(history, *shopper_tensors(batch))
    wanted_at = np.minimum(np.searchsorted(pool.rows, wanted_rows), pool.rows.size - 1)
    return sampled_softmax(
        users @ vectors[places[: pool.rows.size]].T,
        torch.from_numpy(wanted_at),
        torch.from_numpy(weights),
        torch.from_numpy(pool.log_inclusion),
        temperature=temperature,
    )


def _trimmed(batch: ShopperBatch) -> ShopperBatch:
    """Without the columns that are padding for everyone; one column always stays."""
    width = max(1, int((batch.history_rows > 0).any(axis=0).sum()))
    return replace(
        batch,
        history_rows=np.ascontiguousarray(batch.history_rows[:, -width:]),
        history_events=np.ascontiguousarray(batch.history_events[:, -width:]),
        history_ages=np.ascontiguousarray(batch.history_ages[:, -width:]),
    )


def shopper_tensors(batch: ShopperBatch) -> tuple[Tensor, ...]:
    """Everything but the products: mask, events, ages, context codes and context values."""
    return (
        torch.from_numpy((batch.history_rows > 0).astype(np.float32)),
        torch.from_numpy(batch.history_events),
        torch.from_numpy(batch.history_ages),
        torch.from_numpy(batch.context_codes),
        torch.from_numpy(batch.context_values),
    )
