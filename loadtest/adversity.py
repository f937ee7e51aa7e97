"""Adversity: what can go wrong with a running stack, done to it from outside, a function each.

Every one is a context manager: the harm is done on entry and, where it does not mend itself, undone
on exit. Nothing here knows the stack's insides but by what it tells in its state folder.
"""

import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import grpc
import psutil

from loadtest.replica_harm import disk_full, replica_killed
from loadtest.victims import NothingToHarm, Tally, Victim, beside, code_of
from serving.stack.folder import StateFolder
from serving.triton.status import STATUS_FILE, read_status

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_RECOMMEND = "/vitrine.v1.Recommendations/Recommend"
IDLE_CLIENTS = 5_000
_SLOW_CLIENTS = 200
_DRIP_S = 0.2
_PAUSE_S = 0.01  # between two calls of a hostile or hasty client
_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Adversity:
    """One thing that goes wrong."""

    name: str
    what: str
    harm: Callable[[Victim], AbstractContextManager[Tally]]
    # Whether well-behaved callers must have seen plainer lists: else nothing was harmed.
    is_felt: bool
    asks_again: bool = False  # whether callers do, once: what dies takes its connections along
    refuses_events: bool = False  # whether whoever logs events must have been told so


@contextmanager
def triton_killed(victim: Victim) -> Iterator[Tally]:
    """kill -9 of the server; its supervisor starts another."""
    os.kill(_triton_pid(victim), signal.SIGKILL)
    yield Tally()


@contextmanager
def triton_frozen(victim: Victim) -> Iterator[Tally]:
    """SIGSTOP: connections stand, nothing answers."""
    with _frozen([_triton_pid(victim)]):
        yield Tally()


@contextmanager
def ranker_killed(victim: Victim) -> Iterator[Tally]:
    """kill -9 of the process that runs the ranker; Triton goes on saying that it is ready."""
    for pid in _stubs(victim, "ranker"):
        os.kill(pid, signal.SIGKILL)
    yield Tally()


@contextmanager
def tower_frozen(victim: Victim) -> Iterator[Tally]:
    """SIGSTOP of the process that runs the user tower."""
    with _frozen(_stubs(victim, "user_tower")):
        yield Tally()


@contextmanager
def systems_frozen(victim: Victim) -> Iterator[Tally]:
    """SIGSTOP of the shop's own systems, all five and the feeds at once."""
    pids = [each.pid for each in victim.stack.services if each.name == "backends" and each.pid]
    if not pids:
        raise NothingToHarm("the stack runs no simulated systems: those of a real shop stay whole")
    with _frozen(pids):
        yield Tally()


@contextmanager
def idle_clients(victim: Victim) -> Iterator[Tally]:
    """Thousands of connections that open HTTP/2 and say nothing more."""
    with ExitStack() as open_sockets:
        for _ in range(IDLE_CLIENTS):
            open_sockets.enter_context(_connected(victim)).sendall(_PREFACE)
        yield Tally()


@contextmanager
def slow_clients(victim: Victim) -> Iterator[Tally]:
    """Connections that send their first bytes one at a time, as slow-loris attacks do."""
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(_connected(victim)) for _ in range(_SLOW_CLIENTS)]

        def drip(stop: threading.Event) -> None:
            for at in range(len(_PREFACE)):
                for client in clients:
                    with contextlib.suppress(OSError):  # the door may have hung up: its right
                        client.send(_PREFACE[at : at + 1])
                if stop.wait(_DRIP_S):
                    return

        with beside(drip):
            yield Tally()


@contextmanager
def hostile_clients(victim: Victim) -> Iterator[Tally]:
    """Calls whose bytes are random, or a sound call's with some bits turned over."""
    sound, tally = victim.call.body, Tally()

    def attack(stop: threading.Event) -> None:
        with grpc.insecure_channel(victim.stack.door) as channel:
            ask = channel.unary_unary(_RECOMMEND)  # type: ignore[call-arg]
            turn = 0
            while not stop.wait(_PAUSE_S):
                turn += 1
                body = secrets.token_bytes(1 + turn % 400) if turn % 2 else _with_turned_bits(sound)
                tally.count(code_of(ask, body, _PATIENCE_S))

    with beside(attack):
        yield tally


@contextmanager
def hasty_clients(victim: Victim) -> Iterator[Tally]:
    """Callers whose deadline is one millisecond, again and again."""
    tally = Tally()

    def hurry(stop: threading.Event) -> None:
        with grpc.insecure_channel(victim.stack.door) as channel:
            ask = channel.unary_unary(_RECOMMEND)  # type: ignore[call-arg]
            while not stop.wait(_PAUSE_S):
                tally.count(code_of(ask, victim.call.body, 0.001))

    with beside(hurry):
        yield tally


ADVERSITIES = (
    Adversity("triton killed", "kill -9 of the server", triton_killed, is_felt=True),
    Adversity("triton frozen", "SIGSTOP of the server", triton_frozen, is_felt=True),
    Adversity("ranker killed", "kill -9 of its process", ranker_killed, is_felt=True),
    Adversity("user tower frozen", "SIGSTOP of its process", tower_frozen, is_felt=True),
    Adversity("replica killed", "kill -9 of one", replica_killed, is_felt=False, asks_again=True),
    Adversity("disk full", "no file can grow", disk_full, is_felt=False, refuses_events=True),
    Adversity("systems frozen", "SIGSTOP of all five systems", systems_frozen, is_felt=True),
    Adversity("idle clients", f"{IDLE_CLIENTS:,} silent connections", idle_clients, is_felt=False),
    Adversity("slow clients", f"{_SLOW_CLIENTS} that drip bytes", slow_clients, is_felt=False),
    Adversity("hostile clients", "random bytes, turned bits", hostile_clients, is_felt=False),
    Adversity("hasty clients", "deadlines of 1 ms", hasty_clients, is_felt=False),
)


def _triton_pid(victim: Victim) -> int:
    status = read_status(StateFolder(victim.state_dir).run / STATUS_FILE)
    if status is None or not status.server_pid:
        raise NothingToHarm("Triton's status file names no server to harm")
    return status.server_pid


def _stubs(victim: Victim, model: str) -> list[int]:
    """Processes below Triton that have this model's name among their arguments."""
    server = psutil.Process(_triton_pid(victim))
    found = []
    for child in server.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(f"/{model}" in word or f"_{model}_" in word for word in child.cmdline()):
                found.append(child.pid)
    if not found:
        raise NothingToHarm(f"Triton runs no process of its own for {model}")
    return found


@contextmanager
def _frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a supervisor may have replaced it
                os.kill(pid, signal.SIGCONT)


def _connected(victim: Victim) -> socket.socket:
    host, _, port = victim.stack.door.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10.0)


def _with_turned_bits(sound: bytes) -> bytes:
    """`sound` with one bit in a hundred turned over, at least one."""
    spoilt = bytearray(sound)
    for _ in range(max(1, len(spoilt) * 8 // 100)):
        spoilt[secrets.randbelow(len(spoilt))] ^= 1 << secrets.randbelow(8)
    return bytes(spoilt)
