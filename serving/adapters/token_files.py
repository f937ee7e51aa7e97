"""Token files: the callers that a door knows, as JSON with digests in place of secrets.

Readable by its owner only; replaced whole, so that a door that reads it meets no half of one.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.callers import Caller, Callers, Scope, is_name
from shop.errors import NotFound, SettingsRejected

_VERSION = 1
_MAX_BYTES = 1 << 20  # some 4,000 callers
_Seen = tuple[int, int, int]


def read_callers(file: Path) -> Callers:
    """All of the file. Raises SettingsRejected if it cannot be trusted or understood."""
    return Callers({caller.id: caller for caller in listed(file)})


def listed(file: Path) -> list[Caller]:
    """The callers in the order in which they were added; none if there is no file yet."""
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            raw = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsRejected(f"{file} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsRejected(
            f"{file} is open to others (mode {stat.S_IMODE(mode):o}); run: chmod 600 {file}"
        )
    if len(raw) > _MAX_BYTES:
        raise SettingsRejected(f"{file} is larger than {_MAX_BYTES} bytes: no file of ours")
    try:
        table = json.loads(raw)
        if table["version"] != _VERSION:
            raise ValueError(f"version {table['version']!r}")
        return [_caller(entry) for entry in table["callers"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsRejected(f"{file} is no file of callers: {error!r}") from error


def add(file: Path, caller: Caller) -> None:
    """Adds one. Raises SettingsRejected if somebody of that name is there."""
    with _changing(file) as callers:
        if any(each.name == caller.name for each in callers):
            raise SettingsRejected(f"{caller.name} has a token already; revoke it or take a name")
        callers.append(caller)


def remove(file: Path, name_or_id: str) -> Caller:
    """Takes one out; a running door refuses the token within a second. Raises NotFound."""
    with _changing(file) as callers:
        found = [each for each in callers if name_or_id in (each.id, each.name)]
        if not found:
            raise NotFound(f"nobody called {name_or_id[:40]} has a token; see `vitrine token list`")
        callers.remove(found[0])
    return found[0]


def seen(file: Path) -> _Seen | None:
    """Changes whenever the file does; None: there is none."""
    try:
        now = file.stat()
    except OSError:
        return None
    return now.st_mtime_ns, now.st_ino, now.st_size


@contextmanager
def _changing(file: Path) -> Iterator[list[Caller]]:
    """The callers, written back when the block ends. One at a time."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        callers = listed(file)
        yield callers
        _write(file, callers)
    finally:
        os.close(lock)


def _write(file: Path, callers: list[Caller]) -> None:
    table = {"version": _VERSION, "callers": [_entry(caller) for caller in callers]}
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(json.dumps(table, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)


def _entry(caller: Caller) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": caller.id,
        "name": caller.name,
        "scopes": sorted(caller.scopes),
        "sha256": caller.digest.hex(),
        "created_ms": caller.created_ms,
    }
    return entry if caller.calls_per_s is None else entry | {"calls_per_s": caller.calls_per_s}


def _caller(entry: Mapping[str, Any]) -> Caller:
    digest = bytes.fromhex(entry["sha256"])
    rate = entry.get("calls_per_s")
    if len(digest) != 32 or not is_name(entry["name"]) or not entry["scopes"]:
        raise ValueError(f"a caller that cannot be: {str(entry.get('name'))[:40]!r}")
    if rate is not None and not 0 < rate <= 1e6:
        raise ValueError(f"{rate!r} calls a second")
    scopes = frozenset(Scope(each) for each in entry["scopes"])
    return Caller(entry["id"], entry["name"], scopes, digest, int(entry["created_ms"]), rate)
