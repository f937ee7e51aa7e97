"""Key files: secrets that sign releases and tokens, one per file, readable by their owner only."""

import os
import secrets
import stat
from pathlib import Path

from shop.errors import SettingsRejected

_KEY_BYTES = 32


def create_key(path: Path) -> bytes:
    """A new random key, written to `path` as hex. Raises SettingsRejected if one lies there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SettingsRejected(
            f"{path} already holds a key; what it signed would no longer be accepted"
        ) from error
    with os.fdopen(file, "w") as stream:
        stream.write(f"{key.hex()}\n")
    return key


def read_key(path: Path) -> bytes:
    """The key. Raises SettingsRejected if it is missing, readable by others, or no key."""
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except OSError as error:
        raise SettingsRejected(f"key {path} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsRejected(
            f"key {path} is open to others (mode {stat.S_IMODE(mode):o}); run: chmod 600 {path}"
        )
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise SettingsRejected(f"key {path} is not hexadecimal") from error
    if len(key) < _KEY_BYTES:
        raise SettingsRejected(f"key {path} has {len(key)} bytes, at least {_KEY_BYTES} are needed")
    return key


def read_or_create_key(path: Path) -> bytes:
    """The key at `path`; a new one on first use."""
    return read_key(path) if path.exists() else create_key(path)
