"""Plan: how much one run of the GPU benchmark checks and times."""

from dataclasses import dataclass
from typing import Literal

import torch

from export.gpu.decoder import EIGHT_B, TINY, DecoderShape
from export.gpu.engines import Precision, Way

CANDIDATES = 500

ModelForm = tuple[Way, Precision]
ChainWay = Way | Literal["kernel"]  # kernel: eager, but for the search by our own kernel
DecoderForm = Literal["torch", "compile", "kernel"]
ChainForm = tuple[ChainWay, Precision, int]  # the last is the batch


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    device: torch.device
    rows: int
    large_rows: int
    cell_rows: int  # of approximate search
    candidates: int
    model_forms: tuple[ModelForm, ...]
    chain_forms: tuple[ChainForm, ...]
    decoder_shape: DecoderShape
    decoder_forms: tuple[DecoderForm, ...]
    count: int  # of timed calls
    seed: int
    within_s: float  # no step begins later than that

    @property
    def shard_devices(self) -> tuple[torch.device, ...]:
        """Where the parts of a table lie: on all GPUs, or twice on one to rehearse it."""
        count = torch.cuda.device_count() if self.on_gpu else 1
        if count < 2:
            return (self.device, self.device)
        return tuple(torch.device("cuda", at) for at in range(count))

    @property
    def on_gpu(self) -> bool:
        """Only there are graphs, kernels and goals."""
        return self.device.type == "cuda"


def gpu_plan(*, seed: int, within_s: float) -> Plan:
    """Everything, on the first CUDA device.

    Compiling is what takes the time, a quarter to a full minute each, so only forms that can win
    are compiled; the cheap ones, plain kernels in a CUDA graph, are tried at every batch.
    """
    plain: tuple[ChainForm, ...] = tuple(
        ("eager", precision, batch)
        for batch in (1, 2, 4, 8, 32, 128, 256, 512)
        for precision in ("fp32", "bf16")
    )
    return Plan(
        device=torch.device("cuda"),
        rows=1_000_000,
        large_rows=10_000_000,
        cell_rows=40_000_000,
        candidates=CANDIDATES,
        model_forms=(
            *(("eager", precision) for precision in ("fp32", "tf32", "bf16", "fp16")),
            *(("compile", precision) for precision in ("fp32", "tf32", "bf16", "fp16")),
            ("aot", "bf16"),
        ),
        chain_forms=(
            ("kernel", "fp32", 1),
            ("kernel", "bf16", 1),
            *plain,
            ("compile", "bf16", 1),
            ("compile", "bf16", 256),
            ("compile", "tf32", 1),
        ),
        decoder_shape=EIGHT_B,
        decoder_forms=("torch", "kernel", "compile"),
        count=300,
        seed=seed,
        within_s=within_s,
    )


def cpu_plan(*, seed: int, rows: int = 3_000) -> Plan:
    """The same code, small: whether it is right, not how quick a GPU would be."""
    return Plan(
        device=torch.device("cpu"),
        rows=rows,
        large_rows=2 * rows,
        cell_rows=4 * rows,
        candidates=min(100, rows // 4),
        model_forms=(("eager", "fp32"), ("eager", "bf16")),
        chain_forms=(("eager", "fp32", 1), ("eager", "bf16", 8)),
        decoder_shape=TINY,
        decoder_forms=("torch",),
        count=3,
        seed=seed,
        within_s=600.0,
    )
