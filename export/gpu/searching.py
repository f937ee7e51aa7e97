"""Searching: the steps of the GPU benchmark that are about exact search."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from export.gpu.checks import check_search
from export.gpu.drawn import unit_vectors
from export.gpu.graphs import GraphedCall
from export.gpu.plan import Plan
from export.gpu.report import Report
from export.gpu.search import ExactSearch, Storage
from export.gpu.shards import ShardedSearch
from export.gpu.timing import on_device, seen_by_caller

_STORAGES: tuple[Storage, ...] = ("fp32", "fp16", "int8")
_SIZE = 64
_INPUT_SETS = 16


def right_searches(plan: Plan, report: Report) -> None:
    """Every storage, with and without filters, at once and in chunks, alone and in a batch."""
    items = unit_vectors(plan.rows, _SIZE, plan.device, seed=plan.seed)
    users = unit_vectors(9, _SIZE, plan.device, seed=plan.seed + 7)[1:]
    filters = _filters(plan)
    for storage in _STORAGES:
        for parts, chunk_rows in (("at once", 0), ("in chunks", plan.rows // 3)):
            search = ExactSearch(
                items, storage=storage, count=plan.candidates, chunk_rows=chunk_rows
            )
            for name, allowed in filters.items():
                what = f"search {plan.rows:,} × {_SIZE} {storage}, {parts}, {name}"
                key = _key("search", storage, parts, name)
                report.checked(check_search(what, search, items, users, allowed), key)
            alone = check_search(
                f"search {storage}, {parts}, batch 1", search, items, users[:1], filters["half"]
            )
            report.checked(alone, _key("search", storage, parts, "alone"))


def right_shards(plan: Plan, report: Report) -> None:
    """Parts on all devices that there are, or two on one, with and without filters."""
    items = unit_vectors(plan.rows, _SIZE, plan.device, seed=plan.seed)
    users = unit_vectors(9, _SIZE, plan.device, seed=plan.seed + 7)[1:]
    devices = plan.shard_devices
    for storage in _STORAGES:
        search = ShardedSearch(items, devices, storage=storage, count=plan.candidates)
        for name, allowed in _filters(plan).items():
            what = f"search {plan.rows:,} × {_SIZE} {storage}, {len(devices)} parts, {name}"
            checked = check_search(what, search, items, users, allowed)
            report.checked(checked, _key("shards", storage, name))


def timed_shards(plan: Plan, report: Report) -> None:
    """The large table in parts beside the whole, as their caller sees them, batch 1 and 64."""
    items = unit_vectors(plan.large_rows, _SIZE, plan.device, seed=plan.seed)
    users = unit_vectors(_INPUT_SETS * 64 + 1, _SIZE, plan.device, seed=plan.seed + 3)[1:]
    ways: dict[str, ExactSearch | ShardedSearch] = {
        "whole": ExactSearch(items, count=plan.candidates),
        "parts": ShardedSearch(items, plan.shard_devices, count=plan.candidates),
    }
    for batch in (1, 64):
        for name, search in ways.items():
            closed = search.closed_for(None)
            sets = [(own, closed) for own in users.split(64)]
            run = functools.partial(_searched, search, batch)
            timed = seen_by_caller(run, sets, plan.device, count=plan.count)
            what = f"search {plan.large_rows:,} × {_SIZE} fp16, {name}, batch {batch}, for a caller"
            report.add(_key("shards", name, str(batch), "us"), what, timed.p50_us, "µs")
    report.add("shards_devices", "parts of the large table", len(plan.shard_devices), "")


def _searched(
    search: ExactSearch | ShardedSearch, batch: int, users: Tensor, closed: Any
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        return search(users[:batch], closed)  # type: ignore[no-any-return]


def _filters(plan: Plan) -> dict[str, Tensor | None]:
    """One for all requests or one for each; few enough to leave places empty."""
    draw = torch.Generator(plan.device).manual_seed(plan.seed)
    drawn = functools.partial(torch.rand, device=plan.device, generator=draw)
    few = torch.zeros(plan.rows, dtype=torch.bool, device=plan.device)
    few[: plan.candidates // 4] = True
    return {
        "no filter": None,
        "half": drawn(plan.rows) < 0.5,
        "own 2 pc": drawn(8, plan.rows) < 0.02,
        "few": few,
    }


def timed_search(
    plan: Plan, report: Report, rows: int, storage: Storage, bytes_per_s: float
) -> float:
    """Batch 1 over `rows`; returns the best form's time over the bandwidth floor.

    Every form is compared with float64 before it is timed.
    """
    items = unit_vectors(rows, _SIZE, plan.device, seed=plan.seed)
    search = ExactSearch(items, storage=storage, count=plan.candidates)
    users = unit_vectors(_INPUT_SETS + 1, _SIZE, plan.device, seed=plan.seed + 3)[1:]
    closed = search.closed_for(None)
    sets = [(user[None], closed) for user in users]
    size = f"{rows // 1_000_000}m" if rows >= 1_000_000 else str(rows)
    floor_us = search.table_bytes / bytes_per_s * 1e6
    key, what = _key("search", size, storage), f"search {size} × {_SIZE} {storage}"
    report.add(f"{key}_floor_us", f"{what}, bandwidth floor", floor_us, "µs")
    best_us = float("inf")
    for name, make in _forms(plan, search).items():
        try:
            run = _ready(make, sets[0], on_gpu=plan.on_gpu)
            check = check_search(f"{what}, {name}", search, items, users[-1:], None, run=run)
            if not report.checked(check, _key(key, name)):
                continue
            timed = on_device(run, sets, plan.device, count=plan.count)
        except Exception as error:  # noqa: BLE001  # whatever a compiler raises: the others go on
            report.failed(f"{what}, {name}", error)
            continue
        report.add(f"{_key(key, name)}_us", f"{what}, {name}, batch 1", timed.p50_us, "µs")
        best_us = min(best_us, timed.p50_us)
    report.add(f"{key}_over_floor", f"{what}, best over floor", best_us / floor_us, "×")
    return best_us / floor_us


def _forms(plan: Plan, search: ExactSearch) -> dict[str, Callable[[], Callable[..., Any]]]:
    """What can search for one user, each made when it is its turn."""
    if not plan.on_gpu:
        return {"torch": lambda: search}

    def kernel() -> Callable[..., Any]:
        from export.gpu.row_scores import fused_search  # needs the compiler of CUDA builds

        return functools.partial(fused_search, search)

    return {
        "torch": lambda: search,
        "torch.compile": lambda: torch.compile(search, dynamic=False),
        "kernel": kernel,
    }


def _ready(
    make: Callable[[], Callable[..., Any]], example: tuple[Tensor, ...], *, on_gpu: bool
) -> Callable[..., Any]:
    form = make()
    if on_gpu:
        return GraphedCall(form, example, shared=[1])  # the filter

    def run(*inputs: Tensor) -> Any:
        with torch.inference_mode():
            return form(*inputs)

    return run


def _key(*parts: str) -> str:
    return "_".join(parts).replace(" ", "_").replace(".", "_")
