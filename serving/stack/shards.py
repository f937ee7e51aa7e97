"""Shards of one machine: the processes that hold the index's parts, and what they say of it."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.adapters.key_files import read_key
from serving.adapters.shard_wire import shard_token
from serving.settings import Settings
from serving.stack.folder import StackState, StateFolder
from serving.stack.ports import LOOPBACK, free_port
from serving.stack.supervisor import Service
from shop.errors import SettingsRejected

ADDRESS = "shard"  # of a stack's addresses, with its number behind it
_WITHIN_S = 2.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class ShardShown:
    """One shard as `vitrine status` shows it."""

    address: str
    answers: bool
    products: int = 0  # of the release that the stack serves; 0: it does not hold it
    held: tuple[str, ...] = ()


def shard_services(
    folder: StateFolder,
    settings: Settings,
    settings_file: Path | None,
    variables: Callable[[], Mapping[str, str]],
) -> tuple[list[Service], dict[str, str]]:
    """The shards to start here and their addresses; none where settings say where they are."""
    about = settings.index
    if about.addresses:
        return [], {f"{ADDRESS} {at}": each for at, each in enumerate(about.addresses)}
    addresses = {f"{ADDRESS} {at}": f"{LOOPBACK}:{free_port()}" for at in range(about.shards)}
    services = [
        _service(folder, settings_file, at, address, variables)
        for at, address in enumerate(addresses.values())
    ]
    return services, addresses


def _service(
    folder: StateFolder,
    settings_file: Path | None,
    number: int,
    address: str,
    variables: Callable[[], Mapping[str, str]],
) -> Service:
    ready_file = folder.run / f"shard-{number}.json"
    named = ("--settings", str(settings_file)) if settings_file else ()
    argv = (
        *(sys.executable, "-m", "serving.shard_app", "--number", str(number)),
        *("--listen", address, "--ready-file", str(ready_file), *named),
    )
    return Service(
        f"{ADDRESS}-{number}",
        argv,
        lambda pid: _read(ready_file).get("pid") == pid,
        ready_within_s=120.0,
        stop_within_s=5.0,
        variables=variables,
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return told


def shards_shown(folder: StateFolder, state: StackState) -> list[ShardShown]:
    """Every shard of a stack, asked now; none without shards."""
    addresses = [
        address for name, address in state.addresses.items() if name.startswith(f"{ADDRESS} ")
    ]
    if not addresses:
        return []
    try:
        token = shard_token(read_key(folder.keys / "release.key"))
    except SettingsRejected:
        return [ShardShown(address, answers=False) for address in addresses]
    with ThreadPoolExecutor(len(addresses)) as asking:
        return list(asking.map(lambda each: _shown(each, token, state.release), addresses))


def _shown(address: str, token: str, release: str) -> ShardShown:
    request = urllib.request.Request(f"http://{address}/state")
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with _OPENER.open(request, timeout=_WITHIN_S) as answer:
            held: dict[str, Any] = json.loads(answer.read())["held"]
            part = held.get(release, {}).get("products")
            products = 0 if part is None else part["last"] - part["first"] - (part["first"] == 0)
            return ShardShown(address, True, products, tuple(sorted(held)))
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError):
        return ShardShown(address, answers=False)


def shards_line(shards: list[ShardShown], release: str) -> str:
    """One line for a person."""
    holding = [each for each in shards if each.products]
    products = sum(each.products for each in holding)
    lost = [each.address for each in shards if not each.products]
    lacking = f"; LOST: {', '.join(lost)}" if lost else ""
    return (
        f"shards         {len(holding)} of {len(shards)} hold {release}, {products:,} products"
        f"{lacking}"
    )
