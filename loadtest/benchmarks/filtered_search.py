"""Filtered search: the three ways to the nearest of the rows that pass, by how many of them do.

Shapes: R catalogue rows, D vector size, B shoppers.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.index import build_index
from loadtest.benchmarks.result import Check, Grid, at_most
from loadtest.benchmarks.synthetic import SIZE, some_shoppers, some_vectors
from serving.adapters.faiss import FaissIndex
from serving.adapters.faiss_filtering import Way

WANTED = 600  # as many as the served path asks the index for
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_SHOPPERS = 20
_ROUNDS = 3  # over all shoppers; the quickest of each way counts, since others use the machine
_AS_GOOD = 0.01  # below the recall of a search of everything
WORST_CHOICE = 1.5  # others use the machine


@dataclass(frozen=True, slots=True)
class Cell:
    """One index and one share of rows that pass."""

    index: str
    share: float
    passing: int
    ms: dict[Way, float]  # of one search; without the ways that make no sense here
    recall: dict[Way, float]  # of the exactly nearest that pass, in 64-bit arithmetic
    chosen: Way
    filled: bool  # as many were found as there are, up to WANTED
    unfiltered_recall: float  # of a search of everything

    @property
    def quickest(self) -> Way:
        """Of the ways that find as much of the nearest as a search of everything."""
        good = [way for way in self.ms if self.lacks(way) <= _AS_GOOD]
        return min(good or [self.chosen], key=lambda way: self.ms[way])

    def lacks(self, way: Way) -> float:
        """Recall below that of a search of everything; negative where it finds more."""
        return self.unfiltered_recall - self.recall[way]

    @property
    def regret(self) -> float:
        """How many times as long as the quickest way the chosen one takes."""
        return self.ms[self.chosen] / self.ms[self.quickest]


def measured_cells(row_count: int) -> list[Cell]:
    """Every share, on the index that an export would choose for so many products."""
    vectors = some_vectors(row_count)
    shoppers = some_shoppers(vectors, _SHOPPERS)
    built = build_index(vectors, shoppers)
    index = FaissIndex(built.index, vectors)
    name = f"{row_count:,} × {SIZE}, {built.kind}"
    if built.cell_count:
        name += f", {built.probe_count} of {built.cell_count:,} cells"
    try:
        unfiltered = _unfiltered_recall(built.index, vectors, shoppers)
        return [_cell(name, index, vectors, shoppers, share, unfiltered) for share in SHARES]
    finally:
        index.close()


def _unfiltered_recall(
    index: Any, vectors: NDArray[np.float32], shoppers: NDArray[np.float32]
) -> float:
    everything = np.ones(len(vectors), dtype=np.bool_)
    everything[0] = False
    nearest = nearest_that_pass(vectors, shoppers, everything)
    found = index.search(shoppers, WANTED + 1)[1]  # one more: row 0 may be among them
    return recall_of([rows[rows > 0][:WANTED] for rows in found], nearest)


def recall_of(found: Sequence[NDArray[np.int64]], nearest: Sequence[NDArray[np.int64]]) -> float:
    """Mean share of `nearest` that was found."""
    hits = [np.isin(f, n).sum() / max(1, n.size) for f, n in zip(found, nearest, strict=True)]
    return float(np.mean(hits))


def _cell(
    name: str,
    index: FaissIndex,
    vectors: NDArray[np.float32],
    shoppers: NDArray[np.float32],
    share: float,
    unfiltered_recall: float,
) -> Cell:
    allowed = np.random.default_rng(4).random(len(vectors)) < share
    allowed[0] = False
    passing = int(np.count_nonzero(allowed))
    nearest = nearest_that_pass(vectors, shoppers, allowed)
    ways = [Way.SELECTOR]
    if share <= 0.5:  # beyond, most of all vectors would be copied
        ways.append(Way.EXACT)
    if share >= 0.1:  # below, more would be fetched than thrown away by a selector
        ways.append(Way.OVER_FETCH)
    ms, recall, filled = {}, {}, True
    for way in ways:
        searches: list[Callable[[], NDArray[np.int64]]] = [
            lambda way=way, at=at: index.nearest_by(way, shoppers[at : at + 1], WANTED, allowed)[0]  # type: ignore[misc]
            for at in range(len(shoppers))
        ]
        found = [search() for search in searches]
        recall[way] = recall_of(found, nearest)
        filled &= all(each.size == min(WANTED, passing) for each in found)
        ms[way] = _quickest_ms(searches)
    chosen = index.way_for(passing)
    return Cell(name, share, passing, ms, recall, chosen, filled, unfiltered_recall)


def nearest_that_pass(
    vectors: NDArray[np.float32], shoppers: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """For each shopper the WANTED exactly nearest of the allowed [R] rows, by 64-bit arithmetic."""
    rows = np.flatnonzero(allowed)
    items, count = vectors[rows].astype(np.float64), min(WANTED, rows.size)
    return [rows[np.argsort(-(items @ shopper.astype(np.float64)))[:count]] for shopper in shoppers]


def _quickest_ms(searches: list[Callable[[], NDArray[np.int64]]]) -> float:
    """The median over shoppers of each one's quickest search."""
    took = np.full((_ROUNDS, len(searches)), np.inf)
    for turn in range(_ROUNDS):
        for at, search in enumerate(searches):
            began = time.perf_counter()
            search()
            took[turn, at] = (time.perf_counter() - began) * 1e3
    return float(np.median(took.min(axis=0)))


