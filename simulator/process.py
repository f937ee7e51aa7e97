"""Process: how simulated systems live as one: it tells its ports, ends when told or orphaned."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from shop.errors import DependencyUnavailable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Be sent SIGTERM when the parent ends (Linux), however it ends; nothing is left behind.

    "Parent" is the thread that started this process. Exits at once if it is gone already.
    """
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        number = ctypes.get_errno()
        raise DependencyUnavailable("prctl", os.strerror(number))
    if os.getppid() != parent:
        sys.exit(0)


def tell_ports(ports: dict[str, int], ports_file: Path | None) -> None:
    """Print the ports as one line of JSON, and write them so that no reader sees half a file."""
    line = json.dumps(ports)
    if ports_file is not None:
        ports_file.parent.mkdir(parents=True, exist_ok=True)
        part = ports_file.with_name(f"{ports_file.name}.part")
        part.write_text(f"{line}\n")
        os.replace(part, ports_file)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def until_told_to_end() -> None:
    """Returns on SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
