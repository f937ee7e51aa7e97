"""Two-tower retrieval: sampled softmax over a shared pool, corrected for its draw (Yi 2019).

The pool of a step is every product wanted in the batch and some drawn uniformly. A product gets
into it the more often the more popular it is; subtracting the log of that probability from its
logit makes the loss estimate the softmax over the whole catalogue. Where the pool is the whole
catalogue, the correction is zero and the loss is that softmax.

Shapes: B examples, M wanted products of each, N pool, T history, D vector, R catalogue rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shop.features import CONTEXT_VALUES, FeatureSchema
from training.data.snapshot import Snapshot
from training.examples import Histories, Moments, ShopperBatch, shopper_batch
from training.models.two_tower import TwoTower, TwoTowerConfig, serving_user_tower
from training.product_tokens import product_tokens
from training.wishes import Wishes, WishSettings, WishSource

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class TwoTowerSettings:
    """How the two-tower model is trained."""

    epochs: int = 12
    patience: int = 2  # epochs without a better calibration recall before it stops
    batch_size: int = 512
    uniform_negatives: int = 2048
    temperature: float = 0.07
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    token_buckets: int = 16_384
    wishes: WishSettings = field(default_factory=WishSettings)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The products that one step compares the wanted ones with."""

    rows: NDArray[np.int64]  # [N] distinct, ascending
    log_inclusion: NDArray[np.float32]  # [N] log of the chance to be in the pool


@dataclass(frozen=True, slots=True, eq=False)
class PoolSampler:
    """Draws pools and knows how likely every product was to be in one."""

    shares: NDArray[np.float64]  # [R] of all positives
    uniform_count: int

    def draw(self, wanted_rows: NDArray[np.int64], random: np.random.Generator) -> Pool:
        """The wanted rows of a batch [B, M] and `uniform_count` uniform draws."""
        wanted = wanted_rows[wanted_rows > 0]
        catalogue = self.shares.size - 1
        rows = np.unique(
            np.concatenate([wanted, random.integers(1, catalogue + 1, self.uniform_count)])
        )
        # The expected number of draws of each row; a row is in the pool unless all draws miss it.
        expected = wanted.size * self.shares[rows] + self.uniform_count / catalogue
        return Pool(rows, np.log(-np.expm1(-expected)).astype(np.float32))


