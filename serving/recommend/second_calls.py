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
from typing import Any, Generic, TypeVar

from serving.deadline import Clock
from shop.errors import DependencyError, DependencyTimeout, DependencyUnavailable

Answer = TypeVar("Answer")
Asking = Callable[[], Coroutine[Any, Any, Answer]]

_KEPT = 64  # latencies: at ten questions a second, those of the last seconds
_JUDGED_FROM = 10  # fewer tell nothing about a tail
_TAIL = 0.95
_LEAST_S = 0.001  # the loop is no more punctual than this
_MOST_SAVED = 10.0  # second calls: a long calm must not pay for a storm


class SecondCallBudget:
    """A bucket of tokens: each first call brings `share` of one, each second call takes one.

    It begins empty, so second calls are never more than `share` of the first ones.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._saved = 0.0
        self.spent = 0  # second calls so far

    def earn(self) -> None:
        """A first call was made."""
        self._saved = min(_MOST_SAVED, self._saved + self._share)

    def spend(self) -> bool:
        """Whether a second call may be made now."""
        if self._saved < 1.0 - 1e-9:  # ten times 0.1 is a little less than 1
            return False
        self._saved = max(0.0, self._saved - 1.0)
        self.spent += 1
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
        return max(_LEAST_S, sorted(self._kept_s)[min(count - 1, int(_TAIL * count))])


class SecondCalls:
    """Asks one system, a second time where that helps and the budget allows."""

    def __init__(self, clock: Clock, *, share: float) -> None:
        self._clock = clock
        self._budget = SecondCallBudget(share)
        self._latencies = Latencies()

    @property
    def count(self) -> int:
        """Second calls so far."""
        return self._budget.spent

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
        race = _Race(ask, self._budget, asyncio.get_running_loop())
        return await race.outcome_of_two(after_s)


class _Race(Generic[Answer]):
    """One question, asked at most twice; the first good answer wins.

    Made of callbacks: `asyncio.wait` costs each question 0.1 ms, and hardly any is asked twice.
    """

    def __init__(
        self, ask: Asking[Answer], budget: SecondCallBudget, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._ask = ask
        self._budget = budget
        self._loop = loop
        self._calls: list[asyncio.Task[Answer]] = []
        self._outcome: asyncio.Future[Answer] = loop.create_future()

    async def outcome_of_two(self, hedge_after_s: float) -> Answer:
        """The answer. Raises what the last failed call raised if there is none."""
        self._call()
        self._hedge_after(hedge_after_s)
        try:
            return await self._outcome
        finally:
            self._hedge.cancel()
            for call in self._calls:
                call.cancel()

    def _hedge_after(self, seconds: float) -> None:
        due_s = self._loop.time() + seconds
        self._hedge = self._loop.call_at(due_s, self._hedge_if_punctual, due_s, seconds)

    def _hedge_if_punctual(self, due_s: float, after_s: float) -> None:
        # A loop that comes late makes every answer late: then it is not the system that is slow,
        # and more questions would make it later still.
        if self._loop.time() - due_s > _LEAST_S:
            self._hedge_after(after_s)
        else:
            self._call_again()

    def _call(self) -> None:
        call = self._loop.create_task(self._ask())
        call.add_done_callback(self._ended)
        self._calls.append(call)

    def _call_again(self) -> bool:
        if len(self._calls) > 1 or self._outcome.done() or not self._budget.spend():
            return False
        self._call()
        return True

    def _ended(self, call: "asyncio.Task[Answer]") -> None:
        error = None if call.cancelled() else call.exception()  # one that nobody asks for is logged
        if self._outcome.done():
            return
        if call.cancelled():
            self._outcome.cancel()
        elif error is None:
            self._outcome.set_result(call.result())
        elif not isinstance(error, DependencyError):
            self._outcome.set_exception(error)  # a bug, not a lost system
        elif isinstance(error, DependencyUnavailable) and self._call_again():
            return
        elif all(each.done() for each in self._calls):
            self._outcome.set_exception(error)
