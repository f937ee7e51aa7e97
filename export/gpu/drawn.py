"""Drawn: models and requests made at random, in the real modules and the real tensors' shapes.

For measuring where no trained release is at hand. Weights as the modules draw them; products are
unit vectors in no clusters, which is the hardest case for a search and the same work for an exact
one. Nothing is zero that would not be zero in the shop: zeros flatter a GPU.

Shapes: R catalogue rows, D vector size, T history, K neighbours of each.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.gpu.live_values import LiveValues
from shop.events import EVENT_CODE_COUNT
from shop.features import FEATURE_VERSION, FeatureSchema
from shop.scoring import HEADS
from shop.tensors import ModelSpec, TensorSpec, ranker_spec, user_tower_spec
from training.models.ranker import Ranker, RankerConfig, ServingRanker
from training.models.two_tower import ServingUserTower, TwoTower, TwoTowerConfig

_PRODUCT_CODES = (12, 40, 8, 8, 8, 8, 10)  # category, brand and attributes of the world
_STATICS = 5
_NEIGHBOURS = 30
_SMALL_ROWS = 64  # for building the modules; their tables are replaced by ones of R rows


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """Models of one drawn shop, on one device."""

    schema: FeatureSchema
    items_RD: Tensor
    tower: ServingUserTower
    ranker: ServingRanker
    values: LiveValues

    @property
    def tower_spec(self) -> ModelSpec:
        """The tower's tensors."""
        return user_tower_spec(self.schema)

    @property
    def ranker_spec(self) -> ModelSpec:
        """The ranker's tensors."""
        return ranker_spec(self.schema)

    @property
    def row_count(self) -> int:
        """R."""
        return int(self.items_RD.shape[0])


def a_schema() -> FeatureSchema:
    """Vocabularies of the size that the built-in world has."""
    return FeatureSchema(
        version=FEATURE_VERSION,
        history_length=50,
        vector_size=64,
        devices=("desktop", "mobile", "tablet"),
        countries=tuple(f"C{at}" for at in range(6)),
        segments=tuple(f"segment {at}" for at in range(4)),
        heads=HEADS,
    )


def draw_shop(row_count: int, device: torch.device, *, seed: int) -> Shop:
    """A shop of `row_count` rows, row 0 among them."""
    torch.manual_seed(seed)
    schema = a_schema()
    items = unit_vectors(row_count, schema.vector_size, device, seed=seed)
    tower = _tower(schema, items).to(device).eval()
    ranker = _ranker(schema, items).to(device).eval()
    generator = torch.Generator(device).manual_seed(seed)
    prices = torch.exp(torch.randn(row_count, device=device, generator=generator) * 0.8 + 8.3)
    prices[0] = 0.0
    shape = (row_count, _NEIGHBOURS)
    near = torch.randint(1, row_count, shape, device=device, generator=generator)
    scores = torch.rand(shape, device=device, generator=generator)
    scores[0] = 0.0
    values = LiveValues(prices.long(), near, scores).to(device)
    return Shop(schema, items, tower, ranker, values)


def unit_vectors(row_count: int, size: int, device: torch.device, *, seed: int) -> Tensor:
    """[R, D] of unit length, row 0 zeros."""
    generator = torch.Generator(device).manual_seed(seed + 1)
    items = torch.randn(row_count, size, device=device, generator=generator)
    items = nn.functional.normalize(items, dim=-1)
    items[0] = 0.0
    return items


def draw_inputs(
    spec: ModelSpec,
    schema: FeatureSchema,
    *,
    batch: int,
    candidates: int,
    row_count: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray[Any, Any]]:
    """Random values for every input of `spec`, as the gateway would send them."""
    lengths = rng.integers(0, schema.history_length + 1, batch)
    lengths[0] = 0 if batch > 1 else schema.history_length  # someone nobody has seen yet
    at = np.arange(schema.history_length)
    is_real = at >= schema.history_length - lengths[:, None]
    drawn: dict[str, np.ndarray[Any, Any]] = {
        "history_rows": rng.integers(1, row_count, is_real.shape) * is_real,
        "history_events": rng.integers(1, EVENT_CODE_COUNT, is_real.shape) * is_real,
        "history_ages": (np.sort(rng.uniform(0, 8, is_real.shape))[:, ::-1] * is_real),
        "context_codes": np.stack(
            [rng.integers(0, count, batch) for count in schema.code_counts()], axis=1
        ),
    }
    for tensor in spec.inputs:
        if tensor.name in drawn:
            continue
        shape = (batch, *(candidates if dim == -1 else dim for dim in tensor.shape))
        if tensor.name == "candidate_rows":
            drawn[tensor.name] = rng.integers(1, row_count, shape)
        else:
            drawn[tensor.name] = rng.normal(size=shape)
        if tensor.name == "user_vector":
            drawn[tensor.name] /= np.linalg.norm(drawn[tensor.name], axis=1, keepdims=True)
    return {tensor.name: _typed(drawn[tensor.name], tensor) for tensor in spec.inputs}


def on_device(inputs: dict[str, np.ndarray[Any, Any]], device: torch.device) -> tuple[Tensor, ...]:
    """The same as tensors, in the same order."""
    return tuple(torch.from_numpy(array).to(device) for array in inputs.values())


def _typed(array: np.ndarray[Any, Any], tensor: TensorSpec) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array, dtype=np.int64 if tensor.dtype == "INT64" else np.float32)


def _tower(schema: FeatureSchema, items: Tensor) -> ServingUserTower:
    config = TwoTowerConfig(
        row_count=_SMALL_ROWS,
        token_slots=4,
        token_buckets=16,
        history_length=schema.history_length,
        context_code_counts=schema.code_counts(),
        context_value_count=user_tower_spec(schema).inputs[-1].shape[0],
        vector_size=schema.vector_size,
    )
    users = TwoTower(config).users.to(items.device).eval()
    with torch.no_grad():
        return ServingUserTower(users, items)


def _ranker(schema: FeatureSchema, items: Tensor) -> ServingRanker:
    config = RankerConfig(
        heads=schema.heads,
        context_code_counts=schema.code_counts(),
        product_code_counts=(_SMALL_ROWS, *_PRODUCT_CODES),
        static_count=_STATICS,
        vector_size=schema.vector_size,
    )
    ranker = ServingRanker(Ranker(config))
    features = torch.randn(items.shape[0], config.feature_size, device=items.device)
    features[:, : schema.vector_size] = items * schema.vector_size**0.5
    features[0] = 0.0
    ranker.table_RE = features
    return ranker
