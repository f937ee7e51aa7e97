"""Item–item: products wanted close to each other by the same shoppers (Linden, Smith & York 2003).

Co-occurrence of two products in one shopper's sequence weighs 1 / (1 + 0.3 (distance - 1)) and is
divided by the root of both products' counts. A product is its own neighbour where shoppers came
back for it in a later session. Nothing larger than one block of rows is ever held.

Shapes: W touches, R catalogue rows, K neighbours, B moments.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.neighbours import Neighbours, score_neighbours
from training.algorithms.nearest import best_of_rows
from training.data.snapshot import Snapshot
from training.examples import Moments, wanted_touches
from training.histories import Histories

_BLOCK_CELLS = 4_000_000  # of the co-occurrence matrix at once: 32 MB of float64
_BLOCK_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True)
class ItemItemSettings:
    """How far apart two wishes may be, and how many neighbours are kept."""

    neighbour_count: int = 100
    reach: int = 50  # places in a shopper's sequence; at 50 a pair weighs 0.06 of an adjacent one
    distance_decay: float = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class _Sequences:
    """All shoppers' touches, a shopper's together, oldest first."""

    users: NDArray[np.int64]  # [W]
    sessions: NDArray[np.int64]  # [W]
    rows: NDArray[np.int64]  # [W]


def fit_neighbours(
    snapshot: Snapshot, *, before_ms: int, settings: ItemItemSettings | None = None
) -> Neighbours:
    """The most similar products of every product, by what was wanted before `before_ms`."""
    settings = settings or ItemItemSettings()
    sequences = _sequences_before(snapshot, before_ms)
    row_count = snapshot.products.num_rows + 1
    counts = np.bincount(sequences.rows, minlength=row_count)
    scale = 1.0 / np.sqrt(np.maximum(counts, 1))
    rows = np.zeros((row_count, settings.neighbour_count), dtype=np.int32)
    scores = np.zeros((row_count, settings.neighbour_count), dtype=np.float32)
    by_product = np.argsort(sequences.rows, kind="stable")
    firsts = np.concatenate([[0], np.cumsum(counts)])
    for start, end in _blocks(counts, row_count, settings.reach):
        places = by_product[firsts[start] : firsts[end]]
        together = _co_occurrence(sequences, places, start, end - start, row_count, settings)
        similarity = together * scale[start:end, None] * scale[None, :]
        rows[start:end], scores[start:end] = best_of_rows(similarity, settings.neighbour_count)
    return Neighbours(rows, scores)


def _sequences_before(snapshot: Snapshot, before_ms: int) -> _Sequences:
    events = snapshot.events
    at = wanted_touches(snapshot).events_at
    at = at[events.times_ms[at] < before_ms]
    at = at[np.argsort(events.user_rows[at], kind="stable")]
    return _Sequences(
        events.user_rows[at].astype(np.int64),
        events.session_ids[at],
        events.product_rows[at].astype(np.int64),
    )


def _blocks(counts: NDArray[np.int64], row_count: int, reach: int) -> Iterator[tuple[int, int]]:
    """Consecutive row ranges whose pairs and cells fit the block limits; at least one row each."""
    pairs = np.cumsum(counts) * 2 * reach
    start = 0
    while start < row_count:
        before = int(pairs[start - 1]) if start else 0
        by_pairs = int(np.searchsorted(pairs, before + _BLOCK_PAIRS, side="right"))
        end = min(max(start + 1, by_pairs), start + max(1, _BLOCK_CELLS // row_count), row_count)
        yield start, end
        start = end


def _co_occurrence(
    sequences: _Sequences,
    places: NDArray[np.intp],
    first_row: int,
    block_rows: int,
    row_count: int,
    settings: ItemItemSettings,
) -> NDArray[np.float64]:
    """[block, R] weighted counts of the products around `places`, which hold the block's rows."""
    cells, weights = [], []
    count = sequences.rows.size
    for offset in (d * way for d in range(1, settings.reach + 1) for way in (-1, 1)):
        other = places + offset
        inside = (other >= 0) & (other < count)
        here, other = places[inside], other[inside]
        pairs = sequences.users[here] == sequences.users[other]
        same_wish = (sequences.rows[here] == sequences.rows[other]) & (
            sequences.sessions[here] == sequences.sessions[other]
        )
        here, other = here[pairs & ~same_wish], other[pairs & ~same_wish]
        cells.append((sequences.rows[here] - first_row) * row_count + sequences.rows[other])
        weight = 1.0 / (1.0 + settings.distance_decay * (abs(offset) - 1))
        weights.append(np.full(here.size, weight))
    summed: NDArray[np.float64] = np.bincount(
        np.concatenate(cells), weights=np.concatenate(weights), minlength=block_rows * row_count
    )
    return summed.reshape(block_rows, row_count)


@dataclass(frozen=True, slots=True, eq=False)
class ItemItemRetriever:
    """The neighbours of what the shopper touched last, as the gateway sums them."""

    neighbours: Neighbours
    histories: Histories

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] the highest sums, best first, 0 where the history has no more neighbours."""
        best = np.zeros((len(moments), count), dtype=np.int64)
        for at in range(len(moments)):
            history = self.histories.history_at(
                int(moments.user_rows[at]), int(moments.times_ms[at])
            )
            rows, _ = score_neighbours(history, self.neighbours).best(count)
            best[at, : rows.size] = rows
        return best