def sampled_softmax(
    similarity: Tensor,
    wanted_at: Tensor,
    weights: Tensor,
    log_inclusion: Tensor,
    temperature: float,
) -> Tensor:
    """The mean loss per unit of weight.

    similarity [B, N] cosines to the pool; wanted_at [B, M] pool positions; weights [B, M] 0 = none;
    log_inclusion [N]. A shopper's other wanted products are not their negatives.
    """
    logits = similarity / temperature - log_inclusion
    is_real = weights > 0
    wanted_logits = logits.gather(1, wanted_at)
    is_wanted = torch.zeros_like(logits).scatter_add_(1, wanted_at, is_real.to(logits.dtype)) > 0
    others = logits.masked_fill(is_wanted, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = functional.softplus(others - wanted_logits)
    return (losses * weights).sum() / weights.sum().clamp_min(1e-6)


def new_two_tower(
    snapshot: Snapshot, schema: FeatureSchema, source: WishSource, settings: TwoTowerSettings
) -> TwoTower:
    """Untrained towers that know the catalogue's words and which products have positives."""
    words = product_tokens(snapshot, settings.token_buckets)
    model = TwoTower(
        TwoTowerConfig(
            row_count=snapshot.products.num_rows + 1,
            token_slots=words.tokens.shape[1],
            token_buckets=settings.token_buckets,
            history_length=schema.history_length,
            context_code_counts=schema.code_counts(),
            context_value_count=len(CONTEXT_VALUES),
            vector_size=schema.vector_size,
        )
    )
    model.items.tokens_RL.copy_(torch.from_numpy(words.tokens))
    model.items.weights_RL.copy_(torch.from_numpy(words.weights))
    model.items.is_warm_R.copy_(torch.from_numpy(source.counts > 0))
    return model


def train_epoch(
    model: TwoTower,
    optimiser: torch.optim.Optimizer,
    wishes: Wishes,
    histories: Histories,
    schema: FeatureSchema,
    sampler: PoolSampler,
    settings: TwoTowerSettings,
    random: np.random.Generator,
    advance: Callable[[float], None] = lambda _: None,
) -> float:
    """One pass over `wishes`; returns the mean loss. `advance` is told the share done."""
    model.train()
    losses: list[float] = []
    batches = list(_batches(wishes, histories, settings.batch_size, random))
    for at in batches:
        loss = _loss(model, wishes, at, histories, schema, sampler, settings, random)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        advance(1 / len(batches))
    return float(np.mean(losses))


def _batches(
    wishes: Wishes, histories: Histories, size: int, random: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Random batches of shoppers with about equally long histories, so that little is padding."""
    starts, ends = histories.spans(wishes.moments.user_rows, wishes.moments.times_ms)
    order = random.permutation(len(wishes))
    batches = []
    for group in np.array_split(order, max(1, len(wishes) // (size * 16))):
        by_length = group[np.argsort((ends - starts)[group], kind="stable")]
        batches += np.array_split(by_length, max(1, round(group.size / size)))
    return iter([batches[at] for at in random.permutation(len(batches))])


def _loss(
    model: TwoTower,
    wishes: Wishes,
    at: NDArray[np.intp],
    histories: Histories,
    schema: FeatureSchema,
    sampler: PoolSampler,
    settings: TwoTowerSettings,
    random: np.random.Generator,
) -> Tensor:
    batch = _trimmed(shopper_batch(histories, wishes.moments.at(at), schema))
    wanted_rows = wishes.wanted_rows[at]
    pool = sampler.draw(wanted_rows, random)
    rows, inverse = np.unique(
        np.concatenate([pool.rows, batch.history_rows.ravel()]), return_inverse=True
    )
    vectors = model.items(torch.from_numpy(rows))
    places = torch.from_numpy(inverse)
    history = functional.embedding(places[pool.rows.size :].view(batch.history_rows.shape), vectors)
    users = model.users(history, *_shopper_tensors(batch))
    wanted_at = np.minimum(np.searchsorted(pool.rows, wanted_rows), pool.rows.size - 1)
    return sampled_softmax(
        users @ vectors[places[: pool.rows.size]].T,
        torch.from_numpy(wanted_at),
        torch.from_numpy(wishes.weights[at]),
        torch.from_numpy(pool.log_inclusion),
        settings.temperature,
    )


def _trimmed(batch: ShopperBatch) -> ShopperBatch:
    """Without the columns that are padding for everyone; one column always stays."""
    used = int((batch.history_rows > 0).any(axis=0).sum())
    width = max(1, used)
    return replace(
        batch,
        history_rows=batch.history_rows[:, -width:],
        history_events=batch.history_events[:, -width:],
        history_ages=batch.history_ages[:, -width:],
    )


def _shopper_tensors(batch: ShopperBatch) -> tuple[Tensor, ...]:
    return (
        torch.from_numpy((batch.history_rows > 0).astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(batch.history_events)),
        torch.from_numpy(np.ascontiguousarray(batch.history_ages)),
        torch.from_numpy(batch.context_codes),
        torch.from_numpy(batch.context_values),
    )


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
        parts = []
        with torch.no_grad():
            for start in range(0, len(moments), _CHUNK):
                part = moments.at(np.arange(start, min(start + _CHUNK, len(moments))))
                batch = shopper_batch(self.histories, part, self.schema)
                inputs = (torch.from_numpy(batch.history_rows), *_shopper_tensors(batch)[1:])
                parts.append(self.tower(*inputs).numpy())
        size = self.vectors.shape[1]
        return np.concatenate(parts) if parts else np.zeros((0, size), dtype=np.float32)

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] the nearest products."""
        cosines = self.user_vectors(moments) @ self.vectors.T
        cosines[:, 0] = -np.inf
        kept = min(count, cosines.shape[1] - 1)
        rows = np.argpartition(-cosines, kept, axis=1)[:, :kept]
        order = np.argsort(-np.take_along_axis(cosines, rows, axis=1), axis=1, kind="stable")
        best = np.zeros((len(moments), count), dtype=np.int64)
        best[:, :kept] = np.take_along_axis(rows, order, axis=1)
        return best
