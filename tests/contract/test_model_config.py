"""Triton's configuration: written from the tensors, the same in git as export would write it."""

from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.model_config import (
    RANKER_BATCHING,
    model_config,
    model_configs,
    text_encoder_config,
    world_schema,
)
from shop.tensors import (
    ALL_MODELS,
    CANDIDATE_BUCKETS,
    RANKER,
    TEXT_ENCODER,
    USER_TOWER,
    ranker_spec,
)

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
WORLD = world_schema()
CONFIGS = model_configs(WORLD) | {TEXT_ENCODER: text_encoder_config()}


def parsed(text: str) -> model_config_pb2.ModelConfig:
    """As Triton reads it: an unknown or misspelt field raises."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("model", ALL_MODELS)
def test_git_shows_what_export_writes_for_the_built_in_world(model: str) -> None:
    path = REPOSITORY / model / "config.pbtxt"
    assert path.read_text() == CONFIGS[model], "write it again: python -m export.model_config"


@pytest.mark.parametrize("model", ALL_MODELS)
def test_configuration_is_one_that_triton_reads(model: str) -> None:
    config = parsed(CONFIGS[model])
    assert config.name == model
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    assert config.instance_group[0].kind == config.instance_group[0].KIND_AUTO


def test_every_tensor_is_described_with_its_type_and_shape() -> None:
    config = parsed(model_configs(WORLD)[RANKER])
    spec = ranker_spec(WORLD)
    for described, tensors in ((config.input, spec.inputs), (config.output, spec.outputs)):
        found = [
            (t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in described
        ]
        assert found == [(t.name, f"TYPE_{t.dtype}", t.shape) for t in tensors]


def test_heads_and_history_of_a_release_are_in_its_shapes() -> None:
    schema = replace(WORLD, history_length=7, heads=("purchase", "return"))
    config = parsed(model_configs(schema)[RANKER])
    assert list(config.input[0].dims) == [7]
    assert list(config.output[0].dims) == [-1, 2]


def test_every_padded_length_is_warmed_up_before_the_first_request() -> None:
    config = parsed(model_configs(WORLD)[RANKER])
    lengths = [list(w.inputs["candidate_rows"].dims) for w in config.model_warmup]
    assert lengths == [[length] for length in CANDIDATE_BUCKETS]
    names = {tensor.name for tensor in ranker_spec(WORLD).inputs}
    assert all(set(warm_up.inputs) == names for warm_up in config.model_warmup)
    tower = parsed(model_configs(WORLD)[USER_TOWER])
    assert len(tower.model_warmup) == 1


def test_no_queue_policy_is_set_because_it_makes_the_queue_stand_still() -> None:
    for text in model_configs(WORLD).values():
        batching = parsed(text).dynamic_batching
        assert not batching.HasField("default_queue_policy")
        assert not batching.priority_queue_policy


def test_queue_delay_of_the_settings_is_written() -> None:
    text = model_config(ranker_spec(WORLD), replace(RANKER_BATCHING, queue_delay_us=300), (64,))
    assert parsed(text).dynamic_batching.max_queue_delay_microseconds == 300
