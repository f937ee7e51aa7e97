"""Supervisor: starts services in order, restarts what dies, stops everything in reverse order."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.stack.folder import Phase, ServiceState, StateFolder
from serving.stack.processes import (
    adopt_orphans,
    descendants,
    marked,
    reap_adopted,
    start,
    start_sweeper,
    stop_all,
)
from shop.errors import VitrineError

_POLL_S = 0.05
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 15.0
_STEADY_AFTER_S = 60.0  # a service that ran so long starts its backoff anew
_TAIL_LINES = 12


class ServiceFailed(VitrineError):
    """A service ended, or did not become ready in time; says where its log is and how it ends."""


class StopRequested(VitrineError):
    """Somebody asked the stack to stop while it was still starting."""


def _no_variables() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the stack."""

    name: str
    argv: tuple[str, ...]
    is_ready: Callable[[int], bool]  # of this pid; asked often while starting: it must be quick
    ready_within_s: float
    stop_within_s: float
    # Asked at every launch: it may tell where an earlier service listens.
    variables: Callable[[], Mapping[str, str]] = _no_variables
    is_waited_for: bool = True  # else the start goes on, and says later that it is ready


@dataclass(slots=True)
class _Running:
    """A service's process, as it changes."""

    service: Service
    log: Path
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False
    restarts: int = 0
    started_at: float = 0.0
    start_again_at: float = 0.0
    backoff_s: float = _FIRST_BACKOFF_S

    def becomes_ready(self) -> bool:
        """Whether it is ready now; remembered."""
        process = self.process
        self.is_ready = process is not None and self.service.is_ready(process.pid)
        return self.is_ready

    def state(self) -> ServiceState:
        alive = self.process is not None and self.process.poll() is None
        pid = self.process.pid if self.process is not None and alive else None
        return ServiceState(
            self.service.name, pid, alive and self.is_ready, self.restarts, str(self.log)
        )


@dataclass(slots=True)
class Supervisor:
    """Owns the processes of one run. Call `start`, then `watch`, and `stop` whatever happened.

    `report` is told of every change, `tell` gets lines for the person at the terminal.
    """

    services: Sequence[Service]
    folder: StateFolder
    run: str
    environment: Mapping[str, str]
    report: Callable[[Phase, tuple[ServiceState, ...]], None]
    tell: Callable[[str], None]
    _running: list[_Running] = field(default_factory=list)
    _others: set[int] = field(default_factory=set)  # children of this process that are not ours
    _sweeper: subprocess.Popen[bytes] | None = None
    _stop_asked: bool = False

    def ask_to_stop(self) -> None:
        """May be called from a signal handler."""
        self._stop_asked = True

    def start(self) -> None:
        """Returns when all services are ready. Raises ServiceFailed or StopRequested."""
        adopt_orphans()
        self._others = {child.pid for child in descendants(os.getpid())}
        self._sweeper = start_sweeper(self.run, self.environment)
        for service in self.services:
            self._check_stop()
            began = time.monotonic()
            running = _Running(service, self.folder.fresh_log(service.name))
            self._running.append(running)
            self._launch(running)
            self._report(Phase.STARTING)
            if not service.is_waited_for:
                continue
            self._wait_ready(running)
            self.tell(f"{service.name} is ready ({time.monotonic() - began:.1f} s)")
        self._report(Phase.READY)

    def watch(self) -> None:
        """Keeps the services running until somebody asks to stop."""
        while not self._stop_asked:
            changes = [self._care_for(running) for running in self._running]
            if any(changes):
                self._report(Phase.READY)
            reap_adopted({r.process.pid for r in self._running if r.process is not None})
            time.sleep(_POLL_S * 4)

    def stop(self) -> None:
        """Nothing of the run is left when this returns."""
        if self._running:
            self._report(Phase.STOPPING)
        for running in reversed(self._running):
            self._stop_one(running)
        spared = self._others | ({self._sweeper.pid} if self._sweeper is not None else set())
        left = {*descendants(os.getpid()), *marked(self.run)}
        stop_all((process for process in left if process.pid not in spared), within_s=2.0)
        self._running.clear()
        self._dismiss_sweeper()

    def _dismiss_sweeper(self) -> None:
        if self._sweeper is None or self._sweeper.stdin is None:
            return
        self._sweeper.stdin.close()
        self._sweeper.wait()
        self._sweeper = None

    def _check_stop(self) -> None:
        if self._stop_asked:
            raise StopRequested("stopped before the stack was ready")

    def _launch(self, running: _Running) -> None:
        service = running.service
        running.process = start(
            service.argv,
            environment={**self.environment, **service.variables()},
            run=self.run,
            log=running.log,
        )
        running.is_ready = False
        running.started_at = time.monotonic()

    def _wait_ready(self, running: _Running) -> None:
        service = running.service
        until = time.monotonic() + service.ready_within_s
        while not running.becomes_ready():
            self._check_stop()
            if running.process is not None and running.process.poll() is not None:
                code = running.process.returncode
                raise self._failure(running, f"ended with exit code {code} while starting")
            if time.monotonic() > until:
                raise self._failure(running, f"was not ready within {service.ready_within_s:.0f} s")
            for earlier in self._running[:-1]:
                self._care_for(earlier)
            time.sleep(_POLL_S)

    def _failure(self, running: _Running, what: str) -> ServiceFailed:
        tail = "\n".join(f"    {line}" for line in last_lines(running.log, _TAIL_LINES))
        return ServiceFailed(
            f"{running.service.name} {what}. Its log ({running.log}) ends:\n{tail}"
        )

    def _care_for(self, running: _Running) -> bool:
        """Restarts a dead service when its time has come; True if anything changed."""
        now = time.monotonic()
        if running.process is None:
            if now < running.start_again_at:
                return False
            running.restarts += 1
            self._launch(running)
            return True
        code = running.process.poll()
        if code is not None:
            self._mourn(running, code, now)
            return True
        if not running.is_ready and running.becomes_ready():
            again = " again" if running.restarts or running.service.is_waited_for else ""
            self.tell(f"{running.service.name} is ready{again}")
            return True
        return False

    def _mourn(self, running: _Running, code: int, now: float) -> None:
        if now - running.started_at > _STEADY_AFTER_S:
            running.backoff_s = _FIRST_BACKOFF_S
        running.start_again_at = now + running.backoff_s
        self.tell(
            f"{running.service.name} ended with exit code {code}; starting it again in"
            f" {running.backoff_s:g} s (log: {running.log})"
        )
        running.backoff_s = min(running.backoff_s * 2, _LONGEST_BACKOFF_S)
        running.process, running.is_ready = None, False

    def _stop_one(self, running: _Running) -> None:
        process = running.process
        if process is None or process.poll() is not None:
            return
        children = descendants(process.pid)
        process.terminate()
        try:
            process.wait(running.service.stop_within_s)
        except subprocess.TimeoutExpired:
            self.tell(f"{running.service.name} did not stop in time; killing it")
            process.kill()
            process.wait()
        stop_all(children, within_s=1.0)  # what it should have stopped itself

    def _report(self, phase: Phase) -> None:
        self.report(phase, tuple(running.state() for running in self._running))


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a text file; empty if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 64_000))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-count:]
