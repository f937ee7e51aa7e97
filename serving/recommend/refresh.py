"""Refresh: keeps a column of answers from one system current, with as few questions as possible.

A row is asked again once its answer is older than the time to live. Rows that another call is
asking for already are waited for, not asked twice (single flight). A question belongs to no call:
it outlives the one that started it, so that cancelling a call never takes an answer from another,
and an answer that is too late for one call still serves the next.

Rows that are in use are asked again in bulk before they are too old, so that under load hardly any
call waits: three questions for about twenty rows each cost a call 1 ms of CPU and 3 ms of waiting
(150 calls a second, 6,000 products, two cores).

Shapes: R catalogue rows, N rows needed by a call, M rows of one question.
"""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from serving.recommend.breaker import CircuitBreaker
from shop.errors import DependencyError

# Asks for M rows as of a time in Unix ms and stores the answer. Raises DependencyError.
AskAndStore = Callable[[NDArray[np.int64], int], Awaitable[None]]

NEVER_MS = -(1 << 62)
# Calls read the wall clock a little apart; more than this and the clock was set back.
_CLOCK_SLACK_MS = 1_000

_AHEAD_AGE = 0.6  # of the time to live: leaves time for an answer before the row is too old
_AHEAD_EVERY_MS = 50
_AHEAD_LEAST = 64  # rows: fewer are not worth a question that nobody waits for
_AHEAD_MOST = 512  # rows of one question
_AHEAD_WINDOW = 1 << 16  # rows looked at in one go (0.2 ms): a large catalogue takes several


class Refresh:
    """Which rows of one system are current, and who is asking for the others."""

    def __init__(
        self,
        ask_and_store: AskAndStore,
        breaker: CircuitBreaker,
        *,
        row_count: int,
        ttl_ms: int,
        ask_s: float,
    ) -> None:
        self._ask_and_store = ask_and_store
        self._breaker = breaker
        self._ttl_ms = ttl_ms
        self._ask_s = ask_s
        self._answered_ms = np.full(row_count, NEVER_MS, dtype=np.int64)  # [R]
        self._flight_of = np.zeros(row_count, dtype=np.int64)  # [R] 0 = nobody is asking
        self._flights: dict[int, asyncio.Task[None]] = {}
        self._flight_count = 0
        self._needed_ms = np.full(row_count, NEVER_MS, dtype=np.int64)  # [R] by a call
        self._ahead_ms = NEVER_MS  # when we last asked ahead
        self._window_start = 0

    def is_current(self, rows: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
        """[N] whether the system's latest answer is within the time to live."""
        age_ms = now_ms - self._answered_ms[rows]
        return np.asarray((age_ms <= self._ttl_ms) & (age_ms >= -_CLOCK_SLACK_MS))

    def start(self, rows: NDArray[np.int64], now_ms: int) -> set[asyncio.Task[None]]:
        """Ask for what is not current. The questions to wait for: new ones and others' alike."""
        self._needed_ms[rows] = now_ms
        if abs(now_ms - self._ahead_ms) >= _AHEAD_EVERY_MS:
            self._ahead_ms = now_ms
            self._ask_ahead(now_ms)
        stale = rows[~self.is_current(rows, now_ms)]
        if stale.size == 0:
            return set()
        flights = self._flight_of[stale]
        waited_for = {self._flights[flight] for flight in np.unique(flights[flights > 0]).tolist()}
        unasked = stale[flights == 0]
        if unasked.size and self._breaker.allows():
            waited_for.add(self._take_off(unasked, now_ms))
        return waited_for

    def _ask_ahead(self, now_ms: int) -> None:
        """Ask for rows that are in use and soon too old. Nobody waits for these questions."""
        due = self._due(now_ms)
        for start in range(0, due.size, _AHEAD_MOST):
            rows = due[start : start + _AHEAD_MOST]
            if rows.size < _AHEAD_LEAST or not self._breaker.allows():
                return
            self._take_off(rows, now_ms)

    def _due(self, now_ms: int) -> NDArray[np.int64]:
        start = self._window_start
        window = slice(start, start + _AHEAD_WINDOW)
        self._window_start = window.stop if window.stop < self._answered_ms.size else 0
        age_ms = now_ms - self._answered_ms[window]
        due = (age_ms > _AHEAD_AGE * self._ttl_ms) & (self._flight_of[window] == 0)
        due &= now_ms - self._needed_ms[window] <= self._ttl_ms
        # What is too old already is asked for by the calls that wait for it.
        due &= age_ms <= self._ttl_ms
        return np.flatnonzero(due) + start

    def _take_off(self, rows: NDArray[np.int64], now_ms: int) -> asyncio.Task[None]:
        self._flight_count += 1
        flight = self._flight_count
        self._flight_of[rows] = flight
        task = asyncio.create_task(self._fly(flight, rows, now_ms))
        self._flights[flight] = task
        return task

    async def _fly(self, flight: int, rows: NDArray[np.int64], now_ms: int) -> None:
        succeeded = False
        try:
            async with asyncio.timeout(self._ask_s):
                await self._ask_and_store(rows, now_ms)
            self._answered_ms[rows] = now_ms
            succeeded = True
        except (DependencyError, TimeoutError):
            pass  # seen by everyone who waited: the rows are still not current
        finally:
            self._breaker.note(succeeded=succeeded)
            self._flight_of[rows] = 0
            del self._flights[flight]

    async def close(self) -> None:
        """End the questions still under way."""
        under_way = list(self._flights.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
