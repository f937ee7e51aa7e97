"""Ranking preparation: from a snapshot and the tables of a model folder to sets a ranker can learn.

No list may know its own future. The model folder's neighbours were counted from the same clicks
that the train window's labels are made of: a ranker that learns from them trusts them far too much
(measured on the world: click AUC .694 against .700, overconfident by a third). So every list sees
neighbours counted before a time that lies before the list; the lists of the first stretch, which
has no such table, are left out.

Shapes: Q lists, N candidates, G tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shop.blend import Quotas
from shop.events import EventType
from shop.features import CANDIDATE_VALUES, FeatureSchema
from shop.neighbours import Neighbours
from shop.popularity import Popularity
from training.algorithms.item_item import ItemItemSettings, fit_neighbours
from training.algorithms.two_tower import TwoTowerRetriever
from training.data.progress import Progress, no_progress
from training.data.snapshot import Snapshot
from training.examples import Moments
from training.histories import build_histories
from training.model_folder import (
    list_prices,
    read_item_vectors,
    read_neighbours,
    read_popularity,
)
from training.models.two_tower import load_user_tower
from training.proposals import Proposer
from training.ranking_examples import Lists, judged_lists, shown_lists, values_of_lists, visits
from training.ranking_set import RankingSet
from training.split import Split


@dataclass(frozen=True, slots=True)
class SetSettings:
    """How many lists are used at most, drawn evenly, and how far outcomes are looked for."""

    train_lists: int = 250_000
    later_lists: int = 40_000  # of calibration and of test
    proposed_lists: int = 24_000  # of all, where the log has no impressions and lists are made up
    horizon_days: float = 30.0  # of made-up lists: wanted within so many days
    past_tables: int = 7  # G: how often neighbours are counted anew within the train window


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """What is learnt from, calibrated on and judged by."""

    train: RankingSet
    calibration: RankingSet
    test: RankingSet


def prepare_sets(
    snapshot: Snapshot,
    folder: Path,
    schema: FeatureSchema,
    split: Split,
    *,
    settings: SetSettings,
    seed: int,
    progress: Progress = no_progress,
) -> Sets:
    """All lists with features, from the snapshot and what the two-tower step left in `folder`."""
    random = np.random.default_rng(seed)
    progress("counting neighbours of the past", 0.0)
    sources = Sources.read(snapshot, folder, schema)
    past = past_tables(snapshot, sources.neighbours, split, settings.past_tables)
    progress("finding the lists to rank", 0.3)
    if EventType.IMPRESSION in snapshot.manifest.event_types():
        lists = shown_lists(snapshot, schema)
    else:
        lists = _proposed_lists(sources, past, settings, random)
    windows = (split.in_train, split.in_calibration, split.in_test)
    limits = (settings.train_lists, settings.later_lists, settings.later_lists)
    sets = []
    for done, (inside, limit) in enumerate(zip(windows, limits, strict=True)):
        progress("features of the lists", 0.6 + 0.13 * done)
        chosen = _at_most(past.known(lists.certain_in(inside)), limit, random)
        sets.append(sources.ranking_set(chosen, past))
    return Sets(*sets)


def _at_most(lists: Lists, limit: int, random: np.random.Generator) -> Lists:
    if len(lists) <= limit:
        return lists
    return lists.at(np.sort(random.choice(len(lists), limit, replace=False)))


@dataclass(frozen=True, slots=True, eq=False)
class PastTables:
    """Neighbours as they were known at several times; each serves until the next."""

    starts_ms: NDArray[np.int64]  # [G] ascending: a table holds what was wanted before its start
    tables: tuple[Neighbours, ...]  # [G]

    def known(self, lists: Lists) -> Lists:
        """The lists that have a table."""
        return lists.at(np.flatnonzero(lists.moments.times_ms >= self.starts_ms[0]))

    def groups(self, times_ms: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], Neighbours]]:
        """Positions in `times_ms` that share a table, and the table."""
        table_of = np.searchsorted(self.starts_ms, times_ms, side="right") - 1
        for number, table in enumerate(self.tables):
            at = np.flatnonzero(table_of == number)
            if at.size:
                yield at, table


def past_tables(snapshot: Snapshot, newest: Neighbours, split: Split, count: int) -> PastTables:
    """`count` tables before the newest, which was counted from the whole train window."""
    first_ms = snapshot.manifest.first_ms
    starts = np.linspace(first_ms, split.train_end_ms, count + 2)[1:].astype(np.int64)
    starts[-1] = split.train_end_ms
    settings = ItemItemSettings(neighbour_count=newest.rows.shape[1])
    older = [fit_neighbours(snapshot, before_ms=int(ms), settings=settings) for ms in starts[:-1]]
    return PastTables(starts, (*older, newest))


def _proposed_lists(
    sources: "Sources", past: PastTables, settings: SetSettings, random: np.random.Generator
) -> Lists:
    """Lists for a log without impressions: what the gateway would have ranked at every visit."""
    snapshot, schema = sources.snapshot, sources.schema
    asked = visits(snapshot, schema, horizon_days=settings.horizon_days)
    if len(asked.moments) > settings.proposed_lists:
        drawn = random.choice(len(asked.moments), settings.proposed_lists, replace=False)
        asked = asked.at(np.sort(drawn))
    asked = asked.at(np.flatnonzero(asked.moments.times_ms >= past.starts_ms[0]))
    rows = sources.proposed(asked.moments, past)
    return judged_lists(snapshot, schema, asked, rows, list_prices(snapshot))


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """The model folder's tables and what features need of the snapshot."""

    snapshot: Snapshot
    schema: FeatureSchema
    retriever: TwoTowerRetriever
    neighbours: Neighbours
    popularity: Popularity

    @staticmethod
    def read(snapshot: Snapshot, folder: Path, schema: FeatureSchema) -> "Sources":
        """Raises NotFound if the folder lacks a table."""
        popularity = read_popularity(folder)
        return Sources(
            snapshot,
            schema,
            TwoTowerRetriever(
                schema,
                build_histories(snapshot),
                read_item_vectors(folder),
                load_user_tower(folder),
            ),
            read_neighbours(folder),
            Popularity.of(  # categories are not asked for: no placement is known of these visits
                popularity.popular_rows,
                popularity.popularity,
                np.zeros(popularity.popularity.size, dtype=np.int64),
            ),
        )

    def proposed(self, moments: Moments, past: PastTables) -> NDArray[np.int32]:
        """[Q, N] what the gateway would rank at these moments."""
        vectors = self.retriever.user_vectors(moments)
        rows = np.zeros((len(moments), Quotas().candidates), dtype=np.int32)
        for at, table in past.groups(moments.times_ms):
            rows[at] = self._proposer(table).rows(moments.at(at), vectors[at])
        return rows

    def _proposer(self, neighbours: Neighbours) -> Proposer:
        return Proposer(
            self.retriever.histories,
            self.retriever.vectors,
            neighbours,
            self.popularity,
            self.snapshot.manifest.repeats,
        )

    def ranking_set(self, lists: Lists, past: PastTables) -> RankingSet:
        """The lists with all features."""
        histories, prices = self.retriever.histories, list_prices(self.snapshot)
        values = np.zeros((*lists.rows.shape, len(CANDIDATE_VALUES)), dtype=np.float32)
        for at, table in past.groups(lists.moments.times_ms):
            values[at] = values_of_lists(lists.at(at), histories, table, prices)
        vectors = self.retriever.user_vectors(lists.moments)
        return RankingSet(lists, values, vectors, histories, self.schema)
