"""Timing: medians of calls on a device, and what the device's memory can do at most.

Inputs take turns, so that no call finds the one before's in a cache. On CUDA a call is timed twice:
on the device (events around it, no waiting between calls) and as its caller sees it (until the
result is there).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_WARM_UPS = 5
_FLOOR_BYTES = 4 << 30  # far beyond any cache
_FLOOR_ROUNDS = 11


@dataclass(frozen=True, slots=True)
class Timed:
    """Microseconds."""

    p50_us: float
    p99_us: float
    count: int


def seen_by_caller(
    call: Callable[..., Any],
    input_sets: Sequence[tuple[Tensor, ...]],
    device: torch.device,
    *,
    count: int,
) -> Timed:
    """One call after the other, each waited for."""
    _warm_up(call, input_sets, device)
    times = []
    for at in range(count):
        inputs = input_sets[at % len(input_sets)]
        began = time.perf_counter()
        call(*inputs)
        _wait(device)
        times.append(time.perf_counter() - began)
    return _summary([each * 1e6 for each in times])


def on_device(
    call: Callable[..., Any],
    input_sets: Sequence[tuple[Tensor, ...]],
    device: torch.device,
    *,
    count: int,
) -> Timed:
    """What the device works on a call; on the CPU the same as `seen_by_caller`."""
    if device.type != "cuda":
        return seen_by_caller(call, input_sets, device, count=count)
    _warm_up(call, input_sets, device)
    events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(count)]
    for at, (began, ended) in enumerate(events):
        began.record()
        call(*input_sets[at % len(input_sets)])
        ended.record()
    torch.cuda.synchronize(device)
    return _summary([began.elapsed_time(ended) * 1e3 for began, ended in events])


def copy_bytes_per_s(device: torch.device, size_bytes: int = _FLOOR_BYTES) -> float:
    """Bytes read and written per second by a copy within the device's memory, the median."""
    source = torch.empty(size_bytes // 4, dtype=torch.float32, device=device).uniform_()
    target = torch.empty_like(source)
    timed = on_device(lambda: target.copy_(source), [()], device, count=_FLOOR_ROUNDS)
    return 2.0 * source.numel() * 4 / (timed.p50_us * 1e-6)


def read_bytes_per_s(device: torch.device, size_bytes: int = _FLOOR_BYTES) -> float:
    """Bytes per second that a plain sum reads: the floor for whoever only reads, as a search."""
    source = torch.empty(size_bytes // 2, dtype=torch.float16, device=device).uniform_()
    words = source.view(torch.int32)  # a maximum of words does no arithmetic worth speaking of
    timed = on_device(lambda: words.amax(), [()], device, count=_FLOOR_ROUNDS)
    return source.numel() * 2 / (timed.p50_us * 1e-6)


def _warm_up(
    call: Callable[..., Any], input_sets: Sequence[tuple[Tensor, ...]], device: torch.device
) -> None:
    for at in range(_WARM_UPS):
        call(*input_sets[at % len(input_sets)])
    _wait(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _summary(times_us: list[float]) -> Timed:
    ordered = sorted(times_us)
    count = len(ordered)
    return Timed(ordered[count // 2], ordered[min(count - 1, int(count * 0.99))], count)
