"""Tensors: names, types and shapes that export, Triton's configuration and the gateway agree on.

Batch comes first everywhere and is not part of a shape. -1 is a length that may differ per call.
"""

from dataclasses import dataclass
from typing import Literal

from shop.features import CANDIDATE_VALUES, CONTEXT_CODES, CONTEXT_VALUES, FeatureSchema
from shop.text_tokens import TEXT_SLOTS

TensorType = Literal["FP32", "INT64"]

USER_TOWER = "user_tower"
RANKER = "ranker"
MODELS = (USER_TOWER, RANKER)
# Only in releases whose products have titles to search by.
TEXT_ENCODER = "text_encoder"
TEXT_VECTOR_SIZE = 64
ALL_MODELS = (*MODELS, TEXT_ENCODER)

# Candidate lists are padded with row 0 up to one of these, so that Triton can batch equal shapes.
CANDIDATE_BUCKETS = (64, 128, 256, 500)
MAX_CANDIDATES = CANDIDATE_BUCKETS[-1]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    dtype: TensorType
    shape: tuple[int, ...]  # without batch


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as Triton and its callers see it."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def _shopper_inputs(schema: FeatureSchema) -> tuple[TensorSpec, ...]:
    return (
        TensorSpec("history_rows", "INT64", (schema.history_length,)),
        TensorSpec("history_events", "INT64", (schema.history_length,)),
        TensorSpec("history_ages", "FP32", (schema.history_length,)),
        TensorSpec("context_codes", "INT64", (len(CONTEXT_CODES),)),
        TensorSpec("context_values", "FP32", (len(CONTEXT_VALUES),)),
    )


def user_tower_spec(schema: FeatureSchema) -> ModelSpec:
    """Shopper → unit vector."""
    return ModelSpec(
        USER_TOWER,
        _shopper_inputs(schema),
        (TensorSpec("user_vector", "FP32", (schema.vector_size,)),),
    )


def ranker_spec(schema: FeatureSchema) -> ModelSpec:
    """Shopper and candidate rows → calibrated probabilities, columns as `schema.heads`."""
    return ModelSpec(
        RANKER,
        (
            *_shopper_inputs(schema),
            TensorSpec("user_vector", "FP32", (schema.vector_size,)),
            TensorSpec("candidate_rows", "INT64", (-1,)),
            TensorSpec("candidate_values", "FP32", (-1, len(CANDIDATE_VALUES))),
        ),
        (TensorSpec("probabilities", "FP32", (-1, len(schema.heads))),),
    )


def text_encoder_spec() -> ModelSpec:
    """Hashed words and trigrams of a text → unit vector in the space of the products' texts."""
    return ModelSpec(
        TEXT_ENCODER,
        (TensorSpec("token_ids", "INT64", (TEXT_SLOTS,)),),
        (TensorSpec("text_vector", "FP32", (TEXT_VECTOR_SIZE,)),),
    )


def bucket_for(count: int) -> int:
    """The padded length for `count` candidates. Raises ValueError above MAX_CANDIDATES."""
    for bucket in CANDIDATE_BUCKETS:
        if count <= bucket:
            return bucket
    raise ValueError(f"{count} candidates, at most {MAX_CANDIDATES} can be ranked")
