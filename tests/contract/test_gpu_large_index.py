"""Indexes for large catalogues: built, reckoned and scored again, by FAISS's own IVF-PQ in memory.

What builds on a GPU is not tried here; sizes, sample, filling and searching are the same.
"""

import asyncio
from dataclasses import replace

import faiss as faiss_library
import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.benchmarks.synthetic import some_shoppers, some_vectors
from serving.adapters.faiss_gpu import GpuIndex, GpuLimits, device_bytes, for_device
from serving.adapters.faiss_large import Blueprint, check_kind, filled, scored_again
from serving.settings_reader import load_settings
from shop.errors import DependencyUnavailable, ReleaseRejected

faiss = faiss_library  # type: ignore[assignment]
ROWS, WAIT_S = 4_000, 20.0
VECTORS = some_vectors(ROWS)
SHOPPERS = some_shoppers(VECTORS, 20)
LARGE = GpuLimits(large_rows=3_000, large_kind="ivf_pq")


class BuildingMachine:
    """A device that builds IVF-PQ in this machine's memory."""

    def __init__(self, free_bytes: int = 1 << 40) -> None:
        self.free = free_bytes

    def free_bytes(self) -> int:
        return self.free

    def moved(self, index: object) -> object:
        assert isinstance(index, Blueprint)
        size = index.vectors.shape[1]
        built = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(size),
            size,
            index.cells,
            index.code_bytes,
            8,
            faiss.METRIC_INNER_PRODUCT,
        )
        filled(built, index)
        return built


def an_index(limits: GpuLimits = LARGE) -> GpuIndex:
    on_host = for_device(None, VECTORS, limits)
    return GpuIndex(BuildingMachine(), on_host, VECTORS, limits)


def nearest(vector: NDArray[np.float32], count: int, allowed: NDArray[np.bool_]) -> list[int]:
    cosines = VECTORS.astype(np.float64) @ vector
    cosines[~allowed] = -np.inf
    cosines[0] = -np.inf
    return np.argsort(-cosines)[:count].tolist()


@pytest.fixture(scope="module")
def index() -> GpuIndex:
    return an_index()


def test_rough_codes_are_scored_again_by_the_vectors_themselves(index: GpuIndex) -> None:
    everything = np.ones(ROWS + 1, np.bool_)
    found, recall = [], []
    for shopper in SHOPPERS:
        rows, cosines = asyncio.run(index.search(shopper, 100, allowed=None, timeout_s=WAIT_S))
        found.append(rows)
        assert cosines == pytest.approx(VECTORS[rows] @ shopper, abs=1e-6)
        assert (np.diff(cosines) <= 0).all()
        assert rows.size == 100
        assert 0 not in rows
        recall.append(np.isin(nearest(shopper, 100, everything), rows).mean())
    assert np.mean(recall) > 0.9


def test_more_than_the_gpu_selects_at_once_is_asked_for_in_what_it_selects(index: GpuIndex) -> None:
    rows, _ = asyncio.run(index.search(SHOPPERS[0], 1_000, allowed=None, timeout_s=WAIT_S))
    assert rows.size == 1_000


@pytest.mark.parametrize("share", [0.002, 0.5, 0.97])
def test_filters_are_kept_and_starve_no_list(index: GpuIndex, share: float) -> None:
    allowed = np.random.default_rng(3).random(ROWS + 1) < share
    rows, _ = asyncio.run(index.search(SHOPPERS[1], 200, allowed=allowed, timeout_s=WAIT_S))
    assert allowed[rows].all()
    assert rows.size == min(200, int(allowed[1:].sum()))


def test_only_catalogues_beyond_the_limit_get_another_index_than_the_releases() -> None:
    own = object()
    assert for_device(own, VECTORS, replace(LARGE, large_rows=ROWS + 1)) is own
    assert for_device(own, VECTORS, replace(LARGE, large_kind=None)) is own
    assert isinstance(for_device(own, VECTORS, LARGE), Blueprint)


def test_memory_is_reckoned_before_anything_is_built() -> None:
    class Forbidden(BuildingMachine):
        def moved(self, index: object) -> object:
            raise AssertionError("it was built all the same")

    blueprint = Blueprint("ivf_pq", VECTORS)
    with pytest.raises(ReleaseRejected, match="MB of the GPU"):
        GpuIndex(Forbidden(LARGE.reserve_bytes), blueprint, VECTORS, LARGE)


def test_codes_take_a_fraction_of_what_a_graph_beside_whole_vectors_takes() -> None:
    many = np.broadcast_to(VECTORS[:1], (100_000_000, 64))
    codes, graph = (Blueprint(kind, many) for kind in ("ivf_pq", "cagra"))  # type: ignore[arg-type]
    assert device_bytes(codes) > 100_000_000 * (codes.code_bytes + 8)
    assert device_bytes(codes) < 8e9
    assert device_bytes(graph) > 100_000_000 * 4 * (64 + 64)
    assert (codes.cells, codes.code_bytes, codes.probes) == (32_768, 32, 64)


def test_a_size_that_no_code_divides_is_refused() -> None:
    assert Blueprint("ivf_pq", np.zeros((2, 50), np.float32)).code_bytes == 2
    with pytest.raises(ReleaseRejected, match="1 numbers"):
        _ = Blueprint("ivf_pq", np.zeros((2, 1), np.float32)).code_bytes


def test_scoring_again_puts_the_nearest_first() -> None:
    rows = np.array([5, 9, 7], np.int64)
    best, cosines = scored_again(VECTORS, VECTORS[7], rows, 2)
    assert best[0] == 7
    assert cosines[0] == pytest.approx(1.0, abs=1e-5)
    assert best.size == 2


@pytest.mark.skipif("CUVS" in faiss.get_compile_options(), reason="this FAISS has cuVS")
def test_cagra_without_cuvs_says_what_to_install() -> None:
    with pytest.raises(DependencyUnavailable, match="faiss-gpu-cuvs"):
        check_kind("cagra")
    check_kind("ivf_pq")


def test_the_kind_is_a_setting() -> None:
    settings = load_settings(None, {"VITRINE_GPU__LARGE_INDEX": "cagra"})
    assert settings.gpu.large_index == "cagra"
