"""Model configuration: Triton's `config.pbtxt`, written from `shop/tensors.py`.

One text serves every server: the embedded one on CPU, an image with ONNX Runtime built in, with or
without a GPU (KIND_AUTO takes what is there). History length, vector size and heads are a release's
own, so export writes the configuration into the release; git's `model_repository/` shows it for the
built-in world, and a test keeps that true. Open lengths instead would spare this, but then Triton
could neither refuse a wrong shape nor warm a model up before the first request.
"""

from dataclasses import dataclass
from pathlib import Path

from shop.features import FEATURE_VERSION, FeatureSchema
from shop.scoring import HEADS
from shop.tensors import (
    CANDIDATE_BUCKETS,
    RANKER,
    TEXT_ENCODER,
    USER_TOWER,
    ModelSpec,
    TensorSpec,
    ranker_spec,
    text_encoder_spec,
    user_tower_spec,
)


@dataclass(frozen=True, slots=True)
class Batching:
    """How Triton gathers requests for one execution."""

    max_batch_size: int
    queue_delay_us: int  # how long a request may wait for company
    instance_count: int


# Measured on two cores, tower and ranker of the world, 500 candidates: a pair of calls costs 3.1 ms
# of processor time alone and 2.5 ms with eight in flight, the same for batches of up to 4, 8 or 16;
# without batches 3.0 ms. A delay of 0.5 ms gained nothing there and cost an idle server just that
# (batches form by themselves while the instance is busy), nor did a second instance.
USER_TOWER_BATCHING = Batching(
    max_batch_size=32,
    queue_delay_us=0,
    instance_count=1,
)
RANKER_BATCHING = Batching(
    max_batch_size=16,
    queue_delay_us=0,
    instance_count=1,
)
# A query takes 0.1 ms; batches form by themselves where many search at once.
TEXT_ENCODER_BATCHING = Batching(
    max_batch_size=32,
    queue_delay_us=0,
    instance_count=1,
)


def text_encoder_config() -> str:
    """The configuration of the model that only searchable releases have."""
    return model_config(text_encoder_spec(), TEXT_ENCODER_BATCHING, (1,))


def model_configs(schema: FeatureSchema) -> dict[str, str]:
    """The configuration of every model, by model name."""
    return {
        USER_TOWER: model_config(user_tower_spec(schema), USER_TOWER_BATCHING, (1,)),
        RANKER: model_config(ranker_spec(schema), RANKER_BATCHING, CANDIDATE_BUCKETS),
    }


def model_config(spec: ModelSpec, batching: Batching, free_lengths: tuple[int, ...]) -> str:
    """The text of one `config.pbtxt`; the model is warmed up once for each of `free_lengths`."""
    return "\n".join(
        (
            "# Written by export/model_config.py; change it there.",
            f'name: "{spec.name}"',
            'platform: "onnxruntime_onnx"',
            f"max_batch_size: {batching.max_batch_size}",
            "# What lies in the repository is served; promotion puts versions in and out.",
            "version_policy { all {} }",
            *(f"input [{tensor_text(tensor)}]" for tensor in spec.inputs),
            *(f"output [{tensor_text(tensor)}]" for tensor in spec.outputs),
            f"instance_group [{{ kind: KIND_AUTO count: {batching.instance_count} }}]",
            *dynamic_batching(batching),
            "# On CPU; a request is parallel to others, not in itself.",
            'parameters { key: "intra_op_thread_count" value { string_value: "1" } }',
            'parameters { key: "inter_op_thread_count" value { string_value: "1" } }',
            *(line for length in free_lengths for line in warm_up_text(spec, length)),
            "",
        )
    )


def tensor_text(tensor: TensorSpec) -> str:
    """One input or output."""
    return f'{{ name: "{tensor.name}" data_type: TYPE_{tensor.dtype} dims: {list(tensor.shape)} }}'


def dynamic_batching(batching: Batching) -> tuple[str, ...]:
    """How requests are gathered."""
    # No queue policy here, neither size nor timeout: with any, Triton 2.51 loses a wake-up now and
    # then and the queue stands still for half a second. Callers bound what they have in flight.
    return (f"dynamic_batching {{ max_queue_delay_microseconds: {batching.queue_delay_us} }}",)


def warm_up_text(spec: ModelSpec, length: int) -> tuple[str, ...]:
    """One request of zeros in this length."""
    return (
        "model_warmup {",
        f'  name: "length {length}"',
        "  batch_size: 1",
        *(
            f'  inputs {{ key: "{tensor.name}" value {{ data_type: TYPE_{tensor.dtype} '
            f"dims: {[length if dim == -1 else dim for dim in tensor.shape]} zero_data: true }} }}"
            for tensor in spec.inputs
        ),
        "}",
    )


def world_schema() -> FeatureSchema:
    """What decides the tensors of the world's releases; vocabularies do not show in them."""
    from training.settings import TrainingSettings  # brings torch along

    settings = TrainingSettings()
    return FeatureSchema(
        version=FEATURE_VERSION,
        history_length=settings.history_length,
        vector_size=settings.vector_size,
        devices=(),
        countries=(),
        segments=(),
        heads=HEADS,
    )


def write_shown(repository: Path) -> None:
    """Bring git's `model_repository/` up to date; `python -m export.model_config` does it."""
    shown = model_configs(world_schema()) | {TEXT_ENCODER: text_encoder_config()}
    for model, text in shown.items():
        folder = repository / model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(text)


if __name__ == "__main__":
    write_shown(Path(__file__).resolve().parents[1] / "model_repository")
