"""LMDB: shoppers' histories and the keys of events seen before, for all processes of a machine.

Writes come from the feedback log alone, inside `writing()`. They are not synced one by one: the log
is, and what a power cut takes from here is replayed from there.
"""

import hashlib
import logging
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pyarrow.parquet as pq

from serving.adapters.history_records import (
    DamagedHistory,
    extended,
    imported,
    is_remembered,
    packed,
    unpacked,
)
from serving.adapters.log_segments import START, Position
from serving.recommend.ports import ShopperEvent, StoredHistory
from shop.errors import DependencyUnavailable

logger = logging.getLogger(__name__)

_DEPENDENCY = "histories"
_KEY_DAYS = 7  # a client that retries after a week has lost its queue
_EXPIRED_PER_COMMIT = 2_000  # expiry keeps up in small steps, so that no commit is slow
_EVICTED_PER_COMMIT = 100
_MAX_KEY_BYTES = 500  # LMDB's limit is 511, less the time in front
_MS_PER_DAY = 86_400_000
_DAY = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_POSITION = struct.Struct(">QQ")


class LmdbHistories:
    """Histories and profiles of shoppers. Close it, or use it in a `with`."""

    def __init__(
        self,
        path: Path,
        *,
        map_bytes: int,
        max_shoppers: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._now_ms = now_ms
        self._max_shoppers = max_shoppers
        self._env = _opened(path, map_bytes)
        self._env.reader_check()  # slots of processes that were killed
        self._histories = self._env.open_db(b"histories")
        self._idle = self._env.open_db(b"idle")  # last interaction, shopper → nothing
        self._keys = self._env.open_db(b"keys")  # day, digest of shopper and key → nothing
        self._meta = self._env.open_db(b"meta")

    def close(self) -> None:
        """Everything written so far is on disk."""
        self._env.sync(True)
        self._env.close()

    async def of(self, shopper: str, *, timeout_s: float) -> StoredHistory | None:
        """None for a shopper nobody has seen. A read of the memory map: microseconds.

        A damaged history is lost to this call; the shopper's next event makes a new one.
        """
        key = shopper.encode()
        if not 0 < len(key) <= _MAX_KEY_BYTES:
            return None
        try:
            with self._env.begin(db=self._histories) as txn:
                raw = txn.get(key)
        except lmdb.Error as error:
            raise DependencyUnavailable(_DEPENDENCY, str(error)) from error
        return None if raw is None else unpacked(raw)

    def shopper_count(self) -> int:
        """Shoppers with a history or a profile."""
        with self._env.begin() as txn:
            return int(txn.stat(self._histories)["entries"])

    def applied(self, writer: str) -> Position:
        """How far this writer's log has been applied here."""
        try:
            with self._env.begin(db=self._meta) as txn:
                return _position(txn.get(_applied_key(writer)))
        except lmdb.Error as error:
            raise DependencyUnavailable(_DEPENDENCY, str(error)) from error

    @contextmanager
    def writing(self) -> Iterator["LmdbChanges"]:
        """One transaction: all of it becomes visible at the end, or nothing does.

        Raises DependencyUnavailable if the store is full or damaged.
        """
        try:
            with self._env.begin(write=True) as txn:
                changes = LmdbChanges(
                    txn, self._histories, self._idle, self._keys, self._meta, self._now_ms()
                )
                yield changes
                changes.tidy(self._max_shoppers)
        except lmdb.MapFullError as error:
            raise DependencyUnavailable(
                _DEPENDENCY, "the store is full: raise feedback.history_map_bytes"
            ) from error
        except lmdb.Error as error:
            raise DependencyUnavailable(_DEPENDENCY, str(error)) from error

    def sync(self) -> None:
        """Everything written so far onto the disk, so that less is replayed after a power cut."""
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise DependencyUnavailable(_DEPENDENCY, str(error)) from error

    def import_histories(self, path: Path, *, source: str) -> int:
        """Takes in the shoppers of a release that are not known here yet; how many those were.

        `path` is a histories.parquet; the same `source` (a snapshot's id) is taken in only once.
        """
        marker = f"imported:{source}".encode()
        with self._env.begin(db=self._meta) as txn:
            if txn.get(marker) is not None:
                return 0
        taken = 0
        with self.writing() as changes:
            if changes.get_meta(marker) is not None:  # another process was quicker
                return 0
            for batch in pq.ParquetFile(path).iter_batches(batch_size=2_000):
                taken += sum(changes.add_if_new(*imported(row)) for row in batch.to_pylist())
            changes.put_meta(marker, b"\1")
        return taken


class LmdbChanges:
    """Changes inside one transaction of `LmdbHistories.writing`."""

    def __init__(
        self, txn: Any, histories: Any, idle: Any, keys: Any, meta: Any, now_ms: int
    ) -> None:
        self._txn = txn
        self._histories = histories
        self._idle = idle
        self._keys = keys
        self._meta = meta
        self._today = now_ms // _MS_PER_DAY
        self.damaged_count = 0  # histories that could not be read, and began anew

    def first_seen(self, events: Sequence[ShopperEvent]) -> list[bool]:
        """For each event whether its shopper's idempotency key is new; from now on it is not.

        A key is one shopper's: two devices that both count from 1 do not hide each other's events.
        """
        return [self._is_new(event) for event in events]

    def _is_new(self, event: ShopperEvent) -> bool:
        scoped = f"{len(event.shopper)}:{event.shopper}{event.idempotency_key}"
        digest = hashlib.blake2b(scoped.encode(), digest_size=16).digest()
        for day in range(self._today, max(-1, self._today - _KEY_DAYS - 1), -1):
            if self._txn.get(_DAY.pack(day) + digest, db=self._keys) is not None:
                return False
        self._txn.put(_DAY.pack(self._today) + digest, b"", db=self._keys)
        return True

    def apply(self, events: Sequence[ShopperEvent]) -> None:
        """Adds the events that make taste to their shoppers' histories."""
        by_shopper: dict[str, list[ShopperEvent]] = {}
        for event in events:
            if is_remembered(event):
                by_shopper.setdefault(event.shopper, []).append(event)
        for shopper, theirs in by_shopper.items():
            key = shopper.encode()
            before = self._readable(key)
            self._put(key, before, extended(before, theirs))

    def _readable(self, key: bytes) -> StoredHistory | None:
        """None too where the record is damaged: one shopper's must not fail everybody's events."""
        raw = self._txn.get(key, db=self._histories)
        try:
            return None if raw is None else unpacked(raw)
        except DamagedHistory as error:
            logger.error("a damaged history begins anew: %s", error)  # whose it is, is not logged
            self.damaged_count += 1
            return None

    def add_if_new(self, shopper: str, history: StoredHistory) -> bool:
        """Stores a history unless the shopper has one; whether it did."""
        key = shopper.encode()
        if not 0 < len(key) <= _MAX_KEY_BYTES:
            return False
        if self._txn.get(key, db=self._histories) is not None:
            return False
        self._put(key, None, history)
        return True

    def applied(self, writer: str) -> Position:
        """How far this writer's log has been applied, as this transaction sees it."""
        return _position(self.get_meta(_applied_key(writer)))

    def checkpoint(self, writer: str, position: Position) -> None:
        """Notes that this writer's log was applied up to here."""
        self.put_meta(_applied_key(writer), _POSITION.pack(position.segment, position.offset))

    def get_meta(self, key: bytes) -> bytes | None:
        """A note, as this transaction sees it."""
        found: bytes | None = self._txn.get(key, db=self._meta)
        return found

    def put_meta(self, key: bytes, value: bytes) -> None:
        """Leaves a note."""
        self._txn.put(key, value, db=self._meta)

    def tidy(self, max_shoppers: int) -> None:
        """Forgets old keys, and shoppers beyond the limit, longest idle first; a few at a time."""
        oldest = _DAY.pack(max(0, self._today - _KEY_DAYS))
        for key in self._first(self._keys, _EXPIRED_PER_COMMIT, below=oldest):
            self._txn.delete(key, db=self._keys)
        surplus = self._txn.stat(self._histories)["entries"] - max_shoppers
        for key in self._first(self._idle, min(surplus, _EVICTED_PER_COMMIT)):
            self._txn.delete(key, db=self._idle)
            shopper = key[_TIME.size :]
            history = self._readable(shopper)
            # A history that began anew left a mark behind, which says nothing of the new one.
            if history is None or _idle_key(shopper, history) == key:
                self._txn.delete(shopper, db=self._histories)

    def _first(self, db: Any, count: int, below: bytes | None = None) -> list[bytes]:
        found: list[bytes] = []
        if count <= 0:
            return found
        with self._txn.cursor(db=db) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                if len(found) == count or (below is not None and key >= below):
                    break
                found.append(key)
        return found

    def _put(self, key: bytes, before: StoredHistory | None, after: StoredHistory) -> None:
        if before is not None:
            self._txn.delete(_idle_key(key, before), db=self._idle)
        self._txn.put(_idle_key(key, after), b"", db=self._idle)
        self._txn.put(key, packed(after), db=self._histories)


def _opened(path: Path, map_bytes: int) -> Any:
    try:
        return lmdb.open(
            str(path),
            map_size=map_bytes,
            max_dbs=4,
            max_readers=512,
            sync=False,
            readahead=False,  # look-ups are random; reading ahead would evict what is used
            meminit=False,
        )
    except lmdb.Error as error:
        raise DependencyUnavailable(
            _DEPENDENCY,
            f"{path} cannot be opened: {error}. It can be removed: it is made again from the"
            " release and the feedback log",
        ) from error


def _applied_key(writer: str) -> bytes:
    return f"applied:{writer}".encode()


def _position(raw: bytes | None) -> Position:
    return START if raw is None else Position(*_POSITION.unpack(raw))


def _idle_key(shopper: bytes, history: StoredHistory) -> bytes:
    last_ms = int(history.times_ms[-1]) if history.times_ms.size else 0
    return _TIME.pack(max(0, last_ms)) + shopper
