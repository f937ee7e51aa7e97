"""Refresh: keeps the answers from one system current, with as few questions as possible.

A row is asked again once its answer is older than the time to live. Rows that another call is
asking for already are waited for, not asked twice (single flight). A question belongs to no call:
it outlives the one that started it, so that cancelling a call never takes an answer from another,
and an answer that is too late for one call still serves the next.

Rows that are in use are asked again in bulk before they are too old, so that under load hardly any
call waits. A question costs CPU whatever its size, so few large ones are made: rows that were asked
together stay together.

Shapes: R catalogue rows, N rows needed by a call, M rows of one question.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.recommend.breaker import CircuitBreaker
from serving.recommend.freshness import CLOCK_SLACK_MS, NEVER_MS, Freshness
from serving.recommend.second_calls import SecondCalls
from shop.errors import DependencyError

Answer = TypeVar("Answer")
# Asks about M rows. Raises DependencyError.
AskAbout = Callable[[NDArray[np.int64]], Coroutine[Any, Any, Answer]]
# Keeps the answer about M rows, asked at a time in Unix ms. Raises DependencyError if it is none.
Store = Callable[[NDArray[np.int64], Answer, int], None]

_AHEAD_AGE = 0.6  # of the time to live: leaves time for an answer before the row is too old
# Times the time to live, after a call needed the row last. A replica meets a rare product only
# every few seconds, and one such row in five hundred is enough for a call to wait: at 150 calls a
# second over two replicas, 1 had half of them wait (p99 111 to 134 ms), 5 has few (73 to 116 ms),
# for less CPU in all, because what is asked ahead is asked in bulk.
_WANTED_FOR = 5
_AHEAD_EVERY = 0.125  # of the time to live, between two looks for rows that are due
_AHEAD_LEAST = 64  # rows: fewer are not worth a question that nobody waits for
_AHEAD_MOST = 2_048  # rows of one question: it keeps the loop for less than a millisecond
_AHEAD_WINDOW = 1 << 16  # rows looked at in one go (0.2 ms): a large catalogue takes several


@dataclass(frozen=True, slots=True)
class Questions:
    """What became of the questions to one system so far."""

    asked: int
    failed: int
    second_calls: int  # hedges and retries, beyond `asked`
    is_left_alone: bool  # it keeps failing, and is only probed now and then


class Refresh(Generic[Answer]):
    """Which rows of one system are current, and who is asking for the others."""

    def __init__(
        self,
        ask: AskAbout[Answer],
        store: Store[Answer],
        breaker: CircuitBreaker,
        second_calls: SecondCalls,
        freshness: Freshness,
        *,
        ttl_ms: int,
        ask_s: float,
    ) -> None:
        self._ask = ask
        self._store = store
        self._breaker = breaker
        self._second_calls = second_calls
        self._freshness = freshness
        self._ttl_ms = ttl_ms
        self._ask_s = ask_s
        self._until_ms = freshness.add_system(ttl_ms)  # [R]
        row_count = self._until_ms.size
        self._flight_of = np.zeros(row_count, dtype=np.int64)  # [R] 0 = nobody is asking
        self._flights: dict[int, asyncio.Task[None]] = {}
        self._flight_count = 0
        self._failed_count = 0
        windows = -(-row_count // _AHEAD_WINDOW)
        self._ahead_every_ms = _AHEAD_EVERY * ttl_ms / windows
        self._ahead_ms = NEVER_MS  # when we last asked ahead
        self._window_start = 0

    @property
    def questions(self) -> Questions:
        """For whoever watches."""
        return Questions(
            self._flight_count,
            self._failed_count,
            self._second_calls.count,
            self._breaker.is_open,
        )

    def is_current(self, rows: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
        """[N] whether the system's latest answer is within the time to live."""
        left_ms = self._until_ms[rows] - now_ms
        return np.asarray((left_ms >= 0) & (left_ms <= self._ttl_ms + CLOCK_SLACK_MS))

    def ask_ahead(self, now_ms: int) -> None:
        """Ask for rows that are in use and soon too old. Nobody waits for these questions."""
        if abs(now_ms - self._ahead_ms) < self._ahead_every_ms:
            return
        self._ahead_ms = now_ms
        due = self._due(now_ms)
        for start in range(0, due.size, _AHEAD_MOST):
            rows = due[start : start + _AHEAD_MOST]
            if rows.size < _AHEAD_LEAST or not self._breaker.allows():
                return
            self._take_off(rows, now_ms, is_waited_for=False)

    def start(self, rows: NDArray[np.int64], now_ms: int) -> set[asyncio.Task[None]]:
        """Ask for what is not current. The questions to wait for: new ones and others' alike."""
        stale = rows[~self.is_current(rows, now_ms)]
        if stale.size == 0:
            return set()
        flights = self._flight_of[stale]
        waited_for = {self._flights[flight] for flight in set(flights.tolist()) if flight}
        unasked = stale[flights == 0]
        if unasked.size and self._breaker.allows():
            waited_for.add(self._take_off(unasked, now_ms, is_waited_for=True))
        return waited_for

    def _due(self, now_ms: int) -> NDArray[np.int64]:
        start = self._window_start
        window = slice(start, start + _AHEAD_WINDOW)
        self._window_start = window.stop if window.stop < self._until_ms.size else 0
        left_ms = self._until_ms[window] - now_ms
        # What is too old already is asked for by the calls that wait for it.
        due = (left_ms >= 0) & (left_ms < (1.0 - _AHEAD_AGE) * self._ttl_ms)
        rows = np.flatnonzero(due) + start
        is_wanted = now_ms - self._freshness.needed_ms[rows] <= _WANTED_FOR * self._ttl_ms
        return np.asarray(rows[is_wanted & (self._flight_of[rows] == 0)])

    def _take_off(
        self, rows: NDArray[np.int64], now_ms: int, *, is_waited_for: bool
    ) -> asyncio.Task[None]:
        self._flight_count += 1
        flight = self._flight_count
        self._flight_of[rows] = flight
        task = asyncio.create_task(self._fly(flight, rows, now_ms, is_waited_for))
        self._flights[flight] = task
        return task

    async def _fly(
        self, flight: int, rows: NDArray[np.int64], now_ms: int, is_waited_for: bool
    ) -> None:
        succeeded = False
        try:
            async with asyncio.timeout(self._ask_s):
                answer = await self._second_calls.answer(
                    lambda: self._ask(rows), is_waited_for=is_waited_for
                )
            self._store(rows, answer, now_ms)
            self._until_ms[rows] = now_ms + self._ttl_ms
            self._freshness.was_answered(rows)
            succeeded = True
        except (DependencyError, TimeoutError):
            pass  # seen by everyone who waited: the rows are still not current
        finally:
            self._breaker.note(succeeded=succeeded)
            self._failed_count += not succeeded
            self._flight_of[rows] = 0
            del self._flights[flight]

    async def close(self) -> None:
        """End the questions still under way."""
        under_way = list(self._flights.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
