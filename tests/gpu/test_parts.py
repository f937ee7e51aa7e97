"""What the GPU benchmark measures beside the chain, on the GPU: right there too."""

import asyncio
import dataclasses

import numpy as np
import pytest
import torch

from export.gpu.celling import drawn_around_centres, right_cells
from export.gpu.decoding import check_decoder
from export.gpu.door.step import door_plan, why_no_door
from export.gpu.plan import DecoderForm, gpu_plan
from export.gpu.report import Report

PLAN = dataclasses.replace(gpu_plan(seed=9, within_s=300.0), rows=50_000, large_rows=50_000)


@pytest.mark.parametrize("form", ["torch", "kernel", "compile"])
def test_every_form_of_the_decoder_says_what_float64_says(form: DecoderForm) -> None:
    checked = check_decoder(PLAN, form, torch.bfloat16)
    assert checked.holds, checked.measured


@pytest.mark.parametrize(("rows", "columns"), [(6_144, 4_096), (4_096, 14_336), (13, 160)])
def test_the_kernels_product_is_the_product(rows: int, columns: int) -> None:
    from export.gpu.row_products import row_products

    matrix = torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) * columns**-0.5
    given = torch.randn(1, columns, device="cuda", dtype=torch.bfloat16)
    wanted = given.double() @ matrix.double().T
    error = (row_products(given, matrix).double() - wanted).norm() / wanted.norm()
    assert error.item() < 1e-2


def test_cells_find_what_exact_search_finds() -> None:
    report = Report(PLAN.device)
    right_cells(PLAN, report)
    assert report.is_right, report.text()


def test_calls_through_grpc_come_back_with_whole_lists() -> None:
    if why_no_door():
        pytest.skip(f"NOT RUN: {why_no_door()}")
    from export.gpu.door.drive import run_door

    plan = dataclasses.replace(
        door_plan(PLAN), rates_per_s=(200.0,), rounds=1, duration_s=3.0, replicas=2, generators=1
    )
    (result,) = run_door(plan)
    assert result.failed == 0
    assert result.shortest == plan.listed


@pytest.mark.parametrize("kind", ["ivf_pq", "cagra"])
def test_an_index_for_large_catalogues_finds_most_of_the_nearest(kind: str) -> None:
    faiss = pytest.importorskip("faiss", reason="NOT RUN: faiss-gpu is not installed")
    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("NOT RUN: faiss-gpu is not installed")
    if kind == "cagra" and "CUVS" not in faiss.get_compile_options():
        pytest.skip("NOT RUN: this FAISS was built without cuVS (faiss-gpu-cuvs)")
    from serving.adapters.faiss_gpu import GpuIndex, GpuLimits, open_device
    from serving.adapters.faiss_large import Blueprint

    items, users = (each.cpu().numpy() for each in drawn_around_centres(200_000, 20, PLAN))
    blueprint = Blueprint(kind, items)  # type: ignore[arg-type]
    index = GpuIndex(open_device(), blueprint, items, GpuLimits())
    recall = []
    for user in users:
        rows, _ = asyncio.run(index.search(user, 350, allowed=None, timeout_s=10.0))
        recall.append(np.isin(np.argsort(-(items[1:] @ user))[:350] + 1, rows).mean())
    assert np.mean(recall) > 0.9
    index.close()