def search_checks(cells: list[Cell]) -> tuple[Check, ...]:
    """What was asked of filtered search."""
    worst = max(cells, key=lambda cell: cell.regret)
    lacking = max(cell.lacks(cell.chosen) for cell in cells)
    starved = [f"{cell.index} at {cell.share:.1%}" for cell in cells if not cell.filled]
    return (
        at_most(
            f"way chosen against the quickest as good (worst: {worst.share:.1%} of {worst.index})",
            worst.regret,
            WORST_CHOICE,
            " ×",
        ),
        at_most(
            f"recall of the {WANTED} nearest, below that of a search without a filter",
            lacking,
            _AS_GOOD,
            "",
        ),
        Check(
            "as many found as pass",
            "always",
            "always" if not starved else f"not {', '.join(starved)}",
            not starved,
        ),
    )


def switch_overs(cells: list[Cell]) -> dict[str, dict[str, float]]:
    """By index: up to which share exact is quickest, and from which on over-fetching is."""
    found: dict[str, dict[str, float]] = {}
    for cell in cells:
        of_it = found.setdefault(cell.index, {"exact_up_to": 0.0, "over_fetch_from": 1.0})
        if cell.quickest is Way.EXACT:
            of_it["exact_up_to"] = max(of_it["exact_up_to"], cell.share)
        if cell.quickest is Way.OVER_FETCH:
            of_it["over_fetch_from"] = min(of_it["over_fetch_from"], cell.share)
    return found


def search_grids(cells: list[Cell]) -> tuple[Grid, ...]:
    """One for each index."""
    names = list(dict.fromkeys(cell.index for cell in cells))
    header = ("passes", "rows", *(way.value.replace("_", "-") for way in Way), "quickest", "chosen")
    return tuple(
        Grid(
            f"{name}: {WANTED} nearest that pass, milliseconds and recall, one thread"
            f" (without a filter {its[0].unfiltered_recall:.3f})",
            header,
            tuple(_row(cell) for cell in its),
        )
        for name in names
        for its in [[cell for cell in cells if cell.index == name]]
    )


def _row(cell: Cell) -> tuple[str, ...]:
    ways = (
        f"{cell.ms[way]:.3f} ({cell.recall[way]:.3f})" if way in cell.ms else "–" for way in Way
    )
    shown = f"{cell.share:.1%}", f"{cell.passing:,}", *ways
    return (*shown, cell.quickest.value.replace("_", "-"), cell.chosen.value.replace("_", "-"))
