"""`vitrine token`: makes, lists and revokes what callers show to a door that asks for tokens."""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from serving.adapters.token_files import add, listed, remove
from serving.callers import Scope, new_caller
from serving.settings import Settings
from serving.settings_reader import load_settings
from shop.errors import SettingsRejected


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine token`."""
    parser.add_argument(
        "verb",
        choices=("create", "list", "revoke"),
        metavar="create|list|revoke",
        help="create: a new token, shown once; list: who has one; revoke: a running door refuses"
        " it within two seconds",
    )
    parser.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="whose it is; the audit log says so"
    )
    parser.add_argument(
        "--scope",
        action="append",
        default=[],
        choices=[scope.value for scope in Scope],
        help="what a new token is for; may be given several times",
    )
    parser.add_argument("--calls-per-s", type=float, metavar="N", help="default: the settings'")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, not to a screen")
    parser.add_argument("--json", action="store_true", help="list: one JSON object")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")


def run(arguments: argparse.Namespace) -> int:
    """Changes the file; every door that reads it follows."""
    settings = load_settings(arguments.settings)
    file = _file(settings, arguments.state_dir)
    match arguments.verb:
        case "create":
            _create(arguments, file)
        case "list":
            _list(file, as_json=arguments.json)
        case _:
            caller = remove(file, arguments.name)
            sys.stdout.write(f"revoked: {caller.name} ({caller.id})\n")
    return 0


def _file(settings: Settings, state_dir: Path) -> Path:
    named = settings.door.tokens_file
    return Path(named) if named else state_dir / "keys" / "callers.json"


def _create(arguments: argparse.Namespace, file: Path) -> None:
    scopes = frozenset(Scope(each) for each in arguments.scope)
    try:
        caller, token = new_caller(
            arguments.name,
            scopes,
            now_ms=time.time_ns() // 1_000_000,
            calls_per_s=arguments.calls_per_s,
        )
    except ValueError as error:
        raise SettingsRejected(str(error)) from error
    if arguments.out is None:
        add(file, caller)
        sys.stdout.write(f"{token}\n")
        sys.stderr.write(f"{caller.name} ({caller.id}) is in {file}; this is shown only now\n")
        return
    out: Path = arguments.out
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsRejected(f"--out {out}: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{token}\n")
    try:
        add(file, caller)
    except SettingsRejected:
        out.unlink()
        raise
    sys.stdout.write(f"{caller.name} ({caller.id}) has a token in {out}\n")


def _list(file: Path, *, as_json: bool) -> None:
    callers = listed(file)
    if as_json:
        shown = [
            {
                "id": caller.id,
                "name": caller.name,
                "scopes": sorted(caller.scopes),
                "created_ms": caller.created_ms,
                "calls_per_s": caller.calls_per_s,
            }
            for caller in callers
        ]
        sys.stdout.write(json.dumps({"file": str(file), "callers": shown}, indent=2) + "\n")
        return
    table = Table("name", "id", "scopes", "since", "calls/s")
    for caller in callers:
        since = datetime.fromtimestamp(caller.created_ms / 1000.0, UTC)
        rate = "as set" if caller.calls_per_s is None else f"{caller.calls_per_s:g}"
        table.add_row(
            caller.name, caller.id, ", ".join(sorted(caller.scopes)), f"{since:%Y-%m-%d}", rate
        )
    Console().print(table)
