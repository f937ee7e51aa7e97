"""Time travel: an event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

START_MS = 1_750_000_000_000  # a Sunday in June 2025


class Time:
    """Seconds since the test began. Call it like `time.monotonic`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    @property
    def now_ms(self) -> int:
        """The wall clock, Unix milliseconds."""
        return START_MS + round(self.now_s * 1000.0)

    def pass_ms(self, duration_ms: float) -> None:
        """So much later."""
        self.now_s += duration_ms / 1000.0

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Like `asyncio.run`, in this time."""
        with self.runner() as runner:
            # Not `runner.run`: on its way out it writes the whole result as a text.
            return runner.get_loop().run_until_complete(work)

    def runner(self) -> asyncio.Runner:
        """A loop in this time, for whoever closes it."""
        return asyncio.Runner(loop_factory=lambda: _Loop(self))


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: Time) -> None:
        self._virtual = time
        super().__init__(_Selector(time))

    def time(self) -> float:
        return self._virtual.now_s


class _Selector(selectors.SelectSelector):
    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits, and no timer will end it")
        ready = super().select(0)
        if not ready:
            self._time.now_s += max(0.0, timeout)
        return ready
