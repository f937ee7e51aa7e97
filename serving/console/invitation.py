"""Invitation: the lines that tell people where the console is and how they come in."""

from pathlib import Path

from serving.adapters.key_files import read_key
from shop.errors import SettingsRejected

ADDRESS = "console"  # among a stack's addresses


def key_file(state_dir: Path) -> Path:
    """The file whose content is the token; made by the console's first start."""
    return state_dir / "keys" / "console.key"


def token_of(state_dir: Path) -> str:
    """What people log in with, or why it cannot be told."""
    try:
        return read_key(key_file(state_dir)).hex()
    except SettingsRejected as error:
        return f"({error})"


def invitation(state_dir: Path, address: str, *, is_private: bool) -> str:
    """For the end of a start. `is_private`: a person reads it, and not a log file."""
    if not is_private:
        return f"console: {address}/; `vitrine status` shows its token"
    return f"console: {address}/ with the token {token_of(state_dir)}"
