"""The console's service: its process, the port it gets, and how one sees that it can be asked."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from serving.console.settings import ConsoleSettings
from serving.settings import Settings
from serving.stack.folder import StateFolder
from serving.stack.ports import LOOPBACK, free_port
from serving.stack.supervisor import Service
from serving.stack.up import Prepared

_READY_FILE = "console.json"  # in run/; written when the page can be asked for


def console_port(settings: Settings) -> int:
    """The port that was asked for by number, else one that is free."""
    named, usual = settings.console.port, ConsoleSettings().port
    return free_port(usual) if named in (0, usual) else named


def console_address(settings: Settings, port: int) -> str:
    """Where people on this machine find it."""
    host = settings.console.host
    return f"http://{LOOPBACK if host in ('0.0.0.0', '::', '') else host}:{port}"


def console_service(
    folder: StateFolder,
    settings_file: Path | None,
    port: int,
    prepared: Prepared,
    variables: Mapping[str, str],
) -> Service:
    """Ready once its own process has said that it listens."""
    ready_file = folder.run / _READY_FILE
    named = ("--settings", str(settings_file)) if settings_file else ()
    example = ("--example-shopper", prepared.example_shopper)
    argv = (sys.executable, "-m", "serving.console", "--ready-file", str(ready_file))
    return Service(
        "console",
        (*argv, *example, *named),
        lambda pid: _told_by(ready_file) == pid,
        ready_within_s=30.0,
        stop_within_s=5.0,
        variables=lambda: {**variables, "VITRINE_CONSOLE__PORT": str(port)},
    )


def _told_by(file: Path) -> int | None:
    """The process that wrote the file last."""
    try:
        told: dict[str, int] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return told.get("pid")
