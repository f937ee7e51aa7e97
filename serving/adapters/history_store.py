"""History store: what the feedback log and a release ask of whatever keeps the histories.

LMDB (`lmdb.py`, one machine) and Redis (`redis.py`, a cluster) keep it, and
`tests/contract/test_history_stores.py` holds both to it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from serving.adapters.log_segments import Position
from serving.recommend.ports import Histories, ShopperEvent


class HistoryChanges(Protocol):
    """Changes of one `writing()`."""

    @property
    def damaged_count(self) -> int:
        """Histories that could not be read, and began anew."""
        ...

    def first_seen(self, events: Sequence[ShopperEvent]) -> list[bool]:
        """For each event whether its shopper's idempotency key is new, then and in this list."""
        ...

    def apply(self, events: Sequence[ShopperEvent]) -> None:
        """Adds the events that make taste to their shoppers' histories, and knows all their keys.

        Only what `first_seen` found to be new.
        """
        ...

    def applied(self, writer: str) -> Position:
        """How far this writer's log has been applied, START if that is not known."""
        ...

    def checkpoint(self, writer: str, position: Position) -> None:
        """Notes that this writer's log was applied up to here."""
        ...


class HistoryWrites(Protocol):
    """How the one thread that writes a log brings its events into the histories.

    Raises DependencyTimeout or DependencyUnavailable, never a foreign error.
    """

    def applied(self, writer: str) -> Position:
        """How far this writer's log has been applied here, START if that is not known."""
        ...

    def writing(self) -> AbstractContextManager[HistoryChanges]:
        """Changes that become visible at the end; none do if the body raises."""
        ...

    def sync(self) -> None:
        """Everything written so far is as safe as the store can make it."""
        ...


class HistoryStore(Histories, HistoryWrites, Protocol):
    """Both sides, and how an empty store is filled."""

    def import_histories(self, path: Path, *, source: str) -> int:
        """Takes in the shoppers of a release that are not known here yet; how many those were.

        `path` is a histories.parquet; the same `source` (a snapshot's id) is taken in only once.
        """
        ...
