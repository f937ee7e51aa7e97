"""Processes of one run: started so that they cannot outlive it, found again, stopped for certain.

Every child carries the run's name in its environment, and so does all that it starts. That mark
finds what a killed parent left behind; the kernel's parent-death signal and subreaper do the rest.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "VITRINE_RUN"  # environment variable: <folder name>.<start of the supervisor>
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Makes grandchildren whose parent died ours, so that none escapes the stop."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def tied_to_parent(argv: Sequence[str], at_its_death: signal.Signals) -> tuple[str, ...]:
    """The command that becomes `argv`, and gets this signal when the process calling now dies.

    By util-linux's `setpriv` and not by `preexec_fn`: that needs a plain fork, where gRPC's own
    fork handlers run in the child and now and then abort it. The kernel means the parent's
    *thread*: start the command from one that lives as long as the process.
    """
    still_there = f'test "$PPID" = {os.getpid()} && exec "$0" "$@"'  # it may have died before
    return ("setpriv", "--pdeathsig", at_its_death.name[3:], "sh", "-c", still_there, *argv)


def start(
    argv: tuple[str, ...], *, environment: Mapping[str, str], run: str, log: Path
) -> subprocess.Popen[bytes]:
    """Starts a child in a session of its own (a terminal's Ctrl-C is the supervisor's to handle).

    It gets SIGTERM when the supervisor dies, however that happens.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            tied_to_parent(argv, signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, MARK: run},
            start_new_session=True,
        )


def start_sweeper(run: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts what clears up after us should we be killed; it ends when its input closes."""
    return subprocess.Popen(
        (sys.executable, "-m", "serving.stack.sweeper", run),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in environment.items() if name != MARK},
        start_new_session=True,
    )


def marked(run_prefix: str) -> list[psutil.Process]:
    """Living processes, not zombies, that were started by a run whose name begins so."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid()
        and _mark_of(process.pid).startswith(run_prefix)
        and is_alive(process)
    ]


def _mark_of(pid: int) -> str:
    """Read here, not by psutil: it stops at the zeros that a process's new title leaves behind."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's
        return ""
    prefix = f"{MARK}=".encode()
    return next((e[len(prefix) :].decode() for e in entries if e.startswith(prefix)), "")


def is_alive(process: psutil.Process) -> bool:
    """Whether it can still do anything; a zombie cannot."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def descendants(pid: int) -> list[psutil.Process]:
    """Living children, their children, and so on."""
    try:
        return [p for p in psutil.Process(pid).children(recursive=True) if is_alive(p)]
    except psutil.Error:
        return []


def stop_all(processes: Iterable[psutil.Process], *, within_s: float) -> int:
    """Asks politely, waits, then kills. Returns how many had to be killed."""
    left = [process for process in processes if is_alive(process)]
    _signal(left, signal.SIGTERM)
    left = _wait(left, within_s)
    _signal(left, signal.SIGKILL)
    _wait(left, 5.0)
    return len(left)


def reap_adopted(known: set[int]) -> None:
    """Clears zombies of orphans we adopted; `known` are children whose exit someone else reads."""
    for child in psutil.Process().children():
        try:
            if child.pid not in known and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
        except (psutil.Error, ChildProcessError):
            continue


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:  # gone meanwhile
            continue


def _wait(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    until = time.monotonic() + within_s
    while processes and time.monotonic() < until:
        processes = [process for process in processes if is_alive(process)]
        time.sleep(0.05)
    return [process for process in processes if is_alive(process)]
