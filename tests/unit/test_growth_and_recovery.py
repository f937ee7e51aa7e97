"""The law of growth that fits figures, and the second from which all is well again."""

import math

import numpy as np
import pytest

from loadtest.benchmarks.growth import fitted
from loadtest.benchmarks.overload import good, seconds_until_normal
from tests.unit.load_logs import a_log


def test_a_power_law_is_found_as_it_was_made() -> None:
    sizes = [100.0, 200.0, 500.0, 2_000.0]
    law = fitted(sizes, [3.0 * size**0.5 for size in sizes])
    assert (law.factor, law.power, law.r2) == pytest.approx((3.0, 0.5, 1.0))
    assert law.at(10_000.0) == pytest.approx(300.0)


def test_what_does_not_grow_has_the_power_zero() -> None:
    assert fitted([1.0, 10.0, 100.0], [5.0, 5.0, 5.0]).power == pytest.approx(0.0)


def test_noise_lowers_what_the_law_explains() -> None:
    assert fitted([1.0, 2.0, 4.0, 8.0], [1.0, 9.0, 2.0, 7.0]).r2 < 0.7


@pytest.mark.parametrize(("sizes", "figures"), [([1.0], [1.0]), ([1.0, 0.0], [1.0, 2.0])])
def test_too_little_to_fit_is_refused(sizes: list[float], figures: list[float]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        fitted(sizes, figures)


def seconds(*latency_ms: float) -> object:
    """A log of ten calls in each second, all of this latency."""
    each = [ms for ms in latency_ms for _ in range(10)]
    return a_log(each, at_s=[n / 10 for n in range(len(each))])


@pytest.mark.parametrize(
    ("latency_ms", "after_s", "recovers_in_s"),
    [
        ((10, 900, 900, 900, 10, 10), 3.0, 1.0),
        ((10, 900, 900, 10, 10, 10), 3.0, 0.0),
        ((10, 900, 900, 10, 900, 10), 3.0, 2.0),  # a relapse is no recovery
        ((10, 900, 900, 900, 900, 900), 3.0, math.inf),
        ((10, 900), 3.0, math.inf),  # nothing was sent any more
    ],
)
def test_normal_is_the_second_from_which_all_are(
    latency_ms: tuple[float, ...], after_s: float, recovers_in_s: float
) -> None:
    assert seconds_until_normal(seconds(*latency_ms), after_s) == recovers_in_s  # type: ignore[arg-type]


def test_good_is_answered_within_the_promise() -> None:
    log = a_log([100.0, 100.1, 5.0], ["OK", "OK", "INTERNAL"])
    assert np.array_equal(good(log), [True, False, False])
