"""Victims: a running stack to which something is done, and what is needed to do it and to watch."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil

from loadtest.doors import Call
from serving.stack.folder import StackState
from shop.errors import VitrineError


class NothingToHarm(VitrineError):
    """The stack does not run what should be harmed; the message says what."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A running stack, and a call that it answers."""

    state_dir: Path
    stack: StackState
    call: Call


@dataclass(frozen=True, slots=True)
class Tally:
    """What a misbehaving client was answered, by gRPC status name."""

    codes: dict[str, int] = field(default_factory=dict)

    def count(self, code: str) -> None:
        """One more answer of this kind."""
        self.codes[code] = self.codes.get(code, 0) + 1


def replicas_of(door: str) -> list[psutil.Process]:
    """The gateway's replicas on this machine: all who listen at the door's port."""
    port, found = int(door.rpartition(":")[2]), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone meanwhile, or not ours to look at
            connections = process.net_connections("tcp")
            if any(each.status == "LISTEN" and each.laddr.port == port for each in connections):
                found.append(process)
    return found


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """`work` in a thread, told to stop at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10.0)


def code_of(ask: Callable[..., object], body: bytes, timeout_s: float) -> str:
    try:
        ask(body, timeout=timeout_s)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code.name
    return "OK"


def wait_until(is_done: Callable[[], bool], *, within_s: float) -> bool:
    """Whether it was done in time; asks ten times a second."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if is_done():
            return True
        time.sleep(0.1)
    return is_done()
