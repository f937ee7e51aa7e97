"""ONNX models: the trained modules as graphs that ONNX Runtime and TensorRT read, proved equal.

The batch and the number of candidates stay open; everything else is fixed and constants are folded.
A graph is accepted only if it answers real inputs like the module it came from.

Shapes: B samples, N candidates.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from export.samples import Inputs
from shop.errors import ReleaseRejected
from shop.tensors import CANDIDATE_BUCKETS, ModelSpec

# Read by ONNX Runtime 1.32 and by TensorRT 10; newer ones bring nothing these graphs use.
OPSET = 20
MAX_RELATIVE_ERROR = 1e-4
_BATCHES = (1, 5, 16)  # parity is tried alone and in the company that Triton would give a request


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from its module on real inputs."""

    model: str
    sample_count: int
    worst_relative_error: float  # largest ‖graph - module‖ / ‖module‖ of any batch


def write_onnx(module: torch.nn.Module, spec: ModelSpec, path: Path) -> None:
    """The module as a graph with the tensors of `spec`, in one file."""
    dynamic, example = _dynamic_shapes(spec), _example(spec)
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            verbose=False,
        )
        if program is None:
            raise ReleaseRejected(f"{spec.name} could not be exported")
        program.optimize()
        graph = program.model_proto
    _forget_where_it_came_from(graph)
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def check_parity(module: torch.nn.Module, spec: ModelSpec, path: Path, inputs: Inputs) -> Parity:
    """How closely the graph follows the module on `inputs`, in several batch sizes and lengths.

    Raises ReleaseRejected above MAX_RELATIVE_ERROR, or if an answer is not finite.
    """
    run = onnx_runner(path, spec)
    worst = 0.0
    for batch in _batches(inputs):
        wanted = torch_answer(module, spec, batch)
        found = run(batch)
        if found.shape != wanted.shape or not np.isfinite(found).all():
            raise ReleaseRejected(f"{spec.name}: the graph answers {found.shape}, or not finite")
        error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
        worst = max(worst, error)
    parity = Parity(spec.name, len(next(iter(inputs.values()))), worst)
    if not worst <= MAX_RELATIVE_ERROR:  # written so that NaN fails too
        raise ReleaseRejected(
            f"{spec.name}: the graph differs from the trained model by {worst:.1e}, "
            f"at most {MAX_RELATIVE_ERROR:.0e} is allowed"
        )
    return parity


def answer_of(graph: bytes, spec: ModelSpec, inputs: Inputs) -> NDArray[np.float32]:
    """The one output of a graph in memory, on one thread."""
    return _runner(graph, spec)(inputs)


def onnx_runner(path: Path, spec: ModelSpec) -> Callable[[Inputs], NDArray[np.float32]]:
    """Answers inputs with the graph's one output, on one thread."""
    return _runner(path, spec)


def _runner(graph: Path | bytes, spec: ModelSpec) -> Callable[[Inputs], NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in spec.outputs]

    def run(inputs: Inputs) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run(names, inputs)[0]
        return answer

    return run


def torch_answer(module: torch.nn.Module, spec: ModelSpec, inputs: Inputs) -> NDArray[np.float32]:
    """The module's one output, as a graph would give it."""
    with torch.inference_mode():
        answer: NDArray[np.float32] = module(
            *(torch.from_numpy(inputs[tensor.name]) for tensor in spec.inputs)
        ).numpy()
    return answer


def _batches(inputs: Inputs) -> Iterator[Inputs]:
    """All samples once, in batches and candidate lengths that take turns."""
    count, start, turn = len(next(iter(inputs.values()))), 0, 0
    while start < count:
        part = slice(start, start + _BATCHES[turn % len(_BATCHES)])
        length = CANDIDATE_BUCKETS[turn % len(CANDIDATE_BUCKETS)]
        yield {
            name: array[part, :length] if name.startswith("candidate_") else array[part]
            for name, array in inputs.items()
        }
        start, turn = part.stop, turn + 1


def _example(spec: ModelSpec) -> tuple[torch.Tensor, ...]:
    """Tensors to trace with. Sizes of 2 and 3, because tracing takes a 1 for a constant."""
    shapes = [(2, *(3 if dim == -1 else dim for dim in tensor.shape)) for tensor in spec.inputs]
    dtypes = {"FP32": torch.float32, "INT64": torch.int64}
    return tuple(
        torch.ones(shape, dtype=dtypes[tensor.dtype])
        for shape, tensor in zip(shapes, spec.inputs, strict=True)
    )


def _dynamic_shapes(spec: ModelSpec) -> tuple[dict[int, torch.export.Dim], ...]:
    batch, candidates = torch.export.Dim("batch"), torch.export.Dim("candidates")
    return tuple(
        {0: batch} | {at: candidates for at, dim in enumerate(tensor.shape, 1) if dim == -1}
        for tensor in spec.inputs
    )


def _forget_where_it_came_from(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold stack traces with this machine's paths."""
    parts: list[Any] = [graph, graph.graph, *graph.graph.node, *graph.graph.initializer]
    parts += [*graph.graph.value_info, *graph.graph.input, *graph.graph.output]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Hush the exporter's remarks on absent torchvision and on its own deprecated parts."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
