"""Named engine: a TensorRT engine run by the names of its tensors.

The part of the API that TensorRT 8.6 and 10 share. It is told addresses in device memory and
allocates none, so whoever brings the memory (CuPy in Triton's stub, torch in `export`) is not its
business. Imports tensorrt when an engine is loaded; has run on no GPU yet, see docs/operations.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from shop.errors import DependencyUnavailable, ReleaseRejected

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineTensor:
    """One input or output as the engine wants it; 8.6 takes 64-bit ids as 32-bit ones."""

    name: str
    dtype: Any  # numpy's
    shape: Shape  # -1 where it may differ
    is_input: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """An array in device memory."""

    address: int
    shape: Shape


class NamedEngine:
    """One engine and one context: one call at a time."""

    def __init__(self, plan: bytes) -> None:
        """Raises DependencyUnavailable without TensorRT, ReleaseRejected if it refuses the plan."""
        try:
            trt = import_module("tensorrt")
        except ImportError as error:
            raise DependencyUnavailable(
                "tensorrt", f"the Python package tensorrt is not installed: {error}"
            ) from error
        runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ReleaseRejected(
                f"TensorRT {trt.__version__} refuses this engine: it was built by another version"
                " or for another GPU; build it again here"
            )
        self._runtime = runtime  # must live as long as its engines
        self._context = self._engine.create_execution_context()
        self._profile = 0
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        self.tensors = {name: self._tensor(trt, name) for name in names}

    def output_shapes(
        self, inputs: Mapping[str, Shape], *, profile: int = 0, stream: int = 0
    ) -> dict[str, Shape]:
        """Sets the shapes of the next call. Raises ReleaseRejected if the profile forbids them."""
        if profile != self._profile:
            if not self._context.set_optimization_profile_async(profile, stream):
                raise ReleaseRejected(f"the engine has no optimisation profile {profile}")
            self._profile = profile
        for name, shape in inputs.items():
            if not self._context.set_input_shape(name, shape):
                raise ReleaseRejected(f"{name} {shape} is outside of profile {profile}")
        return {
            name: tuple(self._context.get_tensor_shape(name))
            for name, tensor in self.tensors.items()
            if not tensor.is_input
        }

    def enqueue(self, placed: Mapping[str, Placed], *, stream: int) -> None:
        """Starts the call on a CUDA stream; `output_shapes` came before, and gave these shapes.

        Raises DependencyUnavailable if TensorRT does not take it.
        """
        for name in self.tensors:
            if not self._context.set_tensor_address(name, placed[name].address):
                raise DependencyUnavailable("tensorrt", f"the engine does not take {name}")
        if not self._context.execute_async_v3(stream):
            raise DependencyUnavailable("tensorrt", "the engine did not start")

    def _tensor(self, trt: Any, name: str) -> EngineTensor:
        return EngineTensor(
            name,
            np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))),
            tuple(self._engine.get_tensor_shape(name)),
            self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        )


def profile_of(lengths: tuple[int, ...], shapes: Mapping[str, Shape]) -> int:
    """The number of the profile for candidates of this length; 0 for models without candidates.

    `lengths` are those that the engine was built for, in order. Raises ReleaseRejected for others.
    """
    if "candidate_rows" not in shapes:
        return 0
    length = shapes["candidate_rows"][1]
    if length not in lengths:
        raise ReleaseRejected(f"{length} candidates: the engine was built for {lengths}")
    return lengths.index(length)
