"""A command that is tied to whoever started it, tried on real processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from serving.stack.processes import tied_to_parent

_PARENT = """
import signal, subprocess, sys
from serving.stack.processes import tied_to_parent
child = subprocess.Popen(tied_to_parent(("sleep", "60"), signal.SIGKILL))
print(child.pid, flush=True)
sys.stdin.read()
"""


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_command_becomes_the_program_with_all_its_arguments() -> None:
    argv = (sys.executable, "-c", "import sys; print(sys.argv)", "a b", "$HOME", "'\"")
    said = subprocess.check_output(tied_to_parent(argv, signal.SIGTERM), text=True)
    assert said.strip() == str(["-c", "a b", "$HOME", "'\""])


def test_it_is_the_program_that_was_started_and_not_a_child_of_it() -> None:
    argv = (sys.executable, "-c", "import os; print(os.getpid())")
    with subprocess.Popen(tied_to_parent(argv, signal.SIGTERM), stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert int(started.stdout.read()) == started.pid


def test_it_dies_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        (sys.executable, "-c", _PARENT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not _is_gone(child)
        parent.kill()
        parent.wait()
    until = time.monotonic() + 10
    while not _is_gone(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert _is_gone(child)


def test_it_does_not_start_for_a_parent_that_is_already_gone() -> None:
    argv = tied_to_parent(("echo", "started"), signal.SIGKILL)
    elsewhere = subprocess.run(  # another process's child: its parent is not the one meant
        ("sh", "-c", '"$@"; true', "sh", *argv), capture_output=True, text=True, check=False
    )
    assert elsewhere.stdout == ""
