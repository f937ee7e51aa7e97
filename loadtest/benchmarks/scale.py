"""Scale: what more products and more candidates cost, in time and memory, with the law of growth.

Each catalogue is measured in a process of its own, whose memory then is that catalogue's.
Shapes: R rows, N candidates.
"""

import gc
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss as faiss_library
import numpy as np
import psutil

from export.index import build_index
from loadtest.benchmarks.ann import user_vectors
from loadtest.benchmarks.enlarged import EnlargedShop
from loadtest.benchmarks.growth import fitted
from loadtest.benchmarks.in_process import InProcessModels
from loadtest.benchmarks.result import Grid, Result, at_most
from loadtest.benchmarks.sample import sample_of
from loadtest.benchmarks.synthetic import a_catalogue
from loadtest.current import current_folder, current_manifest
from loadtest.histogram import percentile
from shop.features import CANDIDATE_VALUES

faiss: Any = faiss_library  # its stubs do not know the subclasses

PRODUCTS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
CANDIDATES = (100, 200, 500, 1_000, 2_000)
NEAREST = 500
BYTES_A_PRODUCT = 600.0
_USERS = 100
_SEARCHES = 300
_RANKINGS = 60


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What one size costs."""

    products: int
    build_s: float
    search_p50_ms: float
    resident_bytes: int  # catalogue and index, beyond the process without them
    recall: float
    kind: str


def measure(state_dir: Path, images: Path, *, products: int = PRODUCTS[-1]) -> Result:
    """Products up to so many, candidates up to 2,000."""
    sizes = [size for size in PRODUCTS if size <= products] or [products]
    found = [_of_size(state_dir, size) for size in sizes]
    ranked = _ranking_ms(state_dir)
    return _result(found, ranked)


@dataclass(frozen=True, slots=True)
class _Built:
    kind: str
    recall: float
    build_s: float


def _of_size(state_dir: Path, products: int) -> Catalogue:
    """Built in one process and loaded in another: what building left behind is not counted."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="vitrine-scale-") as folder:
        file = Path(folder) / "index.faiss"
        with ProcessPoolExecutor(1, context) as pool:
            built = pool.submit(_build, state_dir, products, file).result()
        with ProcessPoolExecutor(1, context) as pool:
            resident, p50_ms = pool.submit(_load_and_search, state_dir, products, file).result()
    return Catalogue(products, built.build_s, p50_ms, resident, built.recall, built.kind)


def _build(state_dir: Path, products: int, file: Path) -> _Built:
    faiss.omp_set_num_threads(1)
    vectors = EnlargedShop(state_dir).vectors(products)
    users = user_vectors(state_dir, _USERS)
    np.save(file.with_suffix(".npy"), users)
    began = time.perf_counter()
    built = build_index(vectors, users)
    built.write(file)
    return _Built(built.kind, built.recall, time.perf_counter() - began)


def _load_and_search(state_dir: Path, products: int, file: Path) -> tuple[int, float]:
    """Bytes that index and catalogue made resident, and p50 of a search."""
    faiss.omp_set_num_threads(1)
    users = np.load(file.with_suffix(".npy"))
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    index = faiss.read_index(str(file))
    catalogue = a_catalogue(products)
    resident = process.memory_info().rss - before
    times = []
    for at in range(_SEARCHES):
        began = time.perf_counter()
        index.search(users[at % len(users)][None], min(NEAREST, catalogue.product_count) + 1)
        times.append((time.perf_counter() - began) * 1e3)
    return resident, percentile(np.array(times), 50.0)


def _ranking_ms(state_dir: Path) -> dict[int, float]:
    """p50 of the ranker in process by candidates, drawn from the release's products."""
    folder = current_folder(state_dir)
    models = InProcessModels(folder)
    sample = sample_of(folder, current_manifest(state_dir), 1, seed=5)[0]
    vector = models.vector_of(sample.features)
    rng = np.random.default_rng(6)
    most = int(sample.rows.max())
    found = {}
    for count in CANDIDATES:
        rows = rng.integers(1, most + 1, count)
        values = np.zeros((count, len(CANDIDATE_VALUES)), np.float32)
        times = []
        for _ in range(_RANKINGS):
            began = time.perf_counter()
            models.ranked(sample.features, vector, rows, values)
            times.append((time.perf_counter() - began) * 1e3)
        found[count] = percentile(np.array(times), 50.0)
    return found


def _result(found: list[Catalogue], ranked: dict[int, float]) -> Result:
    largest = found[-1]
    figures: dict[str, Any] = {"products_most": largest.products}
    for each in found:
        figures |= {
            f"search_p50_ms_{each.products}": round(each.search_p50_ms, 4),
            f"build_s_{each.products}": round(each.build_s, 2),
            f"resident_mb_{each.products}": round(each.resident_bytes / 1e6, 2),
            f"recall_{each.products}": round(each.recall, 4),
        }
    figures |= {f"ranking_p50_ms_{count}": round(ms, 4) for count, ms in ranked.items()}
    laws: list[tuple[str, str]] = []
    ranking = fitted(list(ranked), list(ranked.values()))
    figures["ranking_power"] = round(ranking.power, 3)
    laws.append(("ranking time by candidates", ranking.said()))
    checks = ()
    if len(found) > 1:
        sizes = [float(each.products) for each in found]
        search = fitted(sizes, [each.search_p50_ms for each in found])
        memory = fitted(sizes, [float(max(each.resident_bytes, 1)) for each in found])
        building = fitted(sizes, [each.build_s for each in found])
        beyond = (largest.resident_bytes - found[0].resident_bytes) / (
            largest.products - found[0].products
        )
        figures |= {
            "search_power": round(search.power, 3),
            "memory_power": round(memory.power, 3),
            "build_power": round(building.power, 3),
            "bytes_a_product": round(beyond, 1),
        }
        laws += [
            ("search time by products", search.said()),
            ("memory by products", memory.said()),
            ("building time by products", building.said()),
        ]
        what = f"memory of index and catalogue a product, beyond {found[0].products:,}"
        checks = (at_most(what, beyond, BYTES_A_PRODUCT, " bytes"),)
    return Result(
        name="scale",
        figures=figures,
        checks=checks,
        grids=(
            Grid(
                "By products, one core",
                ("products", "index", "recall", "search p50", "memory", "built in"),
                tuple(
                    (
                        f"{each.products:,}",
                        each.kind,
                        f"{each.recall:.3f}",
                        f"{each.search_p50_ms:.3f} ms",
                        f"{each.resident_bytes / 1e6:.1f} MB",
                        f"{each.build_s:.1f} s",
                    )
                    for each in found
                ),
            ),
            Grid(
                "By candidates: the ranker in process, one thread, p50",
                tuple(f"{count:,}" for count in ranked),
                (tuple(f"{ms:.2f} ms" for ms in ranked.values()),),
            ),
            Grid("Growth", ("what", "law"), tuple(laws)),
        ),
        notes=(
            "Vectors by the release's own product tower for products that the simulator made;"
            " the index as export chooses it, exact up to 20,000 products. Memory is what a replica"
            " holds of catalogue and index; the ranker's table of products and the tables of the"
            " other candidate sources are not in it.",
        ),
    )
