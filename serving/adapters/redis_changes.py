"""Redis changes: how events get into histories that other replicas change at the same time.

What a change was made from is sent along with it; the script that stores it refuses if something
else is there by now. So the one code that makes records, `history_records`, serves both stores.
"""

import hashlib
import logging
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import redis

from serving.adapters.history_records import (
    DamagedHistory,
    extended,
    is_remembered,
    packed,
    unpacked,
)
from serving.adapters.log_segments import START, Position
from serving.adapters.redis_connections import FOREIGN_ERRORS, lost
from serving.adapters.redis_scripts import ADD_IF_NEW, FORGET_IDLE, STORE
from serving.recommend.ports import ShopperEvent, StoredHistory
from shop.errors import DependencyUnavailable

logger = logging.getLogger(__name__)

_DEPENDENCY = "histories"
MAX_SHOPPER_BYTES = 500  # as in LMDB
_KEY_DAYS = 7  # a client that retries after a week has lost its queue
_EVICTED_AT_ONCE = 100
_SHOPPERS_AT_ONCE = 200  # in one round trip: 1.2 MB at most
# Of all replicas that write one shopper at the same moment one succeeds in each round, so this
# is a bound on how many there are.
_ROUNDS = 200
_MS_PER_DAY = 86_400_000
_S_PER_DAY = 86_400
_POSITION = struct.Struct(">QQ")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Names:
    """What stands where. `log` tells the logs of a cluster's machines apart."""

    prefix: str
    log: str

    @property
    def idle(self) -> str:
        """Sorted set of shoppers by their last interaction."""
        return f"{self.prefix}idle"

    def history(self, shopper: str) -> str:
        """A shopper's record."""
        return f"{self.prefix}history:{shopper}"

    def keys(self, shopper: str) -> str:
        """Sorted set of digests of a shopper's idempotency keys by day."""
        return f"{self.prefix}keys:{shopper}"

    def applied(self, writer: str) -> str:
        """A writer's checkpoint."""
        return f"{self.prefix}applied:{self.log}/{writer}"

    def imported(self, source: str) -> str:
        """The mark of a release's histories."""
        return f"{self.prefix}imported:{source}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was there when we looked."""

    record: bytes | None
    known: frozenset[bytes]  # of the digests that were asked for


@dataclass(frozen=True, slots=True)
class _Change:
    """What to store of one shopper."""

    shopper: str
    events: dict[bytes, ShopperEvent]  # by digest
    before: bytes | None
    after: StoredHistory | None  # None: no event of these makes taste
    begins_anew: bool


