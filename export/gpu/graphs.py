"""Graphs: a call's kernels recorded once and launched as one (CUDA graphs).

A call of batch 1 is some sixty kernels of microseconds each: launched singly, the launches cost
more than the arithmetic. Shapes are fixed by the recording, one graph for each batch size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_WARM_UPS = 3  # libraries allocate and choose algorithms in the first calls, not while recording


class GraphedCall:
    """`call` as one launch for inputs of these shapes."""

    def __init__(
        self, call: Callable[..., Any], example: Sequence[Tensor], *, shared: Sequence[int] = ()
    ) -> None:
        """`shared`: positions of inputs that are read where they lie, and never copied: filters.

        Raises ValueError where the inputs are not on a CUDA device: nothing else has graphs.
        """
        if not all(tensor.is_cuda for tensor in example):
            raise ValueError("CUDA graphs need their inputs on a CUDA device")
        self._shared = frozenset(shared)
        self._inputs = [
            tensor if at in self._shared else tensor.clone() for at, tensor in enumerate(example)
        ]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.inference_mode():
            for _ in range(_WARM_UPS):
                call(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._outputs = call(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        """The outputs; the next call overwrites them, so clone what is to be kept.

        Raises ValueError for a shared input that is another one than was recorded.
        """
        for at, (mine, given) in enumerate(zip(self._inputs, inputs, strict=True)):
            if mine.data_ptr() == given.data_ptr():
                continue
            if at in self._shared:
                raise ValueError(f"input {at} is shared: record a graph for each of its values")
            mine.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs
