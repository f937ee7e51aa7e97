"""A real file system of its own that is nearly full: a tmpfs, mounted for one test."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_BALLAST = "ballast"
_CHUNK = 4_096


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A folder on a disk of its own."""

    root: Path

    def fill(self) -> None:
        """Not a byte more can be written."""
        with (self.root / _BALLAST).open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * _CHUNK)
            except OSError:  # that is what it was for
                return

    def clear(self) -> None:
        """Somebody has made room."""
        (self.root / _BALLAST).unlink()


@contextmanager
def a_small_disk(at: Path, *, size_bytes: int) -> Iterator[SmallDisk]:
    """Skips the test where nothing can be mounted: not root, or a container that forbids it."""
    at.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(at)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield SmallDisk(at)
    finally:
        # Lazily: a file that a failed test has left open must not keep it for ever.
        subprocess.run(["umount", "-l", str(at)], check=True)
