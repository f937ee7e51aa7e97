"""Token buckets: rate, burst, and memory that has an end."""

import pytest

from serving.guard import peer_host
from serving.rate_limits import RateLimits


def test_a_burst_passes_and_then_the_rate() -> None:
    limits = RateLimits(calls_per_s=10.0, burst=5.0, max_callers=10)
    assert [limits.wait_s("ada", 0.0) for _ in range(5)] == [0.0] * 5
    assert limits.wait_s("ada", 0.0) == pytest.approx(0.1)
    passed = sum(limits.wait_s("ada", step / 100.0) == 0.0 for step in range(1, 1_001))
    assert passed == pytest.approx(100, abs=1)


def test_one_callers_flood_is_nobody_elses() -> None:
    limits = RateLimits(calls_per_s=1.0, burst=1.0, max_callers=10)
    for _ in range(100):
        limits.wait_s("ada", 0.0)
    assert limits.wait_s("ada", 0.0) > 0.0
    assert limits.wait_s("bob", 0.0) == 0.0


def test_a_caller_with_a_rate_of_its_own_is_held_to_that() -> None:
    limits = RateLimits(calls_per_s=1_000.0, burst=1_000.0, max_callers=10)
    passed = sum(limits.wait_s("ada", 0.0, 2.0) == 0.0 for _ in range(100))
    assert passed == 5


def test_any_number_of_callers_takes_bounded_memory_and_the_busy_one_is_not_forgotten() -> None:
    limits = RateLimits(calls_per_s=1.0, burst=1.0, max_callers=100)
    limits.wait_s("ada", 0.0)
    for stranger in range(10_000):
        limits.wait_s(f"stranger {stranger}", 0.0)
        assert limits.wait_s("ada", 0.0) > 0.0
    assert len(limits) == 100


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:51234", "ipv4:10.0.0.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:51234", "ipv6:2001:db8:1:2"),
        ("ipv6:[::1]:51234", "ipv6:::1"),
        ("unix:/run/x", "unix"),
    ],
)
def test_a_machine_is_one_caller_whatever_its_port(peer: str, host: str) -> None:
    assert peer_host(peer) == host
