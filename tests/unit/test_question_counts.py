"""What the metrics say of the questions to the shop's systems, which reasons alone cannot tell."""

from serving.recommend.settings import OfferSettings
from serving.telemetry import Telemetry
from tests.unit.test_lookups import LOST, Shelf, a_shelf


def shown(telemetry: Telemetry, name: str, system: str) -> float | None:
    return telemetry.registry.get_sample_value(name, {"system": system})


def watched(shelf: Shelf) -> Telemetry:
    telemetry = Telemetry()
    telemetry.watch_offers(shelf.cache)
    return telemetry


def test_before_anything_is_served_no_system_is_named() -> None:
    assert shown(Telemetry(), "vitrine_questions_total", "supply") is None


def test_each_system_s_questions_failures_and_second_calls_are_counted() -> None:
    shelf = a_shelf()
    telemetry = watched(shelf)
    for _ in range(12):  # which earn one second call
        shelf.look_up()
        shelf.time.pass_ms(10_001)
    shelf.supply.refusals = 2
    for _ in range(3):
        shelf.look_up()
        shelf.time.pass_ms(10_001)
    assert shown(telemetry, "vitrine_questions_total", "supply") == 15
    assert shown(telemetry, "vitrine_question_failures_total", "supply") == 1
    assert shown(telemetry, "vitrine_second_calls_total", "supply") == 1
    assert shown(telemetry, "vitrine_question_failures_total", "cost") == 0
    assert shown(telemetry, "vitrine_system_left_alone", "supply") == 0


def test_a_system_that_keeps_failing_is_shown_as_left_alone_until_it_answers() -> None:
    shelf = a_shelf(OfferSettings(breaker_failures=2, breaker_open_ms=1_000))
    telemetry = watched(shelf)
    shelf.costs.failure = LOST
    for _ in range(3):
        shelf.look_up()
    assert shown(telemetry, "vitrine_system_left_alone", "cost") == 1
    assert shown(telemetry, "vitrine_system_left_alone", "price") == 0
    shelf.costs.failure = None
    shelf.time.pass_ms(1_001)
    shelf.look_up()
    assert shown(telemetry, "vitrine_system_left_alone", "cost") == 0


def test_the_next_release_s_cache_takes_the_place_of_the_one_before() -> None:
    before, after = a_shelf(), a_shelf()
    before.look_up()
    telemetry = watched(before)
    assert shown(telemetry, "vitrine_questions_total", "price") == 1
    telemetry.watch_offers(after.cache)
    assert shown(telemetry, "vitrine_questions_total", "price") == 0
