"""Growth with the calls is found; releases hold only if nobody failed and all went as it should."""

from dataclasses import replace

import numpy as np
import pytest

from loadtest.benchmarks import releases, soak, storm
from loadtest.resources import (
    ALL,
    NOT_OURS,
    Sampled,
    Use,
    gained_descriptors,
    growth_mb,
    growth_of_descriptors,
)
from loadtest.rolling import Change
from tests.unit.load_logs import a_log

CALLS, STEP = 100_000, 1_000


def samples(
    *, mb_per_100_000: float = 0.0, descriptors: int = 0, replaced: bool = False
) -> Sampled:
    """A door that grows so, and a simulator that grows a hundred times as much."""
    found = Sampled()
    for calls in range(0, CALLS + 1, STEP):
        grown = mb_per_100_000 * calls / 100_000
        warming = 50.0 * max(0.0, 1.0 - calls / (0.1 * CALLS))
        use = Use(round((400.0 + grown - warming) * 1e6), 0, 100 + descriptors * calls // CALLS)
        found.calls.append(calls)
        found.seconds.append(calls / 100.0)
        found.uses.append({"door": use, NOT_OURS: Use(round(100 * grown * 1e6)), ALL: use})
        found.pids.append(frozenset({2 if replaced and calls > CALLS / 2 else 1}))
    return found


def sent(*, failed: int = 0) -> soak.Sent:
    found = soak.Sent(lists=CALLS)
    found.codes.update({"OK": CALLS, "UNAVAILABLE": failed})
    return found


def soaked(sampled: Sampled, *, failed: int = 0) -> bool:
    return soak.result_of(sampled, sent(failed=failed), 100.0, asked=CALLS).holds


def test_growth_is_per_hundred_thousand_calls_whatever_was_before_the_warm_up() -> None:
    warm = samples(mb_per_100_000=3.0, descriptors=9).after(20_000)
    assert warm.calls[0] == 20_000
    assert growth_mb(warm, ALL) == pytest.approx(3.0, abs=0.01)
    assert growth_of_descriptors(warm, ALL) == pytest.approx(9.0, abs=0.5)
    assert gained_descriptors(warm, ALL) == pytest.approx(5.0, abs=1.0)
    assert np.isnan(growth_mb(warm.after(CALLS), ALL))  # one sample has no slope


def test_a_soak_in_which_nothing_grows_holds() -> None:
    assert soaked(samples(mb_per_100_000=0.5))


@pytest.mark.parametrize(
    "sampled",
    [
        samples(mb_per_100_000=1.5),
        samples(descriptors=20),
        samples(replaced=True),
    ],
    ids=["memory", "descriptors", "a process that was started again"],
)
def test_a_soak_in_which_something_grows_does_not(sampled: Sampled) -> None:
    assert not soaked(sampled)


def test_a_soak_with_a_failed_call_does_not_hold() -> None:
    assert not soaked(samples(), failed=1)


GOOD = Change("promote r2", True, "r2", 2.0, "", True)
REFUSED = Change("promote r3", False, "r2", 0.1, "damaged", True)


def rolled(*changes: Change, failed: int = 0, under_load: bool = True) -> bool:
    log = a_log([5.0] * 100, ["UNAVAILABLE"] * failed + ["OK"] * (100 - failed))
    return releases.result_of(log, list(changes), asked=100, under_load=under_load).holds


def test_releases_that_everybody_took_up_and_nobody_noticed_hold() -> None:
    assert rolled(GOOD, REFUSED)


def test_a_failed_call_or_a_change_that_went_wrong_does_not_hold() -> None:
    assert not rolled(GOOD, REFUSED, failed=1)
    assert not rolled(replace(GOOD, as_it_should=False), REFUSED)
    assert not rolled(GOOD, replace(REFUSED, as_it_should=False))
    assert not rolled(GOOD, REFUSED, under_load=False)


def weather(goodput_per_s: float, *, untyped: int = 0) -> storm.Weather:
    return storm.Weather("hasty", goodput_per_s, 0.6, 3.0, untyped)


def test_a_storm_holds_if_what_is_answered_in_time_does() -> None:
    calm = weather(95.0)
    assert storm.result_of(100.0, [calm, weather(91.0)]).holds
    assert not storm.result_of(100.0, [calm, weather(60.0)]).holds
    assert not storm.result_of(100.0, [calm, weather(95.0, untyped=1)]).holds
    assert not storm.result_of(0.0, [weather(0.0)]).holds
