"""Environments: the empty folders that a killed Triton leaves in /tmp.

The python backend makes one `python_env_XXXXXX` when it is loaded, for packed environments, which
we do not use; only a server that ends in good order removes it. Nothing says whose one is, so what
is removed is empty, this user's, and was made in the minute after our server was started. Should
another of this user's servers have made it just then, it loses nothing: it would unpack into it
while it loads a model, and then it is not empty.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_LOADED_WITHIN_S = 60.0  # the backend is loaded with the first model
_TEMPORARY = Path("/tmp")


@dataclass(frozen=True, slots=True)
class EnvironmentFolders:
    """Of the server whose start `started` marks by its time."""

    started: Path
    folder: Path = _TEMPORARY

    def server_starts(self) -> None:
        """Now."""
        self.started.touch()
        os.utime(self.started)

    def remove(self) -> int:
        """Removes what that server left; how many there were. Call once it has ended."""
        try:
            since_s = self.started.stat().st_mtime
        except OSError:
            return 0
        removed = 0
        for found in self.folder.glob("python_env_??????"):
            with contextlib.suppress(OSError):  # not empty, or gone meanwhile
                made = found.lstat()
                in_time = since_s <= made.st_mtime <= since_s + _LOADED_WITHIN_S
                if in_time and made.st_uid == os.getuid():
                    found.rmdir()
                    removed += 1
        return removed
