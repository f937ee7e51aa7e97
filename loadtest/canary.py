"""Canary: a fixed piece of work in this process, to see whether the machine is quiet.

What is measured on a machine that is busy elsewhere says nothing of the software. So before a round
the canary's p99 is taken while the machine is idle, and after the round again: where it takes half
as long again, the round is void. During a round it would only see the load that we make ourselves.
"""

import time
from dataclasses import dataclass

import numpy as np

from loadtest.histogram import percentile

TOLERANCE = 1.5  # times the idle p99
_WINDOW_S = 0.5
_IDLE_WINDOWS = 3
_WORK = np.random.default_rng(0).random((64, 64))


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the canary took, p99, when idle and around a round."""

    idle_ms: float
    before_ms: float
    after_ms: float

    @property
    def is_noisy(self) -> bool:
        """Whether the round is void. Noise may have been there from the start, so the quietest
        of all counts as idle."""
        all_ms = (self.idle_ms, self.before_ms, self.after_ms)
        return not all(each_ms <= TOLERANCE * min(all_ms) for each_ms in all_ms)  # NaN is noise

    def said(self) -> str:
        """One line for a report."""
        state = "VOID: the machine is busy elsewhere" if self.is_noisy else "quiet"
        return (
            f"{state}; the canary's p99 was {self.before_ms:.2f} ms before and {self.after_ms:.2f}"
            f" ms after, idle {self.idle_ms:.2f} ms, allowed is {TOLERANCE:g} times that"
        )


def p99_ms(window_s: float = _WINDOW_S) -> float:
    """How long the work takes now: about 0.2 ms of one core where nobody disturbs it."""
    times = []
    until = time.perf_counter() + window_s
    while (began := time.perf_counter()) < until:
        total = _WORK
        for _ in range(4):
            total = total @ _WORK
        sum(number * number for number in range(1_500))
        times.append((time.perf_counter() - began) * 1e3)
    return percentile(np.array(times), 99.0)


def idle_p99_ms() -> float:
    """The quietest of a few windows: what the work costs on this machine."""
    return min(p99_ms() for _ in range(_IDLE_WINDOWS))
