"""Deadline: how much time a call still has, and where the time went. The clock is passed in."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shop.errors import DependencyTimeout

Clock = Callable[[], float]  # seconds, never going back; `time.monotonic` when serving


class Deadline:
    """One budget for the whole call, from which every stage takes a share.

    `reserve_s` stays out of every share: the way back (slate, reply, wire) needs it even when
    everything before was slow. When the budget is spent a cheaper answer is made; after
    `client_until_s`, a time of `clock`, nobody waits for any.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        start_s: float,
        total_s: float,
        reserve_s: float,
        client_until_s: float = math.inf,
    ) -> None:
        if not total_s > 0.0 or reserve_s < 0.0:
            raise ValueError(f"a deadline of {total_s} s with {reserve_s} s in reserve")
        self._clock = clock
        self._end_s = start_s + total_s - min(reserve_s, total_s)
        self._client_until_s = client_until_s

    def remaining_s(self) -> float:
        """Seconds left to share out; 0 once they are spent."""
        return max(0.0, self._end_s - self._clock())

    def within(self, share_s: float) -> float:
        """What a stage may take: its share, or what is left if that is less."""
        return min(share_s, self.remaining_s())

    def check_client_waits(self) -> None:
        """Raises DependencyTimeout once the client's own deadline has passed."""
        if self._clock() >= self._client_until_s:
            raise DependencyTimeout("door", "the client's deadline has passed")


class StageTimes:
    """Milliseconds spent per stage. One per call; a stage timed twice adds up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_s = clock()
        self._ms: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Counts the time inside the block, whether or not it succeeds."""
        start_s = self._clock()
        try:
            yield
        finally:
            self._ms[stage] = self._ms.get(stage, 0.0) + (self._clock() - start_s) * 1000.0

    def total_ms(self) -> float:
        """Since this call's times began."""
        return (self._clock() - self._start_s) * 1000.0

    def by_stage(self) -> dict[str, float]:
        """Stage name → milliseconds, in the order in which stages ended."""
        return dict(self._ms)
