"""Cache: the rankings that calls found, kept for the calls that would find the same.

Kept are candidates and their probabilities: what the models are for, and most of a call's work.
Everything that can change under a shopper's eyes (price, stock, promotion, rule, back-order) is put
to them anew by every call, as is exploration. So a list made from what was kept shows nothing that
a list made from nothing would not show, and this module needs to hear of no change. What it holds
is found by `cache_key` alone.

A replica's own memory is asked first, then what replicas share, if they do. Losing the latter costs
a miss. Calls that come while another works on the very same list wait for it a while.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from serving.deadline import Clock
from serving.recommend.breaker import CircuitBreaker
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.kept_rankings import KeptRankings
from serving.recommend.ports import SharedRankings
from serving.recommend.ranking_record import (
    MAX_RECORD_BYTES,
    DamagedRanking,
    Ranking,
    check,
    unpacked,
)
from shop.errors import DependencyError
from shop.features import FeatureSchema

_MEGABYTE = 1_000_000
_CLOCK_SLACK_MS = 1_000  # replicas read their clocks a little apart
_MOST_WRITES = 64  # under way to what is shared; beyond them a record stays at home
_WRITE_S = 0.1  # nobody waits for it; ten times what a busy server takes
_FAILURES, _OPEN_S = 5, 1.0  # in a row; then one probe a second


@dataclass(slots=True)
class CacheCounts:
    """What became of reads and writes so far."""

    shared_hits: int = 0  # of the rankings, found by another replica
    shared_failures: int = 0  # reads and writes that what is shared did not answer
    damaged: int = 0  # records from there that could not be used
    waited: int = 0  # calls that another's work was waited for


@dataclass(frozen=True, slots=True)
class Shape:
    """What a release's rankings must fit."""

    row_count: int
    schema: FeatureSchema


@dataclass(slots=True, eq=False)
class RankingCache:
    """One per replica; releases come and go in it, told apart by their keys."""

    settings: CacheSettings
    clock: Clock
    shared: SharedRankings | None = None  # None: this replica's own memory only
    counts: CacheCounts = field(default_factory=CacheCounts)
    kept: KeptRankings = field(init=False)
    _flights: dict[bytes, asyncio.Event] = field(default_factory=dict)
    _writes: set[asyncio.Task[None]] = field(default_factory=set)
    _breaker: CircuitBreaker = field(init=False)

    def __post_init__(self) -> None:
        self.kept = KeptRankings(self.settings.max_mb * _MEGABYTE)
        self._breaker = CircuitBreaker(self.clock, failures=_FAILURES, open_s=_OPEN_S)

    @property
    def is_on(self) -> bool:
        """Whether anything is ever kept."""
        return self.settings.max_mb > 0

    @asynccontextmanager
    async def recalled(
        self, key: bytes, shape: Shape, *, now_ms: int, within_s: float
    ) -> AsyncIterator[Ranking | None]:
        """The ranking kept under this key; None if there is none.

        Whoever gets None works it out inside the block, and `keep`s it; who comes meanwhile waits
        for the end of the block, at most `wait_ms` and `within_s`, and looks again.
        """
        found = self._at_home(key, now_ms)
        if found is None and (flight := self._flights.get(key)) is not None:
            found = await self._awaited(flight, key, now_ms, within_s)
        if found is not None:
            yield found
            return
        flight = self._flights[key] = asyncio.Event()
        try:
            yield await self._from_shared(key, shape, now_ms, within_s)
        finally:
            flight.set()
            if self._flights.get(key) is flight:
                del self._flights[key]

    def keep(self, key: bytes, ranking: Ranking) -> None:
        """For calls to come, here and in other replicas. Never waits."""
        record = ranking.packed()
        self.kept.put(key, record)
        if self.shared is not None and len(self._writes) < _MOST_WRITES and self._breaker.allows():
            task = asyncio.create_task(self._share(self.shared, key, record))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Ends the writes under way."""
        for task in self._writes:
            task.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)

    def _at_home(self, key: bytes, now_ms: int) -> Ranking | None:
        record = self.kept.get(key)
        if record is None:
            return None
        ranking = unpacked(record)
        if self._is_young(ranking, now_ms):
            return ranking
        self.kept.drop(key)
        return None

    def _is_young(self, ranking: Ranking, now_ms: int) -> bool:
        return -_CLOCK_SLACK_MS <= now_ms - ranking.made_ms <= self.settings.ttl_ms

    async def _awaited(
        self, flight: asyncio.Event, key: bytes, now_ms: int, within_s: float
    ) -> Ranking | None:
        self.counts.waited += 1
        try:
            async with asyncio.timeout(min(within_s, self.settings.wait_ms / 1000.0)):
                await flight.wait()
        except TimeoutError:
            return None
        return self._at_home(key, now_ms)

    async def _from_shared(
        self, key: bytes, shape: Shape, now_ms: int, within_s: float
    ) -> Ranking | None:
        timeout_s = min(within_s, self.settings.redis_ms / 1000.0)
        # A call without time says nothing of the server: the breaker does not hear of it.
        if self.shared is None or timeout_s <= 0.0 or not self._breaker.allows():
            return None
        answered = False
        try:
            async with asyncio.timeout(timeout_s):
                record = await self.shared.read(key, timeout_s=timeout_s)
            answered = True
        except (DependencyError, TimeoutError):
            self.counts.shared_failures += 1
            return None
        finally:  # a cancelled call tells the breaker too, or its probe would never end
            self._breaker.note(succeeded=answered)
        return None if record is None else self._taken_in(key, record, shape, now_ms)

    def _taken_in(self, key: bytes, record: bytes, shape: Shape, now_ms: int) -> Ranking | None:
        """Looked at closely: whoever can write there could otherwise break any call."""
        try:
            if len(record) > MAX_RECORD_BYTES:
                raise DamagedRanking(f"{len(record)} bytes")
            ranking = unpacked(record)
            check(
                ranking,
                row_count=shape.row_count,
                vector_size=shape.schema.vector_size,
                head_count=len(shape.schema.heads),
            )
        except DamagedRanking:
            self.counts.damaged += 1
            return None
        if not self._is_young(ranking, now_ms):
            return None
        self.counts.shared_hits += 1
        self.kept.put(key, record)
        return ranking

    async def _share(self, shared: SharedRankings, key: bytes, record: bytes) -> None:
        answered = False
        try:
            async with asyncio.timeout(_WRITE_S):
                await shared.write(key, record, ttl_ms=self.settings.ttl_ms)
            answered = True
        except (DependencyError, TimeoutError):
            self.counts.shared_failures += 1
        finally:
            self._breaker.note(succeeded=answered)
