"""The supervisor with real processes: order, restarts, and that nothing is ever left."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serving.stack.folder import Phase, ServiceState, StackRunning, StateFolder
from serving.stack.processes import is_alive, marked
from serving.stack.supervisor import Service, ServiceFailed, StopRequested, Supervisor

WRITES_THEN_SLEEPS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
ENDS_AT_ONCE = "print('the reason it ended'); raise SystemExit(3)"
NEVER_READY = "import time; time.sleep(600)"
LEAVES_A_GRANDCHILD = (
    "import pathlib, subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True);"
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
)
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    state = StateFolder(tmp_path / "state")
    yield state
    for process in marked(state.name):
        process.kill()


def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if holds():
            return True
        threading.Event().wait(0.02)
    return holds()


def a_service(
    name: str, folder: StateFolder, program: str, *, stop_within_s: float = 5.0
) -> Service:
    ready = folder.root / f"{name}.ready"
    return Service(
        name,
        (sys.executable, "-c", program, str(ready)),
        lambda pid: ready.exists(),
        10.0,
        stop_within_s,
    )


def a_supervisor(folder: StateFolder, *services: Service) -> tuple[Supervisor, list[str]]:
    told: list[str] = []
    folder.root.mkdir(parents=True, exist_ok=True)

    def report(phase: Phase, states: tuple[ServiceState, ...]) -> None:
        told.append(f"{phase}: " + " ".join(f"{s.name}={s.is_ready}" for s in states))

    run = f"{folder.name}.1"
    return Supervisor(services, folder, run, dict(os.environ), report, told.append), told


def children_of(folder: StateFolder) -> list[psutil.Process]:
    return marked(folder.name)


def test_services_start_in_order_and_nothing_is_left_after_the_stop(folder: StateFolder) -> None:
    supervisor, told = a_supervisor(
        folder,
        a_service("first", folder, WRITES_THEN_SLEEPS),
        a_service("second", folder, WRITES_THEN_SLEEPS),
    )
    supervisor.start()
    assert told[-1] == "ready: first=True second=True"
    assert [t.split()[0] for t in told if "is ready" in t] == ["first", "second"]
    assert len(children_of(folder)) == 2
    supervisor.stop()
    assert children_of(folder) == []


def test_a_service_that_ends_while_starting_fails_the_start_with_the_end_of_its_log(
    folder: StateFolder,
) -> None:
    supervisor, _ = a_supervisor(
        folder,
        a_service("first", folder, WRITES_THEN_SLEEPS),
        a_service("second", folder, ENDS_AT_ONCE),
    )
    with pytest.raises(ServiceFailed, match=r"second ended with exit code 3.*second\.log"):
        supervisor.start()
    assert "the reason it ended" in (folder.logs / "second.log").read_text()
    supervisor.stop()
    assert children_of(folder) == []


def test_a_service_that_never_becomes_ready_is_named(folder: StateFolder) -> None:
    service = Service("slow", (sys.executable, "-c", NEVER_READY), lambda pid: False, 0.3, 5.0)
    supervisor, _ = a_supervisor(folder, service)
    with pytest.raises(ServiceFailed, match="slow was not ready within"):
        supervisor.start()
    supervisor.stop()
    assert children_of(folder) == []


def test_a_killed_service_comes_back(folder: StateFolder) -> None:
    supervisor, told = a_supervisor(folder, a_service("first", folder, WRITES_THEN_SLEEPS))
    supervisor.start()
    watching = threading.Thread(target=supervisor.watch)
    watching.start()
    (before,) = children_of(folder)
    before.kill()
    assert eventually(lambda: any("exit code -9" in line for line in told))
    assert eventually(lambda: [p.pid for p in children_of(folder)] not in ([], [before.pid]))
    supervisor.ask_to_stop()
    watching.join(10)
    supervisor.stop()
    assert children_of(folder) == []


def test_a_stop_asked_for_while_starting_ends_the_start(folder: StateFolder) -> None:
    service = Service("slow", (sys.executable, "-c", NEVER_READY), lambda pid: False, 30.0, 5.0)
    supervisor, _ = a_supervisor(folder, service)
    threading.Timer(0.3, supervisor.ask_to_stop).start()
    with pytest.raises(StopRequested):
        supervisor.start()
    supervisor.stop()
    assert children_of(folder) == []


def test_a_grandchild_in_its_own_session_is_stopped_too(folder: StateFolder) -> None:
    supervisor, _ = a_supervisor(folder, a_service("first", folder, LEAVES_A_GRANDCHILD))
    supervisor.start()
    assert eventually(lambda: len(children_of(folder)) == 2)
    supervisor.stop()
    assert children_of(folder) == []


def test_a_service_that_ignores_the_polite_request_is_killed(folder: StateFolder) -> None:
    stubborn = a_service("first", folder, IGNORES_SIGTERM + WRITES_THEN_SLEEPS, stop_within_s=0.3)
    supervisor, told = a_supervisor(folder, stubborn)
    supervisor.start()
    supervisor.stop()
    assert "first did not stop in time; killing it" in told
    assert children_of(folder) == []


SUPERVISES = """
import os, sys
from pathlib import Path
from serving.stack.folder import StateFolder
from serving.stack.supervisor import Service, Supervisor
folder = StateFolder(Path(sys.argv[1]))
ready = Path(sys.argv[2])
service = Service("first", (sys.executable, "-c", sys.argv[3], str(ready)),
                  lambda pid: ready.exists(), 10, 5)
with folder.locked():
    supervisor = Supervisor([service], folder, folder.name + ".1", dict(os.environ),
                            lambda phase, states: None, lambda line: None)
    supervisor.start()
    supervisor.watch()
"""


def test_nothing_survives_a_supervisor_that_was_killed(folder: StateFolder) -> None:
    folder.root.mkdir()
    ready = folder.root / "first.ready"
    argv = [sys.executable, "-c", SUPERVISES, str(folder.root), str(ready), LEAVES_A_GRANDCHILD]
    supervising = subprocess.Popen(argv)
    assert eventually(lambda: len(children_of(folder)) == 2)
    supervising.send_signal(signal.SIGKILL)
    supervising.wait()
    assert eventually(lambda: children_of(folder) == [])
    assert not folder.is_locked()


def test_one_folder_holds_one_stack(folder: StateFolder) -> None:
    assert not folder.is_locked()
    with folder.locked():
        assert folder.is_locked()
        with pytest.raises(StackRunning, match="vitrine down"), folder.locked():
            pass
    assert not folder.is_locked()


def test_a_zombie_does_not_count_as_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    assert eventually(lambda: not is_alive(process))
    child.wait()
