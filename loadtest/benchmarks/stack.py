"""The stack that a benchmark measures: the one that runs, or one brought up for it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loadtest.victims import wait_until
from serving.stack.folder import StackState, StateFolder
from shop.errors import VitrineError


class BenchmarkFailed(VitrineError):
    """Something the benchmark needs did not work; the message says what."""


def vitrine(*words: str) -> tuple[str, ...]:
    """The command line as a process's argv, with this Python."""
    return (sys.executable, "-m", "vitrine", *words)


_WITHOUT_CACHE = {"VITRINE_RECOMMEND__CACHE__MAX_MB": "0"}
_LATE = ("descriptions", "writer")  # doors that open after the stack says that it is up
_LATE_WITHIN_S = 180.0


@contextmanager
def a_stack(state_dir: Path, *up_options: str) -> Iterator[StackState]:
    """The stack running in `state_dir`, else one that is started now and stopped afterwards.

    One that is started here keeps no rankings: every call is worked out, and what the cache saves
    is for `vitrine bench cache` to say.
    """
    folder = StateFolder(state_dir)
    if folder.is_locked():
        wait_for_late_doors(folder.running().addresses)
        yield folder.running()
        return
    up = vitrine("up", "--detach", "--state-dir", str(state_dir), *up_options)
    environment = os.environ | _WITHOUT_CACHE
    if subprocess.run(up, stdout=sys.stderr, env=environment, check=False).returncode:
        raise BenchmarkFailed("the stack did not come up; see above")
    try:
        wait_for_late_doors(folder.running().addresses)
        yield folder.running()
    finally:
        subprocess.run(
            vitrine("down", "--state-dir", str(state_dir)), stdout=sys.stderr, check=False
        )


def wait_for_late_doors(addresses: Mapping[str, str], within_s: float = _LATE_WITHIN_S) -> None:
    """Until the words' doors listen. While a language model loads, it takes the lists' cores, and
    what is measured meanwhile is the start.
    """
    for name in _LATE:
        address = addresses.get(name)
        if address and not wait_until(lambda at=address: _listens(at), within_s=within_s):
            raise BenchmarkFailed(
                f"{name} did not open at {address} within {within_s:g} s; see `vitrine status`"
            )


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True
