"""Up: prepares a release, starts the services, shows where they listen, serves until told to stop.

What is prepared and started is told by the command line in a `Composition`; this file knows neither
models nor data.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from serving.console.invitation import ADDRESS as CONSOLE
from serving.console.invitation import invitation
from serving.stack.folder import Phase, ServiceState, StackState, StateFolder
from serving.stack.processes import marked, stop_all
from serving.stack.supervisor import Service, ServiceFailed, StopRequested, Supervisor, last_lines
from shop.errors import VitrineError

_DETACHED_WITHIN_S = 180.0
INTERRUPTED = 130  # the shell's code for Ctrl-C


class PreparationFailed(VitrineError):
    """There is no release to serve; the lines above say why."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is there to serve, as the preparation left it in `run/prepared.json`."""

    release: str
    version: int  # of the release, as Triton counts
    snapshot_folder: Path
    data_folder: Path  # what the snapshot was made from
    source: str
    example_shopper: str  # one with a history, for the first answer
    clock_offset_ms: int  # the shop's clock minus this machine's

    @staticmethod
    def read(path: Path) -> "Prepared":
        """Raises PreparationFailed if the preparation left nothing."""
        try:
            raw = json.loads(path.read_text())
            folders = {name: Path(raw[name]) for name in ("snapshot_folder", "data_folder")}
            return Prepared(**(raw | folders))
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise PreparationFailed(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Planned:
    """The services of one run and where they will listen."""

    services: tuple[Service, ...]
    door: str
    addresses: Callable[[], dict[str, str]]  # of all that listens by now


@dataclass(frozen=True, slots=True)
class Composition:
    """What a stack is made of."""

    prepare: tuple[str, ...]  # argv; writes `prepared_file`
    prepared_file: Path
    plan: Callable[[Prepared], Planned]
    again: tuple[str, ...]  # argv that brings the same stack up in the foreground
    first_answer: Callable[[str, str], tuple[str, ...]]  # argv: one from this door, for a shopper
    profile: str
    environment: Mapping[str, str]


def bring_up(folder: StateFolder, composition: Composition, *, first_answer: bool) -> int:
    """Serves until Ctrl-C or SIGTERM; returns the exit code. Raises VitrineError if it cannot."""
    began = time.monotonic()
    with folder.locked():
        _clear_leftovers(folder)
        prepared = _prepare(composition)
        planned = composition.plan(prepared)
        run = f"{folder.name}.{time.time_ns() // 1_000_000}"
        supervisor = Supervisor(
            planned.services,
            folder,
            run,
            composition.environment,
            _reporter(folder, composition, planned, prepared, run),
            _tell,
        )
        with _stopping_on_signals(supervisor):
            try:
                supervisor.start()
                if first_answer:
                    _tell(f"a first answer, for the shopper {prepared.example_shopper}:")
                    answer = composition.first_answer(planned.door, prepared.example_shopper)
                    subprocess.run(answer, check=False)
                _tell(f"up after {time.monotonic() - began:.1f} s. gRPC door: {planned.door}")
                _invite(folder, planned.addresses(), is_private=sys.stdout.isatty())
                _tell("Ctrl-C stops it; logs are in " + str(folder.logs))
                supervisor.watch()
                _tell("stopping …")
                return 0
            except StopRequested:
                _tell("stopped while starting")
                return INTERRUPTED
            finally:
                supervisor.stop()
                folder.forget_state()


def bring_up_detached(folder: StateFolder, composition: Composition, *, first_answer: bool) -> int:
    """Starts the same stack in the background; returns when it serves."""
    with folder.locked():  # preparation is shown here, where somebody looks
        _clear_leftovers(folder)
        prepared = _prepare(composition)
    log = folder.fresh_log("supervisor")
    with log.open("ab") as output:
        background = subprocess.Popen(
            composition.again,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(composition.environment),
        )
    until = time.monotonic() + _DETACHED_WITHIN_S
    while time.monotonic() < until:
        state = folder.last_state()
        if state is not None and state.phase is Phase.READY:
            if first_answer:
                answer = composition.first_answer(state.door, prepared.example_shopper)
                subprocess.run(answer, check=False)
            _tell(
                f"up. gRPC door: {state.door}; `vitrine status` shows it, `vitrine down` stops it"
            )
            _invite(folder, state.addresses, is_private=True)
            return 0
        if background.poll() is not None:
            raise ServiceFailed("the stack did not start:\n" + "\n".join(last_lines(log, 20)))
        time.sleep(0.1)
    background.terminate()
    background.wait()
    raise ServiceFailed(f"the stack did not start within {_DETACHED_WITHIN_S:.0f} s; see {log}")


def _prepare(composition: Composition) -> Prepared:
    """Runs the preparation where its progress can be seen; memory it took is free afterwards."""
    process = subprocess.Popen(composition.prepare, env=dict(composition.environment))
    with _terminating_interrupts():
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise PreparationFailed("no release could be prepared; see above")
    return Prepared.read(composition.prepared_file)


def _clear_leftovers(folder: StateFolder) -> None:
    """Stops what a killed supervisor left behind. We hold the lock: none is alive."""
    left = marked(folder.name)
    if left:
        _tell(f"stopping {len(left)} processes that an earlier stack left behind")
        stop_all(left, within_s=8.0)
    folder.forget_state()


def _reporter(
    folder: StateFolder, composition: Composition, planned: Planned, prepared: Prepared, run: str
) -> Callable[[Phase, tuple[ServiceState, ...]], None]:
    started_ms = time.time_ns() // 1_000_000

    def report(phase: Phase, services: tuple[ServiceState, ...]) -> None:
        folder.write_state(
            StackState(
                run=run,
                supervisor_pid=os.getpid(),
                phase=phase,
                profile=composition.profile,
                source=prepared.source,
                release=prepared.release,
                started_ms=started_ms,
                door=planned.door,
                addresses=planned.addresses(),
                services=services,
            )
        )

    return report


@contextmanager
def _stopping_on_signals(supervisor: Supervisor) -> Iterator[None]:
    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        supervisor.ask_to_stop()

    before = {n: signal.signal(n, ask_to_stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _terminating_interrupts() -> Iterator[None]:
    """SIGTERM ends the preparation as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _invite(folder: StateFolder, addresses: Mapping[str, str], *, is_private: bool) -> None:
    """Not into a log file, which others may read: in the background standard output is one."""
    if CONSOLE in addresses:
        _tell(invitation(folder.root, addresses[CONSOLE], is_private=is_private))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
