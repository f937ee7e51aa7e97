"""Processes of the door: started by one that they do not outlive, with the standard library alone.

A child ends when its standard input closes, and that happens when its parent ends, however.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_LOOK_EVERY_S = 0.05


def start(module: str, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """`python -m module`, its output in a file."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )


def ends_with_parent() -> None:
    """To be called first by a child."""

    def wait() -> None:
        while os.read(0, 4_096):  # not through sys.stdin: its lock is wanted at the end
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def tell(file: Path, text: str) -> None:
    """Whole or not at all: somebody waits for it."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.replace(file)


def wait_for(
    is_there: Callable[[], bool],
    processes: Sequence[tuple[subprocess.Popen[bytes], Path]],
    *,
    within_s: float,
) -> None:
    """Returns when it is there. Raises RuntimeError if a process ended instead, with its words."""
    until = time.monotonic() + within_s
    while not is_there():
        for process, log in processes:
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise RuntimeError(f"{log.stem} ended: {said[-1][:300]}")
        if time.monotonic() > until:
            raise RuntimeError(f"not ready within {within_s:.0f} s")
        time.sleep(_LOOK_EVERY_S)


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends all of them."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    for process in processes:
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
