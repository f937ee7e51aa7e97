"""Batched search: one thread that owns an index and searches it for many callers at once.

For indexes that must not be searched by two threads (FAISS on a GPU), and that take hardly longer
for many vectors than for one. Whoever waits while a search runs is in the next batch; nobody waits
for company. The index can be replaced while it is searched: the next batch uses the new one.

Shapes: B callers of a batch, D vector size, K wanted.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.adapters.index_calls import DEPENDENCY, Found, answer_within
from shop.errors import DependencyUnavailable, VitrineError

SearchMany = Callable[[NDArray[np.float32], int], Found]
"""Rows and cosines [B, K] of vectors [B, D]; called by one thread only."""


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    vector: NDArray[np.float32]  # [D]
    count: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Found]


class BatchedSearch:
    """The thread and what waits for it. Close it: callers still waiting get an error."""

    def __init__(self, search_many: SearchMany, *, max_batch: int, max_waiting: int) -> None:
        self._search_many = search_many
        self._max_batch = max_batch
        self._waiting: queue.Queue[_Wanted | None] = queue.Queue(max_waiting)
        self._is_closed = False
        self.batch_sizes: dict[int, int] = {}  # how many batches had how many callers
        self._thread = threading.Thread(target=self._work, name="batched-search", daemon=True)
        self._thread.start()

    def replace(self, search_many: SearchMany) -> None:
        """From the next batch on; the former is let go when the batch under way has ended."""
        self._search_many = search_many

    def close(self) -> None:
        """Returns when the batch under way has ended."""
        self._is_closed = True
        self._waiting.put(None)
        self._thread.join()

    async def search(self, vector: NDArray[np.float32], count: int, *, timeout_s: float) -> Found:
        """Rows and cosines [K]. Whoever gave up is not searched for, unless the search has begun.

        Raises DependencyTimeout, or DependencyUnavailable if too many wait.
        """
        if self._is_closed:
            raise DependencyUnavailable(DEPENDENCY, "it was closed")
        loop = asyncio.get_running_loop()
        wanted = _Wanted(vector, count, loop, loop.create_future())
        try:
            self._waiting.put_nowait(wanted)
        except queue.Full as error:
            raise DependencyUnavailable(
                DEPENDENCY, f"{self._waiting.maxsize} searches wait already"
            ) from error
        return await answer_within(timeout_s, wanted.answer)

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._answer(batch)
        while not self._waiting.empty():
            left = self._waiting.get_nowait()
            if left is not None:
                _fail(left, DependencyUnavailable(DEPENDENCY, "it was closed"))

    def _next_batch(self) -> list[_Wanted] | None:
        """Waits for one caller, takes those who wait beside it; None at the end."""
        first = self._waiting.get()
        batch = [first]
        while len(batch) < self._max_batch:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        callers = [wanted for wanted in batch if wanted is not None]
        if len(callers) < len(batch):
            for wanted in callers:
                _fail(wanted, DependencyUnavailable(DEPENDENCY, "it was closed"))
            return None
        return [wanted for wanted in callers if not wanted.answer.done()]

    def _answer(self, batch: list[_Wanted]) -> None:
        vectors = np.ascontiguousarray([wanted.vector for wanted in batch], dtype=np.float32)
        try:
            rows, cosines = self._search_many(vectors, max(wanted.count for wanted in batch))
        except (VitrineError, RuntimeError) as error:  # FAISS raises RuntimeError, also for CUDA's
            for wanted in batch:
                _fail(wanted, DependencyUnavailable(DEPENDENCY, str(error)))
            return
        self.batch_sizes[len(batch)] = self.batch_sizes.get(len(batch), 0) + 1
        for at, wanted in enumerate(batch):
            _give(wanted, (rows[at, : wanted.count], cosines[at, : wanted.count]))


def _give(wanted: _Wanted, found: Found) -> None:
    def give() -> None:
        if not wanted.answer.done():
            wanted.answer.set_result(found)

    _on_its_loop(wanted, give)


def _fail(wanted: _Wanted, error: VitrineError) -> None:
    def fail() -> None:
        if not wanted.answer.done():
            wanted.answer.set_exception(error)

    _on_its_loop(wanted, fail)


def _on_its_loop(wanted: _Wanted, act: Callable[[], None]) -> None:
    if not wanted.loop.is_closed():  # else nobody waits any more
        wanted.loop.call_soon_threadsafe(act)
