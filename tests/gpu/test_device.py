"""The request's arithmetic on the GPU: compared with float64, and the same from a CUDA graph."""

import dataclasses

import pytest
import torch

from export.gpu.chain import Chain
from export.gpu.checks import check_chain, check_search, shopper_inputs
from export.gpu.drawn import draw_shop, unit_vectors
from export.gpu.engines import make_engine
from export.gpu.graphs import GraphedCall
from export.gpu.plan import gpu_plan
from export.gpu.search import ExactSearch
from export.gpu.steps import run_bench

GPU = torch.device("cuda")


@pytest.mark.parametrize("storage", ["fp32", "fp16", "int8"])
def test_both_forms_of_exact_search_find_what_float64_finds(storage: str) -> None:
    from export.gpu.row_scores import fused_search

    items = unit_vectors(200_000, 64, GPU, seed=1)
    user = unit_vectors(2, 64, GPU, seed=2)[1:]
    search = ExactSearch(items, storage=storage, count=500)  # type: ignore[arg-type]
    half = torch.rand(200_000, device=GPU) < 0.5
    for allowed in (None, half):
        for run in (None, lambda vector, closed: fused_search(search, vector, closed)):
            checked = check_search(storage, search, items, user, allowed, run=run)
            assert checked.holds, checked.measured


def test_a_graph_answers_other_inputs_than_it_was_recorded_with() -> None:
    shop = draw_shop(50_000, GPU, seed=3)
    search = ExactSearch(shop.items_RD, storage="fp16", count=500)
    chain = Chain(shop.tower, search, shop.values, shop.ranker).eval()
    recorded, other = ((*shopper_inputs(shop, 2, seed), search.closed_for(None)) for seed in (1, 2))
    graph = GraphedCall(make_engine(chain, "eager", "fp32", recorded), recorded)
    checked = check_chain("graph", graph, shop, search, other)
    assert checked.holds, checked.measured


def test_the_benchmark_is_right_where_it_is_small() -> None:
    plan = dataclasses.replace(
        gpu_plan(seed=4, within_s=120.0),
        rows=100_000,
        large_rows=200_000,
        model_forms=(("eager", "bf16"),),
        chain_forms=(("eager", "fp32", 1), ("eager", "bf16", 8)),
        count=10,
    )
    report = run_bench(plan)
    assert report.is_right, report.text()


def test_an_index_on_the_gpu_finds_what_the_one_on_the_host_finds() -> None:
    import asyncio

    import faiss
    import numpy as np

    from serving.adapters.faiss_gpu import GpuIndex, GpuLimits, open_device

    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("NOT RUN: faiss-gpu is not installed")
    vectors = unit_vectors(20_000, 64, GPU, seed=5).cpu().numpy()
    index = faiss.IndexFlatIP(64)
    index.add(vectors)
    on_gpu = GpuIndex(open_device(half_precision=False), index, vectors, GpuLimits())
    rows, _ = asyncio.run(on_gpu.search(vectors[9], 50, allowed=None, timeout_s=10.0))
    wanted = np.argsort(-(vectors[1:] @ vectors[9]))[:50] + 1
    assert np.intersect1d(rows, wanted).size >= 49
    on_gpu.close()


def test_an_engine_built_here_answers_like_its_graph() -> None:
    pytest.importorskip("tensorrt", reason="NOT RUN: TensorRT is not installed")
    import tempfile
    from pathlib import Path

    from export.engine_run import engine_answer
    from export.gpu.checks import answer_in_float64, in_float64
    from export.onnx_models import write_onnx
    from export.quality_gate import check_fidelity, fidelity
    from export.tensorrt import BuildOptions, build_engine

    shop = draw_shop(5_000, torch.device("cpu"), seed=6)
    inputs = shopper_inputs(shop, 4, 6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tower.onnx"
        write_onnx(shop.tower, shop.tower_spec, path)
        plan, log = build_engine(
            path.read_bytes(),
            shop.tower_spec,
            BuildOptions(precision="fp16", max_batch_size=8),
            timing_cache=Path(folder) / "cache",
        )
    assert log.plan_bytes == len(plan)
    names = [tensor.name for tensor in shop.tower_spec.inputs]
    given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    answer = engine_answer(plan, shop.tower_spec, given, 0)
    wanted = answer_in_float64(in_float64(shop.tower), inputs).numpy()
    check_fidelity("user_tower", "fp16", fidelity(wanted, answer, orders=False))
