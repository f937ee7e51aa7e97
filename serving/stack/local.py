"""The services of one machine: the shop's own systems, Triton, and the door.

What the settings place elsewhere (Triton, the shop's systems) is not started here. The simulated
systems are given as an argv, because serving does not know the simulator.
"""

import itertools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.console.invitation import ADDRESS as CONSOLE
from serving.settings import BusinessSettings, DoorSettings, FeedSettings, Settings, TritonSettings
from serving.stack.console import console_address, console_port, console_service
from serving.stack.folder import StateFolder
from serving.stack.ports import LOOPBACK, free_port, is_listening
from serving.stack.shards import shard_services
from serving.stack.supervisor import Service
from serving.stack.up import Planned, Prepared
from serving.triton.status import STATUS_FILE, read_status
from serving.writer_settings import WriterSettings

_DOOR_FILE = "door.json"  # in run/; written when the door is open
_WRITER_FILE = "writer.json"  # likewise, when the writer serves
BUSINESS_SYSTEMS = ("inventory", "pricing", "promotions", "costs", "supply")
# Simulated together with the systems.
FEEDS = ("competitors", "demand", "calendar", "weather", "trends")


SimulatedSystems = Callable[[Path, Mapping[str, int]], tuple[str, ...]]
"""The argv that serves a products table on these ports."""


def plan_local(
    folder: StateFolder,
    settings: Settings,
    settings_file: Path | None,
    prepared: Prepared,
    simulated: SimulatedSystems,
) -> Planned:
    """Everything that has to run here for `settings`."""
    services: list[Service] = []
    variables: dict[str, str] = {
        "VITRINE_STATE_DIR": str(folder.root.absolute()),
        "VITRINE_CLOCK_OFFSET_MS": str(settings.clock_offset_ms or prepared.clock_offset_ms),
    }
    addresses: dict[str, str] = {}
    if settings.business == BusinessSettings():
        ports = {name: free_port() for name in (*BUSINESS_SYSTEMS, *FEEDS, "control")}
        services.append(_business(prepared, ports, simulated))
        addresses |= {name: f"{LOOPBACK}:{port}" for name, port in ports.items()}
        for name in BUSINESS_SYSTEMS:
            variables[f"VITRINE_BUSINESS__{name.upper()}"] = addresses[name]
        if settings.feeds == FeedSettings():
            variables |= {f"VITRINE_FEEDS__{name.upper()}": addresses[name] for name in FEEDS}
    has_triton = settings.triton == TritonSettings()
    if has_triton:
        services.append(_triton(folder, prepared.version))
    door_port = settings.door.port
    if door_port in (0, DoorSettings().port):  # a port that was asked for by number is not changed
        door_port = free_port(DoorSettings().port)
        variables["VITRINE_DOOR__PORT"] = str(door_port)
    if settings.door.metrics_port == DoorSettings().metrics_port:
        variables["VITRINE_DOOR__METRICS_PORT"] = str(free_port(settings.door.metrics_port))

    def variables_now() -> Mapping[str, str]:
        status = read_status(folder.run / STATUS_FILE) if has_triton else None
        return variables | ({"VITRINE_TRITON__ADDRESS": status.http_address} if status else {})

    variables |= _descriptions(settings, prepared, folder)
    if "VITRINE_DESCRIBE__PORT" in variables:
        addresses["descriptions"] = f"{LOOPBACK}:{variables['VITRINE_DESCRIBE__PORT']}"
    if settings.writer.start and has_writer_model(folder, settings):
        if settings.writer.address == WriterSettings().address:
            port = free_port(settings.writer.port)
            variables["VITRINE_WRITER__ADDRESS"] = f"{LOOPBACK}:{port}"
        addresses["writer"] = variables.get("VITRINE_WRITER__ADDRESS", settings.writer.address)
        writer = [_writer(folder, settings_file, variables_now)]
    else:
        writer = []
    shards, shard_addresses = shard_services(folder, settings, settings_file, variables_now)
    if shards:
        variables["VITRINE_INDEX__ADDRESSES"] = ",".join(shard_addresses.values())
    addresses |= shard_addresses
    services += [*shards, _door(folder, settings_file, variables_now), *writer]
    if settings.console.is_on:
        port = console_port(settings)
        services.append(console_service(folder, settings_file, port, prepared, variables))
        addresses[CONSOLE] = console_address(settings, port)

    def addresses_now() -> dict[str, str]:
        return addresses | _triton_addresses(folder, has_triton) | _door_metrics(folder)

    return Planned(tuple(services), f"{LOOPBACK}:{door_port}", addresses_now)


