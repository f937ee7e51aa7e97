"""Redis: shoppers' histories and the keys of events seen before, for all machines of a cluster.

    <prefix>history:<shopper>   the record of `history_records`, as LMDB holds it
    <prefix>keys:<shopper>      sorted set: digest of an idempotency key → the day it was seen
    <prefix>idle                sorted set: shopper → time of the last interaction
    <prefix>applied:<log>/<writer>   how far a writer's log was applied
    <prefix>imported:<source>   a release's histories were taken in

Many replicas write at once. Each looks first, makes the new record, and has a script store it only
if nothing it looked at has changed since; one shopper's events and their keys are stored together
or not at all. Whoever was slower looks again.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from serving.adapters.history_records import imported, unpacked
from serving.adapters.log_segments import Position
from serving.adapters.redis_changes import MAX_SHOPPER_BYTES, Names, RedisChanges, add_if_new
from serving.adapters.redis_connections import (
    FOREIGN_ERRORS,
    client_for_the_loop,
    client_for_threads,
    lost,
)
from serving.adapters.redis_settings import RedisSettings
from serving.recommend.ports import StoredHistory
from shop.errors import DependencyTimeout, DependencyUnavailable

_KEPT_MARKERS = 8  # any one of them tells that the server kept what it had
_DEPENDENCY = "histories"
_IMPORTED_AT_ONCE = 500  # in one round trip: 3 MB at most


class RedisHistories:
    """Histories and profiles of shoppers. `of` belongs to the loop, all else to threads.

    `log` is the name of this machine's feedback log among those of the cluster.
    Raises SettingsRejected if the URL is no Redis URL. Nothing is connected yet.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        log: str,
        max_shoppers: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._names = Names(settings.prefix, log)
        self._max_shoppers = max_shoppers
        self._now_ms = now_ms
        self._reads = client_for_the_loop(settings)
        self._writes = client_for_threads(settings)
        self._markers: tuple[str, ...] = ()  # of the releases that this process brought, or tried

    async def aclose(self) -> None:
        """Every connection is closed."""
        await self._reads.aclose()
        await asyncio.to_thread(self._writes.close)

    async def of(self, shopper: str, *, timeout_s: float) -> StoredHistory | None:
        """None for a shopper nobody has seen. One round trip.

        A damaged history is lost to this call; the shopper's next event makes a new one.
        """
        if not 0 < len(shopper.encode()) <= MAX_SHOPPER_BYTES:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                raw: Any = await self._reads.get(self._names.history(shopper))
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"Redis gave no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error
        return None if raw is None else unpacked(raw)

    def shopper_count(self) -> int:
        """Shoppers with a history or a profile."""
        with _translated():
            return int(self._writes.zcard(self._names.idle))

    def applied(self, writer: str) -> Position:
        """How far this writer's log has been applied here, START if that is not known."""
        return self._changes().applied(writer)

    @contextmanager
    def writing(self) -> Iterator[RedisChanges]:
        """Changes that become visible at the end, shopper by shopper; none do if the body raises.

        After an error some may have become visible. To do all of it again is safe: the keys of
        events tell what was done. Raises DependencyUnavailable while a server that lost everything
        has not got the release's histories back: who had an event before would never get theirs.
        """
        self._check_filled()
        changes = self._changes()
        yield changes
        changes.store(self._max_shoppers)

    def sync(self) -> None:
        """Nothing to do: how safe Redis keeps what it acknowledged is its own `appendfsync`.

        What it loses is seen by its checkpoint, and applied again.
        """

    def import_histories(self, path: Path, *, source: str) -> int:
        """Takes in the shoppers of a release that are not known here yet; how many those were."""
        marker = self._names.imported(source)
        file = pq.ParquetFile(path)  # who cannot read it waits for nothing
        self._markers = tuple(dict.fromkeys((*self._markers, marker)))[-_KEPT_MARKERS:]
        with _translated():
            if self._writes.exists(marker):
                return 0
        taken = 0
        for batch in file.iter_batches(batch_size=_IMPORTED_AT_ONCE):
            taken += self._add(imported(row) for row in batch.to_pylist())
        with _translated():
            self._writes.set(marker, b"\1")
        with self.writing():
            pass  # forgets whom there is no room for
        return taken

    def _add(self, rows: Iterator[tuple[str, StoredHistory]]) -> int:
        pipeline = self._writes.pipeline(transaction=False)
        for shopper, history in rows:
            if 0 < len(shopper.encode()) <= MAX_SHOPPER_BYTES:
                add_if_new(pipeline, self._names, shopper, history)
        with _translated():
            return sum(pipeline.execute())

    def _check_filled(self) -> None:
        if not self._markers:
            return
        with _translated():
            is_filled = bool(self._writes.exists(*self._markers))
        if not is_filled:
            raise DependencyUnavailable(_DEPENDENCY, "Redis lost the release's; they come first")

    def _changes(self) -> RedisChanges:
        return RedisChanges(self._writes, self._names, self._now_ms())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise lost(_DEPENDENCY, error) from error
