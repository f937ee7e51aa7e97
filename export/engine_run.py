"""Engine run: answers inputs with a TensorRT engine, its memory brought by torch.

For proving engines where they are built; and the TensorRT form of `export.gpu.engines.Engine`.
Has run on no GPU yet, see docs/operations.md.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.samples import Inputs
from serving.triton.named_engine import NamedEngine, Placed
from shop.tensors import ModelSpec


class TensorRtEngine:
    """One engine on the current CUDA device, on torch's current stream."""

    def __init__(self, plan: bytes, spec: ModelSpec, *, label: str, profile: int = 0) -> None:
        """Raises DependencyUnavailable without TensorRT, ReleaseRejected if it refuses the plan."""
        self.label = label
        self._spec, self._profile = spec, profile
        self._engine = NamedEngine(plan)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The engine's one output; inputs on the device, in the order of the specification."""
        held = {
            tensor.name: given.to(self._dtype(tensor.name)).contiguous()
            for tensor, given in zip(self._spec.inputs, inputs, strict=True)
        }
        stream = torch.cuda.current_stream().cuda_stream
        shapes = self._engine.output_shapes(
            {name: tuple(array.shape) for name, array in held.items()},
            profile=self._profile,
            stream=stream,
        )
        for name, shape in shapes.items():
            held[name] = torch.empty(shape, dtype=self._dtype(name), device=inputs[0].device)
        self._engine.enqueue(_placed(held), stream=stream)
        return held[self._spec.outputs[0].name].float()

    def _dtype(self, name: str) -> torch.dtype:
        return torch.from_numpy(np.zeros(0, self._engine.tensors[name].dtype)).dtype


def engine_answer(
    plan: bytes, spec: ModelSpec, inputs: Inputs, profile: int
) -> NDArray[np.float32]:
    """The answer of an engine to inputs of the host."""
    engine = TensorRtEngine(plan, spec, label="TensorRT", profile=profile)
    device = torch.device("cuda")
    answer = engine(*(torch.from_numpy(inputs[t.name]).to(device) for t in spec.inputs))
    found: NDArray[np.float32] = answer.cpu().numpy()
    return found


def _placed(held: Mapping[str, Tensor]) -> dict[str, Placed]:
    return {name: Placed(array.data_ptr(), tuple(array.shape)) for name, array in held.items()}