def _descriptions(settings: Settings, prepared: Prepared, folder: StateFolder) -> dict[str, str]:
    """Settings by which the shop's own product data are described; none if it cannot be."""
    about = settings.describe
    if about.is_on or not (folder.root / about.brand).exists():
        return {"VITRINE_DESCRIBE__PORT": str(free_port(about.port))} if about.is_on else {}
    variables = {
        "VITRINE_DESCRIBE__IS_ON": "true",
        "VITRINE_DESCRIBE__SNAPSHOT": str(prepared.snapshot_folder),
        "VITRINE_DESCRIBE__PORT": str(free_port(about.port)),
    }
    specifications = prepared.data_folder / "specifications.parquet"
    if specifications.exists():
        variables["VITRINE_DESCRIBE__SPECIFICATIONS"] = str(specifications)
    return variables


def _business(prepared: Prepared, ports: Mapping[str, int], simulated: SimulatedSystems) -> Service:
    products = prepared.snapshot_folder / "products.parquet"
    return Service(
        "backends",
        simulated(products, ports),
        lambda pid: is_listening(ports["control"]),  # the last one they open
        ready_within_s=30.0,
        stop_within_s=3.0,
    )


def _triton(folder: StateFolder, version: int) -> Service:
    def is_ready(pid: int) -> bool:
        status = read_status(folder.run / STATUS_FILE)
        return status is not None and status.supervisor_pid == pid and status.is_ready(version)

    return Service(
        "triton",
        (sys.executable, "-m", "serving.triton.server", "--state-dir", str(folder.root)),
        is_ready,
        ready_within_s=60.0,
        stop_within_s=8.0,
    )


def _door(
    folder: StateFolder, settings_file: Path | None, variables: Callable[[], Mapping[str, str]]
) -> Service:
    ports_file = folder.run / _DOOR_FILE
    named = ("--settings", str(settings_file)) if settings_file else ()
    return Service(
        "door",
        (sys.executable, "-m", "serving.app", "--ports-file", str(ports_file), *named),
        lambda pid: _read_ports(ports_file).get("pid") == pid,
        ready_within_s=90.0,
        stop_within_s=12.0,
        variables=variables,
    )


def has_writer_model(folder: StateFolder, settings: Settings) -> bool:
    """Whether there is a language model to start."""
    return (folder.root / settings.writer.model_dir / "config.json").exists()


def _writer(
    folder: StateFolder, settings_file: Path | None, variables: Callable[[], Mapping[str, str]]
) -> Service:
    """Nothing waits for it: lists are answered from the moment the door is open."""
    ports_file = folder.run / _WRITER_FILE
    named = ("--settings", str(settings_file)) if settings_file else ()
    return Service(
        "writer",
        (sys.executable, "-m", "serving.writer_app", "--ports-file", str(ports_file), *named),
        lambda pid: _read_ports(ports_file).get("pid") == pid,
        ready_within_s=300.0,
        stop_within_s=12.0,
        variables=variables,
        is_waited_for=False,
    )


def _triton_addresses(folder: StateFolder, has_triton: bool) -> dict[str, str]:
    status = read_status(folder.run / STATUS_FILE) if has_triton else None
    if status is None:
        return {}
    return {
        "triton": status.http_address,
        "triton grpc": status.grpc_address,
        "triton metrics": f"{status.metrics_address}/metrics",
    }


def _door_metrics(folder: StateFolder) -> dict[str, str]:
    """Of each replica, as far as they have told."""
    addresses: dict[str, str] = {}
    for rank in itertools.count():
        told = folder.metrics_address(rank)
        if not told.exists():
            return addresses
        name = "metrics" if rank == 0 else f"metrics {rank + 1}"
        addresses[name] = f"{told.read_text()}/metrics"
    return addresses


def door_speaks_tls(folder: StateFolder) -> bool:
    """Whether the door that was opened last does."""
    return bool(_read_ports(folder.run / _DOOR_FILE).get("tls"))


def _read_ports(file: Path) -> dict[str, object]:
    try:
        raw: dict[str, object] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return raw
