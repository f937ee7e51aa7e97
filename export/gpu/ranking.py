"""Ranking: the steps of the GPU benchmark that are about the models and the whole chain."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from export.gpu.chain import Chain
from export.gpu.checks import (
    answer_in_float64,
    check_chain,
    check_model,
    check_values,
    in_float64,
    ranker_inputs,
    shopper_inputs,
)
from export.gpu.drawn import Shop, draw_shop
from export.gpu.engines import Engine, make_engine
from export.gpu.graphs import GraphedCall
from export.gpu.plan import Plan
from export.gpu.report import Report
from export.gpu.search import ExactSearch, chunk_rows_for
from export.gpu.timing import on_device, seen_by_caller

_INPUT_SETS = 16  # of a batch of 1 a few kilobytes each; the tables are what fills the cache
_CHECKED_BATCH = 8
_CLOSED = 5  # position of the filter among a chain's inputs


def right_models(plan: Plan, report: Report) -> None:
    """Tower and ranker in float32, and candidate values against the code of the host."""
    shop = draw_shop(min(plan.rows, 50_000), plan.device, seed=plan.seed)
    report.checked(check_values(shop.values, np.random.default_rng(plan.seed)), "values")
    for name, module, inputs in _models(shop, plan, batch=_CHECKED_BATCH, sets=1):
        wanted = answer_in_float64(in_float64(module), inputs[0])
        engine = make_engine(module, "eager", "fp32", inputs[0])
        report.checked(check_model(engine, "fp32", wanted, inputs[0], name), f"{name}_fp32")


def right_chain(plan: Plan, report: Report) -> None:
    """All stages together in float32, alone and in a batch, and what a CUDA graph repeats."""
    shop = draw_shop(plan.rows, plan.device, seed=plan.seed)
    for batch in (1, _CHECKED_BATCH):
        search = _search_for(shop, plan, batch)
        recorded, other = (_chain_inputs(shop, search, batch, seed) for seed in (0, 99))
        run: Callable[..., Any] = make_engine(_chain(shop, search), "eager", "fp32", recorded)
        check = check_chain(f"chain, batch {batch}", run, shop, search, recorded)
        report.checked(check, f"chain_{batch}")
        if plan.on_gpu:
            graph = GraphedCall(run, recorded, shared=[_CLOSED])
            check = check_chain(f"chain in a graph, batch {batch}", graph, shop, search, other)
            report.checked(check, f"chain_{batch}_graph")


def timed_models(plan: Plan, report: Report) -> float:
    """Tower and ranker alone, batch 1; returns the ranker's eager fp32 over its best form.

    Each form is held to float64 first, and not timed if it loses too much.
    """
    shop = draw_shop(plan.rows, plan.device, seed=plan.seed)
    gain = 1.0
    for name, module, sets in _models(shop, plan, batch=1, sets=_INPUT_SETS):
        wanted = answer_in_float64(in_float64(module), sets[0])
        eager = make_engine(module, "eager", "fp32", sets[0])
        base_us = seen_by_caller(eager, sets, plan.device, count=plan.count).p50_us
        report.add(f"{name}_eager_us", f"{name}, torch eager fp32, no graph", base_us, "µs")
        best_us = base_us
        for way, precision in plan.model_forms:
            key = f"{name}_{way}_{precision}"
            try:
                engine: Engine = make_engine(module, way, precision, sets[0])
                check = check_model(engine, precision, wanted, sets[0], name)
                if not report.checked(check, key):
                    continue
                run: Callable[..., Any] = _graphed(plan, engine, sets[0])
                timed = seen_by_caller(run, sets, plan.device, count=plan.count)
            except Exception as error:  # noqa: BLE001  # whatever a compiler raises: the others go on
                report.failed(key, error)
                continue
            report.add(f"{key}_us", f"{name}, {engine.label}", timed.p50_us, "µs")
            best_us = min(best_us, timed.p50_us)
        gain = base_us / best_us
    report.add("ranker_gain", "ranker, torch eager fp32 over the best form", gain, "×")
    return gain


def timed_chain(plan: Plan, report: Report, has_time: Callable[[], bool]) -> tuple[float, float]:
    """p50 of one request in µs as its caller sees it, and requests per second at the best batch.

    Forms for which there `has_time` no more are named as left out.
    """
    shop = draw_shop(plan.rows, plan.device, seed=plan.seed)
    alone_us, best_per_s = float("inf"), 0.0
    for form in plan.chain_forms:
        way, precision, batch = form
        key, what = f"chain_{way}_{precision}_b{batch}", f"chain, {way} {precision}, batch {batch}"
        if not has_time():
            report.left_out.append(what)
            continue
        try:
            timed = _timed_form(plan, report, shop, form)
        except Exception as error:  # noqa: BLE001  # as above; out of memory, too
            report.failed(key, error)
            continue
        if timed is None:
            continue
        seen_us, per_s = timed
        best_per_s = max(best_per_s, per_s)
        if batch == 1:
            alone_us = min(alone_us, seen_us)
    report.add("chain_best_p50_us", "chain, batch 1, the best form", alone_us, "µs")
    report.add("chain_best_per_s", "chain, the best batch", best_per_s, "requests/s")
    return alone_us, best_per_s


def _timed_form(
    plan: Plan, report: Report, shop: Shop, form: tuple[Any, Any, int]
) -> tuple[float, float] | None:
    way, precision, batch = form
    key, what = f"chain_{way}_{precision}_b{batch}", f"chain, {way} {precision}, batch {batch}"
    search = _search_for(shop, plan, batch)
    sets = [_chain_inputs(shop, search, batch, at) for at in range(_INPUT_SETS)]
    by_kernel = way == "kernel"
    chain = _chain(shop, search, by_kernel=by_kernel)
    engine = make_engine(chain, "eager" if by_kernel else way, precision, sets[0])
    run = _graphed(plan, engine, sets[0], shared=[_CLOSED])
    check = check_chain(what, run, shop, search, sets[-1], precision=precision)
    if not report.checked(check, key):
        return None
    seen = seen_by_caller(run, sets, plan.device, count=plan.count)
    work = on_device(run, sets, plan.device, count=plan.count)
    per_s = batch / (work.p50_us * 1e-6)
    report.add(f"{key}_p50_us", f"{what}, p50 seen by the caller", seen.p50_us, "µs")
    report.add(f"{key}_p99_us", f"{what}, p99 seen by the caller", seen.p99_us, "µs")
    report.add(f"{key}_per_s", what, per_s, "requests/s")
    return seen.p50_us, per_s


def _models(
    shop: Shop, plan: Plan, *, batch: int, sets: int
) -> list[tuple[str, nn.Module, list[tuple[Tensor, ...]]]]:
    count = plan.candidates
    return [
        ("tower", shop.tower, [shopper_inputs(shop, batch, at) for at in range(sets)]),
        ("ranker", shop.ranker, [ranker_inputs(shop, batch, count, at) for at in range(sets)]),
    ]


def _graphed(
    plan: Plan,
    engine: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    shared: Sequence[int] = (),
) -> Callable[..., Any]:
    return GraphedCall(engine, inputs, shared=shared) if plan.on_gpu else engine


def _chain(shop: Shop, search: ExactSearch, *, by_kernel: bool = False) -> Chain:
    form: nn.Module = search
    if by_kernel:
        from export.gpu.row_scores import KernelSearch  # needs the compiler of CUDA builds

        form = KernelSearch(search)
    return Chain(shop.tower, form, shop.values, shop.ranker).eval()


def _search_for(shop: Shop, plan: Plan, batch: int) -> ExactSearch:
    """Its chunks are such that the scores of this batch fit."""
    chunk_rows = chunk_rows_for(batch, shop.row_count)
    return ExactSearch(shop.items_RD, storage="fp16", count=plan.candidates, chunk_rows=chunk_rows)


def _chain_inputs(shop: Shop, search: ExactSearch, batch: int, seed: int) -> tuple[Tensor, ...]:
    return (*shopper_inputs(shop, batch, seed), search.closed_for(None))
