"""GPU configuration: Triton's `config.pbtxt` for engines, an alternative to the one for ONNX.

Same names, tensors and warm-up as `export.model_config`, so the gateway cannot tell the difference.
What differs: the platform, instances on the GPU, every profile made available, CUDA graphs for the
small batches of each padded length, and one engine file for each compute capability.

The figures are starting points: none has been measured on a GPU yet (docs/operations.md).
"""

from collections.abc import Sequence

from export.model_config import Batching, dynamic_batching, tensor_text, warm_up_text
from shop.engine_record import EngineEntry
from shop.features import FeatureSchema
from shop.tensors import (
    CANDIDATE_BUCKETS,
    RANKER,
    USER_TOWER,
    ModelSpec,
    ranker_spec,
    user_tower_spec,
)

# Two instances: one copies while the other computes. A delay of 100 µs is a tenth of a batch's time
# where a GPU is busy, and batches of 64 are far from filling it; larger ones cost latency.
_BATCHING = {
    USER_TOWER: Batching(max_batch_size=64, queue_delay_us=100, instance_count=2),
    RANKER: Batching(max_batch_size=64, queue_delay_us=100, instance_count=2),
}
_GRAPH_BATCHES = (1, 2, 4, 8)  # beyond, a launch is little beside the work


def max_batch_of(model: str) -> int:
    """What engines of a model must bear."""
    return _BATCHING[model].max_batch_size


def gpu_model_config(model: str, schema: FeatureSchema, engines: Sequence[EngineEntry]) -> str:
    """The text of `config.pbtxt` for these engines. Raises ValueError if there are none."""
    if not engines:
        raise ValueError(f"{model} has no engine to configure")
    spec = ranker_spec(schema) if model == RANKER else user_tower_spec(schema)
    lengths = CANDIDATE_BUCKETS if model == RANKER else (1,)
    batching = _BATCHING[model]
    return "\n".join(
        (
            "# Written by export/gpu_config.py; change it there.",
            f'name: "{model}"',
            'platform: "tensorrt_plan"',
            f"max_batch_size: {batching.max_batch_size}",
            f'default_model_filename: "{engines[-1].file}"',
            *(_engine_file(entry) for entry in engines),
            "version_policy { all {} }",
            *(f"input [{tensor_text(tensor)}]" for tensor in spec.inputs),
            *(f"output [{tensor_text(tensor)}]" for tensor in spec.outputs),
            f"instance_group [{{ kind: KIND_GPU count: {batching.instance_count} "
            f"profile: {_profiles(len(lengths))} }}]",
            *dynamic_batching(batching),
            "optimization {",
            "  cuda {",
            "    graphs: true",
            "    busy_wait_events: true",
            *(_graph(spec, batch, length) for length in lengths for batch in _GRAPH_BATCHES),
            "  }",
            "}",
            *(line for length in lengths for line in warm_up_text(spec, length)),
            "",
        )
    )


def _engine_file(entry: EngineEntry) -> str:
    major, minor = entry.compute_capability
    return f'cc_model_filenames {{ key: "{major}.{minor}" value: "{entry.file}" }}'


def _profiles(count: int) -> str:
    return "[" + ", ".join(f'"{at}"' for at in range(count)) + "]"


def _graph(spec: ModelSpec, batch: int, length: int) -> str:
    shapes = " ".join(
        f'input {{ key: "{tensor.name}" value {{ dim: '
        f"{[length if dim == -1 else dim for dim in tensor.shape]} }} }}"
        for tensor in spec.inputs
    )
    return f"    graph_spec {{ batch_size: {batch} {shapes} }}"
