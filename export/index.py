"""Index: the FAISS index of a release, its kind chosen by size, its recall measured, not assumed.

Row r of the index is catalogue row r; row 0 holds zeros and is masked by whoever searches.
Shapes: R catalogue rows, D vector size, B user vectors, K nearest.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from shop.errors import ReleaseRejected

faiss: Any = faiss_library  # its stubs do not know the subclasses

# 350 nearest of 64 numbers on one thread of Zen 5, exact against cells at recall .96: 4,000 rows
# 0.10 ms, 20,000 rows 0.29 against 0.16 ms, 100,000 rows 1.15 against 0.19 ms. HNSW at that recall
# took 0.5 and 1.2 ms, ten times as long to build, and starves under filters (recall .28 where 1 %
# of 19,000 pass, .59 where 10 % do: `vitrine bench filters`): it is not offered.
FLAT_ROWS = 20_000
RECALL_TARGET = 0.95
RECALL_AT = 350  # what the two-tower source asks for
_KINDS = ("SQ8", "Flat")  # cheaper first; the second is taken if quantising costs too much recall
_ROWS_PER_CELL = 40  # FAISS wants 39 to 256 rows to train a cell
_MAX_CELL_SHARE = 0.5  # visiting more cells than this, exact search is as quick


@dataclass(frozen=True, slots=True, eq=False)
class BuiltIndex:
    """An index ready to be written, with what was measured of it."""

    index: Any
    kind: str  # flat, ivf-sq8, ivf-flat
    recall: float  # of the K exact nearest, mean over the user vectors
    recall_at: int  # K
    cell_count: int  # 0 for flat
    probe_count: int  # 0 for flat

    def metrics(self) -> dict[str, float]:
        """For the release's manifest."""
        return {
            f"index_recall@{self.recall_at}": self.recall,
            "index_is_exact": float(self.kind == "flat"),
            "index_cells": float(self.cell_count),
            "index_probes": float(self.probe_count),
        }

    def write(self, path: Path) -> None:
        """As `faiss.read_index` reads it; the number of probes is kept inside."""
        faiss.write_index(self.index, str(path))


def build_index(
    item_vectors: NDArray[np.float32],
    user_vectors: NDArray[np.float32],
    *,
    flat_rows: int = FLAT_ROWS,
    recall_target: float = RECALL_TARGET,
) -> BuiltIndex:
    """The cheapest index that finds `recall_target` of the nearest products of real shoppers.

    item_vectors [R, D], row 0 zeros; user_vectors [B, D]. Exact where the catalogue is small, and
    where no approximate index reaches the target.
    Raises ReleaseRejected if the vectors are of no use.
    """
    _check(item_vectors, user_vectors)
    count = min(RECALL_AT, len(item_vectors) - 1)
    exact = exact_nearest(item_vectors, user_vectors, count)
    if len(item_vectors) > flat_rows:
        for kind in _KINDS:
            built = _ivf(kind, item_vectors, user_vectors, exact, recall_target)
            if built is not None:
                return built
    index = faiss.IndexFlatIP(item_vectors.shape[1])
    index.add(item_vectors)
    return BuiltIndex(index, "flat", _recall(index, user_vectors, exact), count, 0, 0)


def exact_nearest(
    item_vectors: NDArray[np.float32], user_vectors: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """[B, K] rows of the nearest products in 64-bit arithmetic, in no particular order."""
    nearest = np.empty((len(user_vectors), count), dtype=np.int64)
    items = item_vectors.astype(np.float64)
    for at, vector in enumerate(user_vectors.astype(np.float64)):
        cosines = items @ vector
        cosines[0] = -np.inf
        nearest[at] = np.argpartition(-cosines, count - 1)[:count]
    return nearest


def _check(item_vectors: NDArray[np.float32], user_vectors: NDArray[np.float32]) -> None:
    if len(item_vectors) < 2:
        raise ReleaseRejected("item vectors: there is no product")
    norms = np.linalg.norm(item_vectors[1:], axis=1)
    if np.any(item_vectors[0]) or not np.all(np.abs(norms - 1.0) < 1e-3):  # NaN fails too
        raise ReleaseRejected("item vectors: row 0 must be zeros, the others of unit length")
    if not np.all(np.abs(np.linalg.norm(user_vectors, axis=1) - 1.0) < 1e-3):
        raise ReleaseRejected("user tower: its vectors are not of unit length")


def _ivf(
    kind: str,
    item_vectors: NDArray[np.float32],
    user_vectors: NDArray[np.float32],
    exact: NDArray[np.int64],
    recall_target: float,
) -> BuiltIndex | None:
    """Cells of near vectors, of which the nearest few are visited; None if that is not enough."""
    rows, size = item_vectors.shape
    cells = max(1, min(int(4 * math.sqrt(rows)), rows // _ROWS_PER_CELL))
    index = faiss.index_factory(size, f"IVF{cells},{kind}", faiss.METRIC_INNER_PRODUCT)
    index.train(item_vectors[1:])
    index.add(item_vectors)
    probes = 1
    while probes <= cells * _MAX_CELL_SHARE:
        index.nprobe = probes
        recall = _recall(index, user_vectors, exact)
        if recall >= recall_target:
            return BuiltIndex(index, f"ivf-{kind.lower()}", recall, exact.shape[1], cells, probes)
        probes = math.ceil(probes * 1.3)
    return None


def _recall(index: Any, user_vectors: NDArray[np.float32], exact: NDArray[np.int64]) -> float:
    count = exact.shape[1]
    _, rows = index.search(np.ascontiguousarray(user_vectors), count + 1)  # row 0 may be among them
    hits = 0
    for found, wanted in zip(rows, exact, strict=True):
        hits += np.intersect1d(found[found > 0][:count], wanted, assume_unique=True).size
    return hits / exact.size
