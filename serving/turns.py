"""Turns: how many calls are worked on at once, and how many may wait for it.

One process has one thread for all of them, so more at once finish no sooner, and all of them late.
Serve could limit calls too, but would count a stream that lives for minutes as one of them, and
tell a shed client nothing about when to come back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from shop.errors import Overloaded

_RETRY_AFTER_MS = 200  # a full queue of calls at 3 ms each


_MOST_TRIES = 50  # ten seconds of a full queue: then it is no peak any more

_Answer = TypeVar("_Answer")


async def when_there_is_room(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """The answer, asked for again after the wait that the door names to those it sheds.

    For work that nobody looks at while it is done. Raises Overloaded after ten seconds.
    """
    for _ in range(_MOST_TRIES):
        try:
            return await ask()
        except Overloaded as error:
            if error.retry_after_ms is None:
                raise
            await asyncio.sleep(error.retry_after_ms / 1000.0)
    return await ask()


class Turns:
    """First come, first served."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._may_wait = waiting
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn and holds it. Raises Overloaded at once if too many wait already."""
        if self._waiting >= self._may_wait:
            raise Overloaded(f"{self._waiting} calls wait already", _RETRY_AFTER_MS)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
