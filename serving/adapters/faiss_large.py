"""FAISS, large: approximate indexes that are built in a GPU's memory, for large catalogues.

Beyond some ten million products reading every vector takes longer than a list may. A release's own
index was chosen for CPUs; here one is built from its vectors while it is loaded: IVF-PQ (Jégou
2011) in a quarter of their memory, scored again from the vectors themselves, or CAGRA (Ootomo
2023), a graph beside whole vectors, where FAISS has cuVS. Neither has run on a GPU yet.

Shapes: R catalogue rows, D vector size, B callers, K wanted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from serving.adapters.index_calls import DEPENDENCY, Found
from shop.errors import DependencyUnavailable, ReleaseRejected

faiss: Any = faiss_library  # its stubs know nothing of what GPU builds add

LargeKind = Literal["ivf_pq", "cagra"]

# Starting points, not measured on a GPU: cells of some six hundred rows, of which a search looks at
# sixty-four, and four times as many rows as wanted for scoring again (eight bits for two numbers).
_CELLS_PER_ROOT, _PROBES, _AGAIN = 4.0, 64, 4
_CODE_SIZES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)  # that GPU kernels know
_BITS = 8
_TRAINED_ON, _ADDED_AT_ONCE = 64, 1 << 20  # rows of a cell; rows
_DEGREE, _FIRST_DEGREE = 64, 128  # of CAGRA's graph, when pruned and before
_LEAST_KEPT = 64  # results that CAGRA keeps on its way


@dataclass(frozen=True, slots=True, eq=False)
class Blueprint:
    """An index that is not built yet; says what it will take."""

    kind: LargeKind
    vectors: NDArray[np.float32]  # [R, D] of the host; row 0 holds zeros

    @property
    def cells(self) -> int:
        """Of IVF-PQ: a power of two near four times the root of R."""
        rows = int(self.vectors.shape[0])
        # FAISS warns of fewer than 39 rows for each cell that is trained.
        wanted = min(_CELLS_PER_ROOT * math.sqrt(rows), rows / 39)
        return 1 << max(0, round(math.log2(max(1.0, wanted))))

    @property
    def probes(self) -> int:
        """Cells that a search looks at."""
        return min(_PROBES, self.cells)

    @property
    def code_bytes(self) -> int:
        """Of IVF-PQ, for a row: two numbers to a byte, or more if D does not allow it.

        Raises ReleaseRejected if no size that GPU kernels know divides D.
        """
        size = int(self.vectors.shape[1])
        for code in _CODE_SIZES:
            if size % code == 0 and size // code >= 2:
                return code
        raise ReleaseRejected(f"vectors of {size} numbers cannot be cut into codes")

    @property
    def fetched_for_each(self) -> int:
        """How many rows to ask for, for each that is wanted: codes are coarse, CAGRA is not."""
        return _AGAIN if self.kind == "ivf_pq" else 1

    @property
    def device_bytes(self) -> int:
        """What building takes at its most, rather too much than too little."""
        rows, size = (int(length) for length in self.vectors.shape)
        if self.kind == "cagra":
            return rows * (4 * size + 4 * (_DEGREE + _FIRST_DEGREE))
        of_row = self.code_bytes + 8
        # Lists grow by halves again; each is padded to 32 rows; a part of the vectors is copied.
        lists = int(1.5 * rows * of_row) + 32 * self.cells * of_row
        return lists + 4 * size * (self.cells + max(_ADDED_AT_ONCE, _TRAINED_ON * self.cells))


def check_kind(kind: LargeKind) -> None:
    """Raises DependencyUnavailable if the installed FAISS cannot build it."""
    if kind == "cagra" and "CUVS" not in faiss.get_compile_options():
        raise DependencyUnavailable(
            DEPENDENCY,
            "this faiss was built without cuVS, which CAGRA needs: install faiss-gpu-cuvs, or set"
            ' gpu.large_index = "ivf_pq"',
        )


def built_on_gpu(resources: Any, number: int, blueprint: Blueprint) -> Any:
    """The index, on GPU `number`. Raises RuntimeError of FAISS where it does not fit."""
    check_kind(blueprint.kind)
    vectors = blueprint.vectors
    size = vectors.shape[1]
    if blueprint.kind == "cagra":
        config = faiss.GpuIndexCagraConfig()
        config.device = number
        config.graph_degree, config.intermediate_graph_degree = _DEGREE, _FIRST_DEGREE
        graph = faiss.GpuIndexCagra(resources, size, faiss.METRIC_INNER_PRODUCT, config)
        graph.train(np.ascontiguousarray(vectors))
        return graph
    config = faiss.GpuIndexIVFPQConfig()
    config.device = number
    config.useFloat16LookupTables = True
    index = faiss.GpuIndexIVFPQ(
        resources,
        size,
        blueprint.cells,
        blueprint.code_bytes,
        _BITS,
        faiss.METRIC_INNER_PRODUCT,
        config,
    )
    filled(index, blueprint)
    return index


def filled(index: Any, blueprint: Blueprint) -> None:
    """Trains an IVF-PQ on a sample of the vectors and adds all of them, row 0 among them."""
    vectors = blueprint.vectors
    step = max(1, (vectors.shape[0] - 1) // (_TRAINED_ON * blueprint.cells))
    index.train(np.ascontiguousarray(vectors[1::step]))
    for start in range(0, vectors.shape[0], _ADDED_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + _ADDED_AT_ONCE]))
    index.nprobe = blueprint.probes


def search_of(index: Any, blueprint: Blueprint) -> Callable[[NDArray[np.float32], int], Found]:
    """Rows and cosines [B, K] of vectors [B, D]; IVF-PQ's cosines are rough."""

    def search_many(vectors: NDArray[np.float32], count: int) -> Found:
        wanted = min(count, blueprint.vectors.shape[0])
        if blueprint.kind == "cagra":
            kept = 32 * math.ceil(max(wanted, _LEAST_KEPT) / 32)  # fewer than K finds nothing
            parameters = faiss.SearchParametersCagra(itopk_size=kept)
            cosines, rows = index.search(vectors, wanted, params=parameters)
        else:
            cosines, rows = index.search(vectors, wanted)
        return rows, cosines

    return search_many


def scored_again(
    vectors: NDArray[np.float32],
    user_vector: NDArray[np.float32],
    rows: NDArray[np.int64],
    wanted: int,
) -> Found:
    """The `wanted` best of rows [M] by their own vectors [R, D]: rows [K], cosines [K]."""
    cosines = vectors[rows] @ user_vector.astype(np.float32, copy=False)
    best = np.argsort(-cosines, kind="stable")[:wanted]
    return rows[best], cosines[best]
