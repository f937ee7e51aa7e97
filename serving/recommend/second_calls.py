"""Second calls: what a slow or failing system is asked once more, and how often at most.

A question that a call waits for is asked again when the first answer takes longer than 95 % of the
recent ones did (a hedge: Dean and Barroso, "The Tail at Scale", CACM 2013); the first good answer
counts, the other is given up. A question that was refused is asked again at once (a retry). Both
spend from one budget, so that a system in trouble is never asked much more than a healthy one.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from serving.deadline import Clock
from shop.errors import DependencyError, DependencyTimeout, DependencyUnavailable

Answer = TypeVar("Answer")
Asking = Callable[[], Coroutine[Any, Any, Answer]]

_KEPT = 64  # latencies: at ten questions a second, those of the last seconds
_JUDGED_FROM = 10  # fewer tell nothing about a tail
_TAIL = 0.95
_MOST_SAVED = 10.0  # second calls: a long calm must not pay for a storm


class SecondCallBudget:
    """A bucket of tokens: each first call brings `share` of one, each second call takes one.

    It begins empty, so second calls are never more than `share` of the first ones.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._saved = 0.0

    def earn(self) -> None:
        """A first call was made."""
        self._saved = min(_MOST_SAVED, self._saved + self._share)

    def spend(self) -> bool:
        """Whether a second call may be made now."""
        if self._saved < 1.0 - 1e-9:  # ten times 0.1 is a little less than 1
            return False
        self._saved = max(0.0, self._saved - 1.0)
        return True


class Latencies:
    """How long the last answers took."""

    def __init__(self) -> None:
        self._kept_s: deque[float] = deque(maxlen=_KEPT)

    def note(self, seconds: float) -> None:
        """An answer took so long, or was given up after so long."""
        self._kept_s.append(seconds)

    def tail_s(self) -> float:
        """What 95 % of them stayed below; infinite while there are too few to tell."""
        count = len(self._kept_s)
        if count < _JUDGED_FROM:
            return math.inf
        return sorted(self._kept_s)[min(count - 1, int(_TAIL * count))]


class SecondCalls:
    """Asks one system, a second time where that helps and the budget allows."""

    def __init__(self, clock: Clock, *, share: float) -> None:
        self._clock = clock
        self._budget = SecondCallBudget(share)
        self._latencies = Latencies()

    async def answer(self, ask: Asking[Answer], *, is_waited_for: bool) -> Answer:
        """The first good answer. `ask` must do no harm when done twice. Raises DependencyError."""
        self._budget.earn()
        if not is_waited_for:
            return await self._with_retry(ask)
        start_s, tail_s = self._clock(), self._latencies.tail_s()
        try:
            if math.isinf(tail_s):
                answer = await self._with_retry(ask)
            else:
                answer = await self._with_hedge(ask, tail_s)
        except (asyncio.CancelledError, DependencyTimeout):
            self._latencies.note(self._clock() - start_s)
            raise  # a refusal is not noted: it says nothing of how long an answer takes
        self._latencies.note(self._clock() - start_s)
        return answer

    async def _with_retry(self, ask: Asking[Answer]) -> Answer:
        try:
            return await ask()
        except DependencyUnavailable:
            if not self._budget.spend():
                raise
        return await ask()

    async def _with_hedge(self, ask: Asking[Answer], after_s: float) -> Answer:
        first = asyncio.create_task(ask())
        calls = {first}
        try:
            await asyncio.wait(calls, timeout=after_s)
            if (not first.done() or _was_refused(first)) and self._budget.spend():
                calls.add(asyncio.create_task(ask()))
            return await _first_good(calls)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def _was_refused(call: "asyncio.Task[Answer]") -> bool:
    return isinstance(call.exception(), DependencyUnavailable)


async def _first_good(calls: "set[asyncio.Task[Answer]]") -> Answer:
    """The first answer that is one; if none is, the failure that came last."""
    waiting = calls
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        failures = [error for call in done if (error := call.exception()) is not None]
        if len(failures) < len(done):
            return next(call.result() for call in done if call.exception() is None)
        is_bug = not isinstance(failures[0], DependencyError)
        if is_bug or not waiting:
            raise failures[0]
