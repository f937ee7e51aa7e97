"""The tensors that export, Triton's configuration and the gateway agree on."""

import pytest

from shop.features import CANDIDATE_VALUES, CONTEXT_CODES, CONTEXT_VALUES
from shop.tensors import (
    CANDIDATE_BUCKETS,
    MAX_CANDIDATES,
    MODELS,
    bucket_for,
    ranker_spec,
    user_tower_spec,
)
from tests.unit.small_shop import a_schema


def test_the_user_tower_takes_the_shopper_and_gives_a_vector() -> None:
    spec = user_tower_spec(a_schema())
    assert [(t.name, t.dtype, t.shape) for t in spec.inputs] == [
        ("history_rows", "INT64", (8,)),
        ("history_events", "INT64", (8,)),
        ("history_ages", "FP32", (8,)),
        ("context_codes", "INT64", (len(CONTEXT_CODES),)),
        ("context_values", "FP32", (len(CONTEXT_VALUES),)),
    ]
    assert [(t.name, t.dtype, t.shape) for t in spec.outputs] == [("user_vector", "FP32", (4,))]


def test_the_ranker_takes_ids_and_gives_a_probability_per_head() -> None:
    spec = ranker_spec(a_schema())
    assert spec.inputs[:5] == user_tower_spec(a_schema()).inputs
    assert [(t.name, t.dtype, t.shape) for t in spec.inputs[5:]] == [
        ("user_vector", "FP32", (4,)),
        ("candidate_rows", "INT64", (-1,)),
        ("candidate_values", "FP32", (-1, len(CANDIDATE_VALUES))),
    ]
    assert [(t.name, t.shape) for t in spec.outputs] == [("probabilities", (-1, 4))]


def test_both_models_are_named() -> None:
    schema = a_schema()
    assert (user_tower_spec(schema).name, ranker_spec(schema).name) == MODELS


@pytest.mark.parametrize(("count", "bucket"), [(0, 64), (64, 64), (65, 128), (500, 500)])
def test_a_list_goes_into_the_smallest_bucket_that_holds_it(count: int, bucket: int) -> None:
    assert bucket_for(count) == bucket


def test_more_than_the_longest_bucket_cannot_be_ranked() -> None:
    assert max(CANDIDATE_BUCKETS) == MAX_CANDIDATES == 500
    with pytest.raises(ValueError, match="at most 500"):
        bucket_for(501)
