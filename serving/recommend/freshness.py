"""Freshness: which rows calls need, and until when everything known about them is current.

Shared by the refreshes of all systems. Most calls find every row current, so that is one look here
instead of one in each system: 6 µs for 500 rows instead of 50.

Shapes: R catalogue rows, N rows needed by a call.
"""

import numpy as np
from numpy.typing import NDArray

NEVER_MS = -(1 << 62)
# Calls read the wall clock a little apart; more than this and the clock was set back.
CLOCK_SLACK_MS = 1_000


class Freshness:
    """Of every catalogue row: when a call last needed it, and until when it is current."""

    def __init__(self, row_count: int) -> None:
        self.needed_ms = np.full(row_count, NEVER_MS, dtype=np.int64)  # [R]
        self._until_ms = np.full(row_count, NEVER_MS, dtype=np.int64)  # [R] in all systems
        self._of_systems: list[NDArray[np.int64]] = []  # [R] each
        self._shortest_ttl_ms = 1 << 62

    def add_system(self, ttl_ms: int) -> NDArray[np.int64]:
        """[R] until when one system's answers are current; the system keeps it up to date."""
        until_ms = np.full(self._until_ms.size, NEVER_MS, dtype=np.int64)
        self._of_systems.append(until_ms)
        self._shortest_ttl_ms = min(self._shortest_ttl_ms, ttl_ms)
        return until_ms

    def was_answered(self, rows: NDArray[np.int64]) -> None:
        """One system's times of these rows have changed."""
        first, *others = self._of_systems
        until_ms = first[rows]
        for each in others:
            np.minimum(until_ms, each[rows], out=until_ms)
        self._until_ms[rows] = until_ms

    def is_all_current(self, rows: NDArray[np.int64], now_ms: int) -> bool:
        """Whether no system needs to be asked for any of these rows [N]."""
        if rows.size == 0:
            return True
        until_ms = self._until_ms[rows]
        latest_ms = now_ms + self._shortest_ttl_ms + CLOCK_SLACK_MS  # later: the clock went back
        return bool(until_ms.min() >= now_ms and until_ms.max() <= latest_ms)
