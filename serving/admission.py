"""Admission: how many lists may be under way at once, learnt from how long they take.

Pure: time is passed in. Who holds back what, and tells the caller, is `serving.guard`.

The limit follows additive increase and multiplicative decrease (Chiu and Jain, "Analysis of the
Increase and Decrease Algorithms for Congestion Avoidance", 1989), where the decrease is by the
gradient as in Netflix's concurrency-limits (Gradient2Limit: limit × reference ÷ measured, plus the
root of the limit for a burst). Their reference is the latency without load, as in TCP Vegas; ours
is the promise to the shopper, because a list's own time changes with every cache hit and every
lost dependency, while what it may take does not.

Low priorities get a part of the limit only, so they are shed first (criticality, Beyer et al.,
"Site Reliability Engineering", 2016, chapter 21).
"""

import math
from dataclasses import dataclass
from enum import IntEnum

_WINDOW_S = 0.25
_LEAST_SAMPLES = 10  # fewer tell nothing about the slowest tenth
_STEEPEST = 0.5  # of the limit goes at most in one window: one stall is not the end
_PUNCTUAL = 0.9  # the share of lists that is held to the target
_IN_USE = (
    0.7  # of the limit was needed: only then may it grow; pages alone never need more than 0.8
)


class Priority(IntEnum):
    """What is shed last comes first."""

    PRODUCT = 0  # a shopper is about to buy: product page and cart
    PAGE = 1  # a shopper looks: home, category, search
    BATCH = 2  # nobody waits: e-mails, prices
    SHADOW = 3  # nobody will ever see it


PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_OF_PLACEMENT = {"product": Priority.PRODUCT, "cart": Priority.PRODUCT, "email": Priority.BATCH}
_SHARE = (1.0, 0.8, 0.5, 0.25)  # of the limit, by priority


def least_limit(worked_on: int) -> int:
    """The limit under which half of those that may be worked on at once are under way, all pages.

    Lists that share a core finish the sooner the fewer they are. At three times a peak of 190 on
    two cores, 97 lists a second were in time where eight were worked on at once, 193 where four
    were; but a starved machine at its usual load does better with eight.
    """
    return math.ceil(worked_on / 2 / _SHARE[Priority.PAGE])


def priority_of(placement: str, asked: str | None) -> Priority:
    """The placement's, or what the caller asked for if that is lower: nobody can push in."""
    usual = _OF_PLACEMENT.get(placement, Priority.PAGE)
    return usual if asked is None else max(usual, PRIORITIES.get(asked, usual))


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """How the door holds its promise when too many come at once."""

    # Above it for nine of ten lists, lists are shed. It must lie below the promised 100, or what is
    # held is a latency at which nothing is in time: with 200, 2 lists a second were in time at
    # three times the peak of 173.
    target_ms: float = 60.0
    # Per caller and replica: several times what a replica can answer. A flood ends here; 0: none.
    calls_per_s: float = 2_000.0
    burst_calls: int = 4_000
    max_callers: int = 4_096  # whose rate is remembered; the one silent for longest is forgotten
    recommend_kb: int = 256  # a request for a list, ten times a large one
    # A batch of requests or events: 1,000 of 4 kB. In memory it may be 25 times as large.
    batch_kb: int = 4_096
    acceptors: int = 32  # calls taken in at once, see serving.accepting; 0: gRPC's own way

    def __post_init__(self) -> None:
        for name, holds, allowed in (
            ("target_ms", self.target_ms > 0, "above 0"),
            ("calls_per_s", self.calls_per_s >= 0, "at least 0"),
            ("burst_calls", self.burst_calls >= 1, "at least 1"),
            ("max_callers", self.max_callers >= 1, "at least 1"),
            ("recommend_kb", 1 <= self.recommend_kb <= 16_384, "1 to 16384"),
            ("batch_kb", 1 <= self.batch_kb <= 16_384, "1 to 16384"),
            ("acceptors", 0 <= self.acceptors <= 1_024, "0 to 1024"),
        ):
            if not holds:
                raise ValueError(f"{name}: must be {allowed}")


class AdaptiveLimit:
    """Counts the lists under way and says whether another may begin."""

    def __init__(self, *, target_s: float, least: int, most: int) -> None:
        if not 0 < least <= most:
            raise ValueError(f"a limit between {least} and {most}")
        self._target_s = target_s
        self._least, self._most = float(least), float(most)
        self.limit = float(most)  # the first slow window finds the right one
        self.under_way = 0
        self._peak = 0
        self._seconds: list[float] = []
        self._window_ends_s = -math.inf

    def has_room(self, priority: Priority) -> bool:
        """Whether a list of this priority may begin now."""
        return self.under_way < self.limit * _SHARE[priority]

    def enter(self) -> None:
        """A list begins."""
        self.under_way += 1
        if self.under_way > self._peak:
            self._peak = self.under_way

    def leave(self, now_s: float, seconds: float | None) -> None:
        """It ended, this long after it arrived; None: it was given up, and says nothing."""
        self.under_way -= 1
        if seconds is None:
            return
        self._seconds.append(seconds)
        if now_s >= self._window_ends_s and len(self._seconds) >= _LEAST_SAMPLES:
            self._learn()
            self._window_ends_s = now_s + _WINDOW_S

    def _learn(self) -> None:
        ordered = sorted(self._seconds)
        slow_s = ordered[int(_PUNCTUAL * len(ordered))]
        if slow_s > self._target_s:
            self.limit *= max(_STEEPEST, self._target_s / slow_s)
        elif self._peak >= self.limit * _IN_USE:
            self.limit += math.sqrt(self.limit) / 2.0
        self.limit = min(self._most, max(self._least, self.limit))
        self._seconds.clear()
        self._peak = self.under_way
