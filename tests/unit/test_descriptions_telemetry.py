"""What the descriptions' door tells Prometheus."""

import asyncio

from serving.descriptions_telemetry import DescriptionsTelemetry
from shop.errors import DependencyUnavailable


def _of(telemetry: DescriptionsTelemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"vitrine_descriptions_{name}", labels)


async def _seven() -> int:
    return 7


async def _there() -> str:
    return "a model"


async def _away() -> int:
    raise DependencyUnavailable("versions", "no connection")


def test_calls_are_counted_by_method_and_code() -> None:
    telemetry = DescriptionsTelemetry()
    telemetry.finished("GetDescription", "NOT_FOUND", 0.1)
    assert _of(telemetry, "calls_total", method="GetDescription", code="NOT_FOUND") == 1
    assert _of(telemetry, "calls_total", method="GetDescription", code="OK") == 0


def test_a_method_that_is_none_makes_no_series_of_its_own() -> None:
    telemetry = DescriptionsTelemetry()
    telemetry.finished("DropTables", "UNIMPLEMENTED", 0.0)
    assert _of(telemetry, "calls_total", method="DropTables", code="UNIMPLEMENTED") is None
    assert _of(telemetry, "calls_total", method="other", code="UNIMPLEMENTED") == 1


def test_a_look_tells_the_queue_and_who_answers() -> None:
    telemetry = DescriptionsTelemetry()
    asyncio.run(telemetry.look(_seven, _there))
    assert _of(telemetry, "waiting") == 7
    assert _of(telemetry, "store_answers") == _of(telemetry, "writer_answers") == 1


def test_who_is_away_is_a_figure_and_no_error() -> None:
    telemetry = DescriptionsTelemetry()
    asyncio.run(telemetry.look(_seven, _there))
    asyncio.run(telemetry.look(_away, _away))
    assert _of(telemetry, "store_answers") == _of(telemetry, "writer_answers") == 0
    assert _of(telemetry, "waiting") == 7  # what was known last
