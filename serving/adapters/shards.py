"""Shards: the index of a release in parts, each in a process of its own, behind the index's port.

All are asked at once and their finds merged; what comes out is what one index would find, row by
row and bit by bit. A shard that does not answer in time, or does not hold the release, costs its
part of the catalogue, and the answer says which share was searched. One that keeps failing is left
alone, but for a probe now and then.

Shapes: D vector size, R catalogue rows, K wanted, M rows found.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.adapters.faiss_filtering import Way, cells_to_visit, over_fetch_count, way_for
from serving.adapters.faiss_order import Found
from serving.adapters.http_calls import HttpConnections
from serving.adapters.shard_wire import (
    IndexName,
    Part,
    PartWay,
    Question,
    encode_question,
    part_of,
    read_answer,
)
from serving.recommend.breaker import CircuitBreaker
from serving.recommend.ports import PartlyFound
from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyUnavailable

_DEPENDENCY = "index"
# Of the time a search has: who waits for us stops at its end, and would have nothing then.
_PATIENCE = 0.85
# A busy machine makes a shard late now and then: fewer failures, or longer pauses, would cost more
# of the catalogue than the time that they save.
_FAILURES, _LEFT_ALONE_S = 5, 0.5
_HOLD_WITHIN_S = 2.0


@dataclass(slots=True)
class ShardCounts:
    """Of one shard: how often it was asked, and how often in vain."""

    asked: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ShardState:
    """What one shard says it holds; None: it does not answer."""

    held: frozenset[str]
    failed: dict[str, str]  # why a release cannot be held


class _Kind(NamedTuple):
    """How an index is made, as `cells_to_visit` asks."""

    ntotal: int
    nlist: int
    nprobe: int


class Shards:
    """The connections of one replica to all shards. Whoever makes it closes it."""

    def __init__(
        self,
        addresses: Sequence[str],
        token: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses = tuple(addresses)
        self.clock = clock
        self.counts = tuple(ShardCounts() for _ in addresses)
        self._connections = [HttpConnections(_DEPENDENCY, each) for each in addresses]
        self._token = token

    async def close(self) -> None:
        """Searches under way fail."""
        for each in self._connections:
            await each.close()

    def index(
        self, release: str, name: IndexName, *, row_count: int, vector_size: int
    ) -> "ShardedIndex":
        """An index of one release; it asks for nothing before it is searched."""
        return ShardedIndex(self, release, name, row_count, vector_size)

    async def asked(self, shard: int, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of one shard's answer. Raises DependencyUnavailable."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: shard\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        answer = await self._connections[shard].ask(head.encode() + body)
        return answer.status, answer.body

    async def hold(self, release: str) -> list[ShardState | None]:
        """Has every shard take up this release, if it can; what each says, in their order."""
        return list(await asyncio.gather(*(self._hold(at, release) for at in self._numbers)))

    async def _hold(self, shard: int, release: str) -> ShardState | None:
        try:
            async with asyncio.timeout(_HOLD_WITHIN_S):
                status, body = await self.asked(shard, "/hold", release.encode())
            told: dict[str, Any] = json.loads(body)
            return None if status != 200 else ShardState(frozenset(told["held"]), told["failed"])
        except (DependencyUnavailable, TimeoutError, ValueError, KeyError, TypeError):
            return None

    @property
    def _numbers(self) -> range:
        return range(len(self.addresses))


class ShardedIndex:
    """One index of one release. Build it with `Shards.index`."""

    def __init__(
        self, shards: Shards, release: str, name: IndexName, row_count: int, vector_size: int
    ) -> None:
        self._shards = shards
        self._release = release
        self._name = name
        self._rows, self._size = row_count, vector_size
        count = len(shards.addresses)
        bounds = [part_of(row_count, at, count) for at in range(count)]
        self._parts = [Part(first, last, row_count) for first, last in bounds]
        self._breakers = [
            CircuitBreaker(shards.clock, failures=_FAILURES, open_s=_LEFT_ALONE_S) for _ in bounds
        ]
        self._is_well = [True] * count
        self._kind: _Kind | None = None  # as the first shard to answer says

    @property
    def covered_share(self) -> float:
        """Share of the products in shards that answered when they were last asked."""
        return self._share(self._is_well)

    @property
    def shard_counts(self) -> tuple[ShardCounts, ...]:
        """By shard; of all indexes that these connections serve."""
        return self._shards.counts

    def close(self) -> None:
        """Nothing is held here; the connections are the `Shards`'."""

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> Found:
        """Rows and cosines, best first, as `FaissIndex.search` finds them.

        PartlyFound where shards are missing. Raises DependencyUnavailable if all are.
        """
        if user_vector.shape != (self._size,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"vector of shape {user_vector.shape}, need ({self._size},)"
            )
        if allowed is not None and allowed.shape != (self._rows,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"allowed has {allowed.size} rows, the index {self._rows}"
            )
        wanted = min(count, self._rows - 1)  # row 0 is no product
        if wanted <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        search = _Search(self, user_vector, self._shards.clock() + _PATIENCE * timeout_s)
        if allowed is None:
            return await search.nearest(wanted)
        return await search.nearest_allowed(wanted, allowed)

    def way_for(self, kind: _Kind, allowed_count: int) -> Way:
        """As the whole index would choose; the release has the vectors of products alone."""
        has_vectors = self._name is IndexName.PRODUCTS or kind.nlist == 0
        return way_for(allowed_count, self._rows, in_cells=kind.nlist > 0, has_vectors=has_vectors)

    async def kind(self, vector: NDArray[np.float32], until_s: float) -> _Kind:
        """How the index is made. Raises DependencyUnavailable while no shard has ever answered."""
        if self._kind is None:
            await self.found(vector, PartWay.NEAREST, 1, until_s)
        if self._kind is None:
            raise DependencyUnavailable(_DEPENDENCY, "no shard answers")
        return self._kind

    async def found(
        self,
        vector: NDArray[np.float32],
        way: PartWay,
        count: int,
        until_s: float,
        allowed: NDArray[np.bool_] | None = None,
        cells: int = 0,
    ) -> Found:
        """The `count` best of all shards. Raises DependencyUnavailable if none answers."""
        asking = [
            self._of_shard(at, vector, way, count, until_s, allowed, cells)
            for at in range(len(self._parts))
        ]
        answers = [await asking[0]] if len(asking) == 1 else await asyncio.gather(*asking)
        told = [answer for answer in answers if answer is not None]
        if not told:
            raise DependencyUnavailable(_DEPENDENCY, "no shard answers")
        rows, cosines = _merged(told, count)
        if len(told) == len(answers):
            return rows, cosines
        share = self._share([answer is not None for answer in answers])
        return PartlyFound.of(rows, cosines, share)

    async def _of_shard(
        self,
        shard: int,
        vector: NDArray[np.float32],
        way: PartWay,
        count: int,
        until_s: float,
        allowed: NDArray[np.bool_] | None,
        cells: int,
    ) -> Found | None:
        """None if this shard is lost to the call."""
        part, breaker = self._parts[shard], self._breakers[shard]
        own = None if allowed is None else allowed[part.first : part.last]
        if own is not None and not own.any():
            return np.zeros(0, np.int64), np.zeros(0, np.float32)  # nothing is missed there
        if not breaker.allows():
            return None
        question = Question(self._release, self._name, way, count, vector, own, cells)
        counts = self._shards.counts[shard]
        counts.asked += 1
        try:
            async with asyncio.timeout(until_s - self._shards.clock()):
                status, body = await self._shards.asked(shard, "/search", encode_question(question))
            found = self._read(shard, status, body, count)
        except (DependencyUnavailable, TimeoutError, ValueError):
            counts.failed += 1
            self._is_well[shard] = False
            breaker.note(succeeded=False)
            return None
        except asyncio.CancelledError:
            # The client left: that says nothing of the shard, but a probe must not stay open.
            breaker.note(succeeded=not breaker.is_open)
            raise
        self._is_well[shard] = True
        breaker.note(succeeded=True)
        return found

    def _read(self, shard: int, status: int, body: bytes, count: int) -> Found:
        """Raises ValueError for what is not the answer of this shard."""
        if status != 200:
            raise ValueError(f"{status}: {body[:200]!r}")
        rows, cosines, part = read_answer(body, count)
        asked = self._parts[shard]
        if (part.first, part.last, part.row_count) != (asked.first, asked.last, asked.row_count):
            raise ValueError(f"it holds rows {part.first} to {part.last} of {part.row_count}")
        if self._kind is None:
            self._kind = _Kind(self._rows, part.cell_count, part.probe_count)
        return rows, cosines

    def _share(self, there: Sequence[bool]) -> float:
        products = (
            part.product_count
            for part, is_there in zip(self._parts, there, strict=True)
            if is_there
        )
        return sum(products) / max(1, self._rows - 1)


