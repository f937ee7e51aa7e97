"""The adaptive limit, held against a simulated server whose capacity is known."""

import heapq
from dataclasses import dataclass, field

import numpy as np
import pytest

from serving.admission import (
    AdaptiveLimit,
    AdmissionSettings,
    Priority,
    least_limit,
    priority_of,
)
from serving.settings import DoorSettings

TARGET_S = 0.06


@dataclass
class Simulated:
    """One server that works on calls one after another, as one event loop does."""

    limit: AdaptiveLimit
    service_s: float
    answered_s: list[float] = field(default_factory=list)
    shed: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))
    offered: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))
    _free_at_s: float = 0.0
    _under_way: list[tuple[float, float]] = field(default_factory=list)

    def run(
        self, rate: float, *, from_s: float, for_s: float, mix: tuple[float, ...] = (1.0,)
    ) -> None:
        """Poisson arrivals; `mix` is each priority's part of them."""
        rng = np.random.default_rng(7)
        at_s, cumulated = from_s, np.cumsum(mix)[:-1]
        while (at_s := at_s + rng.exponential(1.0 / rate)) < from_s + for_s:
            self._finish_until(at_s)
            priority = Priority(int(np.searchsorted(cumulated, rng.random())))
            self.offered[priority] += 1
            if not self.limit.has_room(priority):
                self.shed[priority] += 1
                continue
            self.limit.enter()
            self._free_at_s = max(self._free_at_s, at_s) + rng.exponential(self.service_s)
            heapq.heappush(self._under_way, (self._free_at_s, at_s))
        self._finish_until(float("inf"))

    def _finish_until(self, now_s: float) -> None:
        while self._under_way and self._under_way[0][0] <= now_s:
            done_s, began_s = heapq.heappop(self._under_way)
            self.answered_s.append(done_s - began_s)
            self.limit.leave(done_s, done_s - began_s)


def a_limit(least: int = 8, most: int = 72) -> AdaptiveLimit:
    return AdaptiveLimit(target_s=TARGET_S, least=least, most=most)


@pytest.mark.parametrize("overload", [2.0, 3.0, 6.0])
def test_under_overload_the_admitted_stay_near_the_target_and_goodput_near_the_peak(
    overload: float,
) -> None:
    server = Simulated(a_limit(), service_s=0.004)
    server.run(overload * 250.0, from_s=0.0, for_s=2.0)
    server.answered_s.clear()
    server.run(overload * 250.0, from_s=2.0, for_s=3.0)
    assert len(server.answered_s) / 3.0 > 0.9 * 250.0
    assert np.percentile(server.answered_s, 90) < 1.25 * TARGET_S
    assert np.percentile(server.answered_s, 99) < 2.0 * TARGET_S


PROMISED_S = 0.1


def test_by_its_own_settings_what_a_flood_leaves_is_in_time() -> None:
    at_once = DoorSettings().concurrent_calls
    limit = AdaptiveLimit(
        target_s=AdmissionSettings().target_ms / 1000.0, least=least_limit(at_once), most=72
    )
    server = Simulated(limit, service_s=1.0 / 92.0)  # half of two cores' lists
    server.run(3.0 * 92.0, from_s=0.0, for_s=2.0)
    server.answered_s.clear()
    server.run(3.0 * 92.0, from_s=2.0, for_s=10.0)
    in_time = np.count_nonzero(np.array(server.answered_s) <= PROMISED_S)
    assert in_time / 10.0 > 0.75 * 92.0  # a target of 200 ms leaves a tenth of it


def test_nothing_is_shed_below_capacity() -> None:
    server = Simulated(a_limit(), service_s=0.004)
    server.run(150.0, from_s=0.0, for_s=10.0)
    assert sum(server.shed.values()) == 0


def test_the_limit_follows_a_server_that_becomes_slower_and_recovers() -> None:
    server = Simulated(a_limit(), service_s=0.002)
    server.run(900.0, from_s=0.0, for_s=2.0)
    quick = server.limit.limit
    server.service_s = 0.006
    server.run(900.0, from_s=10.0, for_s=2.0)
    slow = server.limit.limit
    server.service_s = 0.002
    server.run(900.0, from_s=20.0, for_s=4.0)
    assert slow < 0.6 * quick
    assert server.limit.limit > 0.7 * quick


def test_what_is_less_urgent_is_shed_first() -> None:
    server = Simulated(a_limit(), service_s=0.004)
    server.run(2.0 * 250.0, from_s=0.0, for_s=4.0, mix=(0.3, 0.3, 0.3, 0.1))
    lost = [server.shed[each] / server.offered[each] for each in Priority]
    assert lost[Priority.PRODUCT] < 0.1
    assert 2.0 * lost[Priority.PRODUCT] < lost[Priority.PAGE] < lost[Priority.BATCH]
    assert lost[Priority.BATCH] > 0.7
    assert lost[Priority.SHADOW] > 0.9


def test_a_slow_dependency_does_not_take_the_limit_below_what_is_worked_on_at_once() -> None:
    limit = a_limit(least=8)
    for call in range(1_000):
        limit.enter()
        limit.leave(call * 0.1, 5.0)
    assert limit.limit == 8.0
    assert limit.under_way == 0


def test_a_call_that_was_given_up_frees_its_place_and_teaches_nothing() -> None:
    limit = a_limit()
    for call in range(100):
        limit.enter()
        limit.leave(float(call), None)
    assert limit.under_way == 0
    assert limit.limit == 72.0


def test_a_limit_that_nobody_needs_does_not_grow() -> None:
    limit = a_limit()
    limit.limit = 20.0
    for call in range(200):
        limit.enter()
        limit.leave(call * 0.1, 0.005)
    assert limit.limit == 20.0


@pytest.mark.parametrize(
    ("placement", "asked", "priority"),
    [
        ("product", None, Priority.PRODUCT),
        ("cart", None, Priority.PRODUCT),
        ("search", None, Priority.PAGE),
        ("", None, Priority.PAGE),
        ("email", None, Priority.BATCH),
        ("home", "shadow", Priority.SHADOW),
        ("email", "product", Priority.BATCH),  # nobody can push in
    ],
)
def test_priority_is_the_placements_unless_a_lower_one_is_asked_for(
    placement: str, asked: str | None, priority: Priority
) -> None:
    assert priority_of(placement, asked) is priority


@pytest.mark.parametrize(
    "name", ["target_ms", "burst_calls", "max_callers", "recommend_kb", "batch_kb"]
)
def test_settings_that_cannot_be_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        AdmissionSettings(**{name: 0})