class RedisChanges:
    """Changes of one `RedisHistories.writing`. Only reads until `store`.

    Raises DependencyTimeout or DependencyUnavailable.
    """

    def __init__(self, client: redis.Redis, names: Names, now_ms: int) -> None:
        self._client = client
        self._names = names
        self._today = now_ms // _MS_PER_DAY
        self._seen: dict[str, _Seen] = {}
        self._new: set[tuple[str, bytes]] = set()
        self._events: dict[str, dict[bytes, ShopperEvent]] = {}  # by shopper and digest
        self._checkpoints: dict[str, bytes] = {}
        self.damaged_count = 0  # histories that could not be read, and began anew

    def first_seen(self, events: Sequence[ShopperEvent]) -> list[bool]:
        """For each event whether its shopper's idempotency key is new, then and in this list."""
        self._look(_by_shopper(events))
        return [self._is_new(event.shopper, _digest(event)) for event in events]

    def _is_new(self, shopper: str, digest: bytes) -> bool:
        if digest in self._seen[shopper].known or (shopper, digest) in self._new:
            return False
        self._new.add((shopper, digest))
        return True

    def apply(self, events: Sequence[ShopperEvent]) -> None:
        """Adds the events that make taste to their shoppers' histories, and knows all their keys.

        An event whose key another replica brought meanwhile is left out.
        """
        for shopper, theirs in _by_shopper(events).items():
            self._events.setdefault(shopper, {}).update(theirs)

    def applied(self, writer: str) -> Position:
        """How far this writer's log has been applied, START if that is not known."""
        try:
            raw = self._client.get(self._names.applied(writer))
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error
        if not isinstance(raw, bytes) or len(raw) != _POSITION.size:
            if raw is not None:
                logger.error("the checkpoint of %s is damaged: all is applied again", writer)
            return START
        return Position(*_POSITION.unpack(raw))

    def checkpoint(self, writer: str, position: Position) -> None:
        """Notes that this writer's log was applied up to here."""
        self._checkpoints[self._names.applied(writer)] = _POSITION.pack(
            position.segment, position.offset
        )

    def store(self, max_shoppers: int) -> None:
        """Makes all of it visible; the checkpoints last, so that a crash repeats and skips none."""
        waiting = self._events
        for _ in range(_ROUNDS):
            waiting = self._store_some(waiting)
            if not waiting:
                break
        else:
            raise DependencyUnavailable(
                _DEPENDENCY, f"{len(waiting)} shoppers change faster than they can be written"
            )
        try:
            pipeline = self._client.pipeline(transaction=False)
            for name, position in self._checkpoints.items():
                pipeline.set(name, position)
            pipeline.eval(
                FORGET_IDLE,
                1,
                self._names.idle,
                max_shoppers,
                _EVICTED_AT_ONCE,
                self._names.history(""),
            )
            pipeline.execute()
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error

    def _store_some(
        self, waiting: dict[str, dict[bytes, ShopperEvent]]
    ) -> dict[str, dict[bytes, ShopperEvent]]:
        """Stores what nobody else is changing; returns the rest, to be looked at again."""
        self._look({name: theirs for name, theirs in waiting.items() if name not in self._seen})
        changes = [self._change(shopper, theirs) for shopper, theirs in waiting.items()]
        refused: dict[str, dict[bytes, ShopperEvent]] = {}
        for some in _parts([change for change in changes if change.events]):
            for change, is_stored in zip(some, self._sent(some), strict=True):
                del self._seen[change.shopper]
                if not is_stored:
                    refused[change.shopper] = change.events
                elif change.begins_anew:
                    logger.error("a damaged history begins anew")  # whose it is, is not logged
                    self.damaged_count += 1
        return refused

    def _look(self, asked: dict[str, dict[bytes, ShopperEvent]]) -> None:
        for some in _parts(list(asked.items())):
            try:
                pipeline: Any = self._client.pipeline(transaction=False)
                for shopper, theirs in some:
                    pipeline.get(self._names.history(shopper))
                    pipeline.zmscore(self._names.keys(shopper), list(theirs))
                found = pipeline.execute()
            except FOREIGN_ERRORS as error:
                raise lost(_DEPENDENCY, error) from error
            for at, (shopper, theirs) in enumerate(some):
                record, days = found[2 * at], found[2 * at + 1]
                self._seen[shopper] = _Seen(record, self._known(theirs, days))

    def _known(self, digests: Iterable[bytes], days: Sequence[float | None]) -> frozenset[bytes]:
        oldest = self._today - _KEY_DAYS
        return frozenset(
            digest
            for digest, day in zip(digests, days, strict=True)
            if day is not None and day >= oldest
        )

    def _change(self, shopper: str, theirs: dict[bytes, ShopperEvent]) -> _Change:
        seen = self._seen[shopper]
        events = {digest: event for digest, event in theirs.items() if digest not in seen.known}
        tasteful = [event for event in events.values() if is_remembered(event)]
        if not tasteful:
            return _Change(shopper, events, seen.record, None, begins_anew=False)
        try:
            before = None if seen.record is None else unpacked(seen.record)
        except DamagedHistory:
            return _Change(shopper, events, seen.record, extended(None, tasteful), begins_anew=True)
        after = extended(before, tasteful)
        return _Change(shopper, events, seen.record, after, begins_anew=False)

    def _sent(self, changes: Sequence[_Change]) -> list[int]:
        """For each change whether it was stored."""
        try:
            pipeline = self._client.pipeline(transaction=False)
            for change in changes:
                pipeline.eval(STORE, 3, *self._arguments(change))
            stored: list[int] = pipeline.execute()
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error
        return stored

    def _arguments(self, change: _Change) -> list[Any]:
        before, after = change.before, change.after
        return [
            self._names.history(change.shopper),
            self._names.keys(change.shopper),
            self._names.idle,
            change.shopper,
            "" if before is None else hashlib.sha1(before, usedforsecurity=False).hexdigest(),
            b"" if after is None else packed(after),
            0 if after is None else last_ms(after),
            self._today,
            _KEY_DAYS,
            (_KEY_DAYS + 1) * _S_PER_DAY,
            *change.events,
        ]


def add_if_new(pipeline: Any, names: Names, shopper: str, history: StoredHistory) -> None:
    """Has the pipeline store a history unless the shopper has one; it answers 1 if it did."""
    keys = (names.history(shopper), names.idle)
    pipeline.eval(ADD_IF_NEW, 2, *keys, shopper, packed(history), last_ms(history))


def last_ms(history: StoredHistory) -> int:
    """Time of the last interaction, 0 without one."""
    return max(0, int(history.times_ms[-1])) if history.times_ms.size else 0


def _by_shopper(events: Iterable[ShopperEvent]) -> dict[str, dict[bytes, ShopperEvent]]:
    found: dict[str, dict[bytes, ShopperEvent]] = {}
    for event in events:
        found.setdefault(event.shopper, {}).setdefault(_digest(event), event)
    return found


def _digest(event: ShopperEvent) -> bytes:
    """Of the key; whose it is, is said by where it is kept."""
    return hashlib.blake2b(event.idempotency_key.encode(), digest_size=16).digest()


def _parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    waiting = iter(items)
    while some := list(islice(waiting, _SHOPPERS_AT_ONCE)):
        yield some
