"""ANN: recall against latency of the index on trained vectors, one core, one query at a time.

Shapes: R rows, D vector size, B user vectors, K nearest.
"""

import math
import time
from pathlib import Path
from typing import Any

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from export.index import exact_nearest
from loadtest.benchmarks.enlarged import EnlargedShop
from loadtest.benchmarks.in_process import InProcessModels
from loadtest.benchmarks.result import Check, Grid, Result
from loadtest.benchmarks.sample import sample_of
from loadtest.current import current_folder, current_manifest
from loadtest.histogram import percentile

faiss: Any = faiss_library  # its stubs do not know the subclasses

PRODUCTS = 1_000_000
NEAREST = 500
RECALL, P50_MS = 0.95, 1.0
_SHOPPERS = 200
_KINDS = ("SQ8", "Flat")
_PROBES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_ROUNDS = 3  # of all shoppers, for the latency


def measure(state_dir: Path, images: Path, *, products: int = PRODUCTS) -> Result:
    """The curve of every kind, and the quickest point that finds enough."""
    faiss.omp_set_num_threads(1)
    vectors = EnlargedShop(state_dir).vectors(products)
    users = user_vectors(state_dir, _SHOPPERS)
    nearest = min(NEAREST, products)
    exact = exact_nearest(vectors, users, nearest)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    exact_ms = _p50_ms(flat, users, nearest)
    curves = {kind: _curve(kind, vectors, users, exact) for kind in _KINDS}
    good = [
        (p50_ms, recall, kind, probes)
        for kind, points in curves.items()
        for probes, recall, p50_ms in points
        if recall >= RECALL
    ]
    p50_ms, recall, kind, probes = min(good, default=(exact_ms, 1.0, "exact", 0))
    picture = "ann.png"
    _draw(images / picture, curves, exact_ms, products, nearest)
    return Result(
        name="ann",
        figures={
            "products": products,
            "k": nearest,
            "recall": round(recall, 4),
            "p50_ms": round(p50_ms, 4),
            "kind": kind,
            "probes": probes,
            "exact_p50_ms": round(exact_ms, 4),
        },
        checks=(
            Check(
                f"{products:,} vectors, k = {nearest}: the quickest with recall ≥ {RECALL:g}",
                f"≤ {P50_MS:g} ms",
                f"{p50_ms:.3f} ms at recall {recall:.3f} ({kind}, {probes} cells visited)",
                p50_ms <= P50_MS,
            ),
        ),
        grids=tuple(
            Grid(
                f"IVF, {kind}: recall and p50 by cells visited",
                tuple(str(probes) for probes, _, _ in points),
                (
                    tuple(f"{recall:.3f}" for _, recall, _ in points),
                    tuple(f"{ms:.3f} ms" for _, _, ms in points),
                ),
            )
            for kind, points in curves.items()
        ),
        pictures=(picture,),
        notes=(
            f"One query at a time on one thread, {_SHOPPERS} shoppers of the release, whose own"
            " product tower made the vectors of products that the simulator made, each with the"
            " trained identity of a warm product of its category. Exact search takes"
            f" {exact_ms:.2f} ms.",
        ),
    )


def user_vectors(state_dir: Path, count: int) -> NDArray[np.float32]:
    """[B, D] of real shoppers of the current release."""
    folder = current_folder(state_dir)
    models = InProcessModels(folder)
    samples = sample_of(folder, current_manifest(state_dir), count, seed=12)
    return np.stack([models.vector_of(sample.features) for sample in samples])


def cells_for(rows: int) -> int:
    """As the export chooses them."""
    return max(1, min(int(4 * math.sqrt(rows)), rows // 40))


def trained_index(kind: str, vectors: NDArray[np.float32]) -> Any:
    """IVF over the vectors [R, D]."""
    cells = cells_for(len(vectors))
    index = faiss.index_factory(vectors.shape[1], f"IVF{cells},{kind}", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[1:])
    index.add(vectors)
    return index


def _curve(
    kind: str,
    vectors: NDArray[np.float32],
    users: NDArray[np.float32],
    exact: NDArray[np.int64],
) -> list[tuple[int, float, float]]:
    """Probes, recall and p50 ms, until everything is found."""
    index = trained_index(kind, vectors)
    points: list[tuple[int, float, float]] = []
    for probes in (each for each in _PROBES if each <= index.nlist):
        index.nprobe = probes
        _, rows = index.search(users, exact.shape[1] + 1)
        hits = sum(
            np.intersect1d(found[found > 0][: exact.shape[1]], wanted).size
            for found, wanted in zip(rows, exact, strict=True)
        )
        points.append((probes, hits / exact.size, _p50_ms(index, users, exact.shape[1])))
        if points[-1][1] > 0.999:
            break
    return points


def _p50_ms(index: Any, users: NDArray[np.float32], nearest: int) -> float:
    times = []
    for _ in range(_ROUNDS):
        for vector in users:
            began = time.perf_counter()
            index.search(vector[None], nearest + 1)
            times.append((time.perf_counter() - began) * 1e3)
    return percentile(np.array(times), 50.0)


def _draw(
    path: Path,
    curves: dict[str, list[tuple[int, float, float]]],
    exact_ms: float,
    products: int,
    nearest: int,
) -> None:
    from matplotlib import figure  # heavy: only those who draw pay for it

    picture = figure.Figure(figsize=(6.4, 3.6), dpi=90, layout="constrained")
    axes = picture.subplots()
    for kind, points in curves.items():
        axes.plot([p[1] for p in points], [p[2] for p in points], marker=".", label=f"IVF {kind}")
    axes.axhline(exact_ms, color="#8a8a8a", linestyle="--", label="exact")
    axes.axvline(RECALL, color="#b3261e", linewidth=1.0)
    axes.set_yscale("log")
    axes.set_xlabel(f"recall of the {nearest} nearest")
    axes.set_ylabel("ms, p50, one core")
    axes.set_title(f"{products:,} vectors", size=10)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)
