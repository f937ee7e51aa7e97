"""Filtered graph: what a HNSW index finds under a selector, which is why no release has one.

A graph is walked through its neighbours, and where few of them pass the walk ends before enough are
found (Malkov & Yashunin 2018 walk it without filters in mind).
"""

import time
from typing import Any

import faiss as faiss_library
import numpy as np

from loadtest.benchmarks.filtered_search import SHARES, WANTED, nearest_that_pass, recall_of
from loadtest.benchmarks.result import Grid
from loadtest.benchmarks.synthetic import SIZE, some_shoppers, some_vectors
from serving.adapters.faiss_filtering import selector_for

faiss: Any = faiss_library  # its stubs know neither the search parameters nor the subclasses

_ROWS = 19_000
_SHOPPERS = 20
_NEIGHBOURS, _BUILD_EFFORT = 32, 80
_ROUNDS = 3


def graph_grid() -> Grid:
    """Milliseconds and recall by how many pass; the effort is as many as are wanted."""
    vectors = some_vectors(_ROWS)
    shoppers = some_shoppers(vectors, _SHOPPERS)
    index = faiss.IndexHNSWFlat(SIZE, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BUILD_EFFORT
    index.add(vectors)
    shares = [*SHARES, 1.0]
    cells = [_cell(index, vectors, shoppers, share) for share in shares]
    return Grid(
        f"{_ROWS:,} × {SIZE} in a graph (HNSW), which no release has: {WANTED} nearest that pass,"
        " milliseconds and recall",
        tuple(f"{share:.1%}" for share in shares),
        (tuple(f"{ms:.2f} ({recall:.2f})" for ms, recall in cells),),
    )


def _cell(index: Any, vectors: Any, shoppers: Any, share: float) -> tuple[float, float]:
    allowed = np.random.default_rng(4).random(len(vectors)) < share
    allowed[0] = False
    parameters = faiss.SearchParametersHNSW(sel=selector_for(allowed), efSearch=WANTED)
    took, found = [], []
    for shopper in shoppers:
        times = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            rows = index.search(shopper[None], WANTED, params=parameters)[1][0]
            times.append((time.perf_counter() - began) * 1e3)
        took.append(min(times))
        found.append(rows[rows > 0])
    recall = recall_of(found, nearest_that_pass(vectors, shoppers, allowed))
    return float(np.median(took)), recall