@dataclass(slots=True, eq=False)
class _Search:
    """One search, which may ask the shards more than once."""

    index: ShardedIndex
    vector: NDArray[np.float32]
    until_s: float

    async def nearest(self, wanted: int) -> Found:
        return await self.index.found(self.vector, PartWay.NEAREST, wanted, self.until_s)

    async def nearest_allowed(self, wanted: int, allowed: NDArray[np.bool_]) -> Found:
        """In the ways and with the numbers of `FaissIndex`, so that it finds the same."""
        kind = await self.index.kind(self.vector, self.until_s)
        allowed_count = int(np.count_nonzero(allowed))
        way = self.index.way_for(kind, allowed_count)
        if way is Way.EXACT:
            return await self._restricted(PartWay.EXACT, wanted, allowed)
        enough = min(wanted, allowed_count - int(allowed[NO_PRODUCT]))
        if way is Way.OVER_FETCH:
            fetched = over_fetch_count(wanted, allowed_count, kind.ntotal)
            found = await self.nearest(fetched)
            kept = np.flatnonzero(allowed[found[0]])[:wanted]
            if kept.size >= enough:
                return _like(found, found[0][kept], found[1][kept])
        cells = cells_to_visit(kind, allowed_count) if kind.nlist else 0
        while True:
            found = await self._restricted(PartWay.SELECTED, wanted, allowed, cells)
            if found[0].size >= enough or cells >= kind.nlist:
                return found
            cells = kind.nlist  # what is allowed lies elsewhere: look everywhere

    async def _restricted(
        self, way: PartWay, wanted: int, allowed: NDArray[np.bool_], cells: int = 0
    ) -> Found:
        return await self.index.found(self.vector, way, wanted, self.until_s, allowed, cells)


def _merged(found: Sequence[Found], wanted: int) -> Found:
    """Best first. Parts lie in the order of rows, so a stable sort leaves the lowest rows first."""
    if len(found) == 1:
        return found[0]
    cosines = np.concatenate([each[1] for each in found])
    at = np.argsort(-cosines, kind="stable")[:wanted]
    return np.concatenate([each[0] for each in found])[at], cosines[at]


def _like(found: Found, rows: NDArray[np.int64], cosines: NDArray[np.float32]) -> Found:
    if isinstance(found, PartlyFound):
        return PartlyFound.of(rows, cosines, found.searched_share)
    return rows, cosines
