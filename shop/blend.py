"""Blend: one list of candidates out of what several sources propose.

`blend_policies` chooses how; the means are here. Interleaved, every source delivers products best
first. The one at place p (0-based) of a source with quota q gets the key (p + ½) / q, and the
smallest keys come first: a source with twice the quota appears twice as often, at every length of
the list. What several sources propose stands where its best key puts it and keeps every source's
score. A source beyond its quota fills what others left free. Exploration comes after everybody's
quota: its products are there to be tried at chosen places, not to be a good guess.

Shapes: N candidates, S sources, M proposed by one source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shop.candidates import BLENDED, SOURCE_COUNT, Candidates, Source
from shop.catalogue import DENSE_ROWS


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many candidates each source is asked for, and how many there are in the end.

    The shares are choices, not measurements: the two-tower model is the only source that sees the
    whole context, so it gets more than half.
    """

    two_tower: int = 350
    item_item: int = 150
    history: int = 40  # more than anyone's recent favourites
    popular: int = 40
    content: int = 100
    user_user: int = 0  # off: on the world it finds nothing that the others do not (bench sources)
    segment_popular: int = 100
    fresh: int = 10
    exploration: int = 20  # the pool of the exploration slots
    candidates: int = 500  # N ≈ 500 by design; the ranker's longest bucket
    # So many are asked stock and price of, because some are gone: in the world one in eight.
    looked_up: int = 600

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must not be below 0")
        if not 0 < self.candidates <= 500:
            raise ValueError("candidates: must be 1 to 500, the longest list the ranker takes")
        if self.looked_up < self.candidates:
            raise ValueError("looked_up: must be at least candidates")
        if not any(self.of(source) for source in BLENDED if source is not Source.EXPLORATION):
            raise ValueError("two_tower: 0 like all other sources, so nothing could be proposed")

    def of(self, source: Source) -> int:
        """How many candidates `source` is asked for."""
        return int(getattr(self, source.name.lower()))


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What one source proposes, best first, without duplicates."""

    source: Source
    rows: NDArray[np.int64]  # [M]
    scores: NDArray[np.float32]  # [M] the source's own measure

    def __len__(self) -> int:
        return int(self.rows.size)


def interleave(proposals: Sequence[Proposal], quotas: Quotas, count: int) -> Candidates:
    """At most `count` products, each source in proportion to its quota."""
    keys = [
        _interleaved_keys(len(proposal), quotas.of(proposal.source), proposal.source)
        for proposal in proposals
    ]
    return merged(proposals, _joined(keys), count)


def stack(proposals: Sequence[Proposal], count: int) -> Candidates:
    """At most `count` products: all of the first proposal, then what the second adds, and so on."""
    keys = [
        at + np.arange(len(proposal)) / max(1, len(proposal))
        for at, proposal in enumerate(proposals)
    ]
    return merged(proposals, _joined(keys), count)


def with_more(first: Candidates, more: Candidates, count: int) -> Candidates:
    """`first`, then at most `count` of those in `more` that it lacks."""
    lacking = np.flatnonzero(~np.isin(more.rows, first.rows))[:count]
    return Candidates(
        np.concatenate([first.rows, more.rows[lacking]]),
        np.concatenate([first.source_scores, more.source_scores[lacking]]),
    )


def make_room(
    first: Candidates, more: Candidates, needed: NDArray[np.bool_], count: int
) -> Candidates:
    """`first` and all of `more`, together at most `count`.

    Of `first` goes what is not `needed` and not there to be explored, the last first.
    """
    surplus = max(0, len(first) + len(more) - count)
    explorable = ~np.isnan(first.source_scores[:, Source.EXPLORATION])
    kept = np.ones(len(first), dtype=np.bool_)
    dispensable = np.flatnonzero(~needed & ~explorable)
    kept[dispensable[dispensable.size - min(surplus, dispensable.size) :]] = False
    both = with_more(first.taken(np.flatnonzero(kept)), more, len(more))
    return both.taken(np.arange(min(len(both), count)))


@lru_cache(maxsize=1024)  # the same few lengths and quotas in nearly every call
def _interleaved_keys(length: int, quota: int, source: Source) -> NDArray[np.float64]:
    keys = (np.arange(length) + 0.5) / max(1, quota)
    return 1.0 + keys * 1e-9 if source is Source.EXPLORATION else keys


def _joined(keys: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(keys) if keys else np.zeros(0)


def merged(proposals: Sequence[Proposal], key: NDArray[np.float64], count: int) -> Candidates:
    """At most `count` products, smallest key first; each stands where its best key puts it.

    `key` holds the keys of all proposals, one proposal's after the other's. Every source's score
    is kept.
    """
    if not proposals:
        return Candidates(np.zeros(0, np.int64), np.zeros((0, SOURCE_COUNT), np.float32))
    rows = np.concatenate([proposal.rows for proposal in proposals])
    ordered = rows[np.argsort(key, kind="stable")]  # ties: the proposal named first
    distinct, places = _distinct(ordered, rows)
    scores = scores_of(proposals, places, distinct.size)
    return Candidates(distinct[:count], scores[:count])


def scores_of(
    proposals: Sequence[Proposal], places: NDArray[np.intp], size: int
) -> NDArray[np.float32]:
    """[size, S] every source's score, of products whose places [T] are those in all proposals."""
    scores = np.full((size, SOURCE_COUNT), np.nan, dtype=np.float32)
    start = 0
    for proposal in proposals:
        end = start + len(proposal)
        scores[places[start:end], proposal.source] = proposal.scores
        start = end
    return scores


def distinct_rows(
    several: Sequence[NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The different ones of all these rows, in no order, and where each of them [T] is there."""
    rows = np.concatenate(several)
    count = int(rows.max(initial=0)) + 1
    if count > DENSE_ROWS:
        unique, inverse = np.unique(rows, return_inverse=True)
        return unique, inverse
    table = np.empty(count, dtype=np.intp)  # what nobody wrote is never read
    each = np.arange(rows.size)
    table[rows] = each
    distinct = rows[table[rows] == each]
    table[distinct] = each[: distinct.size]
    return distinct, table[rows]


def _distinct(
    ordered: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The different ones of `ordered`, each where it came first, and where each of `rows` is there.

    `rows` holds the same numbers in any order.
    """
    count = int(ordered.max(initial=0)) + 1
    if count > DENSE_ROWS:
        unique, first = np.unique(ordered, return_index=True)
        by_first = np.argsort(first)
        place = np.empty(unique.size, dtype=np.intp)
        place[by_first] = np.arange(unique.size)
        return unique[by_first], place[np.searchsorted(unique, rows)]
    # One number per catalogue row instead of sorting; what nobody wrote is never read. Of several
    # writes to one place numpy keeps the last, so the order is written back to front.
    table = np.empty(count, dtype=np.intp)
    table[ordered[::-1]] = np.arange(ordered.size)[::-1]
    distinct = ordered[table[ordered] == np.arange(ordered.size)]
    table[distinct] = np.arange(distinct.size)
    return distinct, table[rows]
