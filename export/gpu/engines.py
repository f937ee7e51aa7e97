"""Engines: one module, made to run in several ways behind one port; each says which it is.

None of these is TensorRT, whose engines `export.tensorrt` builds; the label tells them apart in
every table. Precisions below float32 are torch's autocast: matrix products in the small type,
exponentials and sums in float32, so that a fp16 softmax over masked entries cannot overflow.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Way = Literal["eager", "compile", "aot"]
_SMALL = {"bf16": torch.bfloat16, "fp16": torch.float16}
WAY_NAMES = {"eager": "torch eager", "compile": "torch.compile", "aot": "AOTInductor"}


class Engine(Protocol):
    """A model that answers tensors on its device, in the order of its `ModelSpec`."""

    @property
    def label(self) -> str:
        """What runs it and in which precision: "torch.compile bf16", "TensorRT 10.13 fp16"."""
        ...

    def __call__(self, *inputs: Tensor) -> Any:
        """Outputs as the module gives them, float32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TorchEngine:
    """An engine that torch runs."""

    label: str
    run: Callable[..., Any]

    def __call__(self, *inputs: Tensor) -> Any:
        """The module's outputs."""
        with torch.inference_mode():
            return self.run(*inputs)


class InPrecision(nn.Module):
    """A module under autocast; its outputs are float32 whatever it computes in."""

    def __init__(self, module: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.module = module
        self.small = _SMALL.get(precision)
        self.device_type = device.type

    def forward(self, *inputs: Tensor) -> Any:
        """As the module's."""
        if self.small is None:
            return _as_float32(self.module(*inputs))
        with torch.autocast(self.device_type, self.small, cache_enabled=False):
            return _as_float32(self.module(*inputs))


def make_engine(
    module: nn.Module,
    way: Way,
    precision: Precision,
    example: tuple[Tensor, ...],
) -> TorchEngine:
    """`module`, ready to run on the device of `example`, whose shapes it is specialised to."""
    device = example[0].device
    module = InPrecision(module.eval(), precision, device).eval()
    label = f"{WAY_NAMES[way]} {precision}"
    run: Callable[..., Any] = module
    if way == "compile":
        run = torch.compile(module, dynamic=False, options={"triton.cudagraphs": False})
    elif way == "aot":
        run = _ahead_of_time(module, example)
    return TorchEngine(label, _with_matmul_precision(run, precision))


def _with_matmul_precision(run: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """tf32 is a switch of the whole process: set for the call, put back after it."""
    if precision != "tf32":
        return run

    def switched(*inputs: Tensor) -> Any:
        with tf32():
            return run(*inputs)

    return switched


@contextmanager
def tf32() -> Iterator[None]:
    """float32 products by the tensor cores, with ten bits of mantissa."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _ahead_of_time(module: nn.Module, example: tuple[Tensor, ...]) -> Callable[..., Any]:
    """A package that was compiled once and is only loaded: no compiler where it runs."""
    from torch import _inductor as inductor  # the documented entry points lie there (2.6 to 2.13)

    with torch.no_grad():
        program = torch.export.export(module, example, strict=False)
        with tempfile.TemporaryDirectory() as folder:
            path = inductor.aoti_compile_and_package(
                program, package_path=str(Path(folder) / "engine.pt2")
            )
            loaded: Callable[..., Any] = inductor.aoti_load_package(path)
    return loaded


def _as_float32(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return tuple(_as_float32(part) for part in answer)
    return answer.float() if answer.is_floating_point() else answer
