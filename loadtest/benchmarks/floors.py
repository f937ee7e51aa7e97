"""Floors: the arithmetic of one call alone. In process, one thread, nobody else, no wire."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from loadtest.benchmarks.in_process import InProcessModels
from loadtest.benchmarks.result import Grid, Result
from loadtest.benchmarks.sample import Sample, sample_of
from loadtest.current import current_folder, current_manifest
from loadtest.histogram import percentile
from shop.release import INDEX_FILE

CALLS = 200
_WARM_UP = 20
CANDIDATES = 500
NEAREST = 600  # as many as the served path asks the index for


@dataclass(frozen=True, slots=True)
class Floors:
    """Median milliseconds of each part."""

    tower_ms: float
    index_ms: float
    ranker_ms: float

    @property
    def sum_ms(self) -> float:
        """What one call cannot be quicker than with these models."""
        return self.tower_ms + self.index_ms + self.ranker_ms


def floors_of(state_dir: Path) -> Floors:
    """Measures the current release's own files on real shoppers."""
    release_folder = current_folder(state_dir)
    samples = sample_of(release_folder, current_manifest(state_dir), CALLS + _WARM_UP, seed=4)
    models = InProcessModels(release_folder)
    index = faiss.read_index(str(release_folder / INDEX_FILE))
    faiss.omp_set_num_threads(1)
    vectors = [models.vector_of(sample.features) for sample in samples]

    def rank(at: int) -> None:
        sample: Sample = samples[at]
        models.ranked(sample.features, vectors[at], sample.rows, sample.values)

    return Floors(
        tower_ms=_median_ms(lambda at: models.vector_of(samples[at].features)),
        index_ms=_median_ms(lambda at: index.search(vectors[at][None], NEAREST)),
        ranker_ms=_median_ms(rank),
    )


def measure(state_dir: Path, images: Path) -> Result:
    """Tower, index and ranker of the current release."""
    floors = floors_of(state_dir)
    parts = {
        "tower": floors.tower_ms,
        "index": floors.index_ms,
        "ranker": floors.ranker_ms,
        "sum": floors.sum_ms,
    }
    return Result(
        name="floors",
        figures={f"{name}_ms": round(ms, 4) for name, ms in parts.items()},
        grids=(
            Grid(
                f"p50 of {CALLS} calls, ONNX Runtime and FAISS in process, one thread,"
                f" {CANDIDATES} candidates",
                tuple(parts),
                (tuple(f"{ms:.3f} ms" for ms in parts.values()),),
            ),
        ),
        notes=(
            "The bare reference of the same path elsewhere (grpc.aio, both models on Triton, no"
            " look-ups, one million products, one in flight): p50 3.6 ms; its floors .053 + .22 +"
            " .886 = 1.16 ms.",
        ),
    )


def _median_ms(part: Callable[[int], object]) -> float:
    times = []
    for at in range(CALLS + _WARM_UP):
        began = time.perf_counter()
        part(at)
        times.append((time.perf_counter() - began) * 1e3)
    return percentile(np.array(times[_WARM_UP:]), 50.0)
