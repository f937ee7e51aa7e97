"""The local plan: who is simulated, and that the door is told where everyone listens."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serving.console.settings import ConsoleSettings
from serving.index_settings import IndexSettings
from serving.settings import BusinessSettings, FeedSettings, Settings
from serving.stack.folder import StateFolder
from serving.stack.local import BUSINESS_SYSTEMS, FEEDS, plan_local
from serving.stack.up import Planned, Prepared
from simulator import faults


def door_variables(folder: Path, settings: Settings) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """What the door is told, and the ports that the simulator was given."""
    given: dict[str, int] = {}

    def simulated(products: Path, ports: Mapping[str, int]) -> tuple[str, ...]:
        given.update(ports)
        return ("simulate", str(products))

    prepared = Prepared("r", 1, folder / "snapshot", folder / "data", "a world", "u1", 0)
    planned = plan_local(StateFolder(folder), settings, None, prepared, simulated)
    (door,) = [service for service in planned.services if service.name == "door"]
    return door.variables(), given


def a_plan(folder: Path, settings: Settings) -> Planned:
    prepared = Prepared("r", 1, folder / "snapshot", folder / "data", "a world", "u1", 0)
    return plan_local(StateFolder(folder), settings, None, prepared, lambda table, ports: ("sim",))


def test_the_door_is_told_of_every_simulated_system_and_feed(tmp_path: Path) -> None:
    variables, ports = door_variables(tmp_path, Settings())
    assert set(ports) == {*BUSINESS_SYSTEMS, *FEEDS, "control"}
    for name in BUSINESS_SYSTEMS:
        assert variables[f"VITRINE_BUSINESS__{name.upper()}"] == f"127.0.0.1:{ports[name]}"
    for name in FEEDS:
        assert variables[f"VITRINE_FEEDS__{name.upper()}"] == f"127.0.0.1:{ports[name]}"


def test_the_plan_and_the_simulator_mean_the_same_systems() -> None:
    assert BUSINESS_SYSTEMS == faults.SYSTEMS
    assert (*faults.FEEDS, *faults.CONTEXT_FEEDS) == FEEDS


def test_feeds_that_are_elsewhere_stay_there(tmp_path: Path) -> None:
    settings = replace(Settings(), feeds=FeedSettings(demand="planning:9000"))
    variables, _ = door_variables(tmp_path, settings)
    assert not [name for name in variables if name.startswith("VITRINE_FEEDS__")]


def test_parts_of_the_index_are_started_before_the_door_that_is_told_of_them(
    tmp_path: Path,
) -> None:
    planned = a_plan(tmp_path, replace(Settings(), index=IndexSettings(shards=3)))
    names = [service.name for service in planned.services]
    assert names.index("shard-0") < names.index("shard-2") < names.index("door")
    (door,) = [service for service in planned.services if service.name == "door"]
    told = door.variables()["VITRINE_INDEX__ADDRESSES"].split(",")
    assert [planned.addresses()[f"shard {at}"] for at in range(3)] == told
    assert len(set(told)) == 3
    for at, service in enumerate(planned.services[names.index("shard-0") :][:3]):
        assert told[at] in service.argv


def test_parts_that_are_elsewhere_are_shown_and_not_started(tmp_path: Path) -> None:
    about = IndexSettings(2, ("10.0.0.1:9300", "10.0.0.2:9300"))
    planned = a_plan(tmp_path, replace(Settings(), index=about))
    assert not [each for each in planned.services if each.name.startswith("shard")]
    assert planned.addresses()["shard 1"] == "10.0.0.2:9300"


def test_a_shop_with_its_own_systems_simulates_nothing(tmp_path: Path) -> None:
    settings = replace(Settings(), business=BusinessSettings(pricing="prices:9000"))
    variables, ports = door_variables(tmp_path, settings)
    assert ports == {}
    assert not [name for name in variables if name.startswith("VITRINE_FEEDS__")]


def test_the_console_asks_the_doors_of_this_very_run_and_is_shown_where_it_listens(
    tmp_path: Path,
) -> None:
    console = ConsoleSettings(port=12_345)
    settings = replace(Settings(), console=console)
    planned = a_plan(tmp_path, settings)
    (service,) = [service for service in planned.services if service.name == "console"]
    variables = service.variables()
    assert variables["VITRINE_CONSOLE__PORT"] == "12345"
    assert planned.door == f"127.0.0.1:{variables['VITRINE_DOOR__PORT']}"
    assert planned.addresses()["console"] == "http://127.0.0.1:12345"
    assert not service.is_ready(1)


def test_a_stack_without_a_console_starts_none(tmp_path: Path) -> None:
    settings = replace(Settings(), console=ConsoleSettings(is_on=False))
    planned = a_plan(tmp_path, settings)
    assert "console" not in planned.addresses()
    assert "console" not in [service.name for service in planned.services]
