"""Scratch: a temporary folder whose users end when it does, even if its maker is killed.

    python -m serving.scratch FOLDER

is the process that sees to it: its standard input closes when the maker ends, however that happens.
Whoever then still has a file of the folder open, or names it in its command line, is stopped, and
the folder is removed. Ray's processes are known by nothing else: their titles overwrite the
environment they were started with, and its agents outlive a killed raylet.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from serving.stack.processes import MARK, stop_all

_GRACE_S = 0.5  # whoever is left has no one to answer to, and nothing of theirs is kept


@contextmanager
def scratch_folder(environment: Mapping[str, str]) -> Iterator[str]:
    """A folder with a short path: the sockets that Ray puts there may have 107 bytes at most.

    The keeper gets this environment, less the supervisor's mark: whoever stops everything that is
    marked must leave it to do its work.
    """
    folder = tempfile.mkdtemp(prefix="vitrine-")
    keeper = subprocess.Popen(
        (sys.executable, "-m", __spec__.name, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal is not for it
        cwd=Path(__file__).resolve().parents[1],
        env={name: value for name, value in environment.items() if name != MARK},
    )
    try:
        yield folder
    finally:
        if keeper.stdin is not None:
            keeper.stdin.close()
        keeper.wait()


def users_of(folder: str) -> list[psutil.Process]:
    """Processes other than this one that use the folder."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _uses(process.pid, folder)
    ]


def _uses(pid: int, folder: str) -> bool:
    inside = f"{folder}/"
    try:
        if inside in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
            return True
        return any(_target(link).startswith(inside) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # gone, or another user's
        return False


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""


def main() -> int:
    """Waits for the maker's end, then stops the folder's users and removes it."""
    folder, maker = sys.argv[1], os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it must outlive the others
    sys.stdin.buffer.read()
    stop_all((user for user in users_of(folder) if user.pid != maker), within_s=_GRACE_S)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
