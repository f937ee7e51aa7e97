"""A PostgreSQL server of one test's own: a folder, a socket and a port that nobody else has.

It runs as the user `postgres` where the tests run as root, which the server refuses.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from serving.stack.ports import free_port
from serving.stack.processes import tied_to_parent

_STARTS_WITHIN_S = 30.0
_USER = "postgres"


def postgres_folder() -> Path | None:
    """Where Debian keeps the newest server's programs; they are not on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


needs_postgres = pytest.mark.skipif(
    postgres_folder() is None,
    reason="no PostgreSQL server on this machine; as root: apt-get install postgresql",
)


class RunningPostgres:
    """Started at the beginning of the `with`; killed and its files removed at the end."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """By TCP on the loopback."""
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> "RunningPostgres":
        programs = postgres_folder()
        if programs is None:
            raise ValueError("no PostgreSQL here: the test lacks `needs_postgres`")
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER)
        data = str(self._folder / "data")
        options = ("-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        command = self._as_user((str(programs / "initdb"), "-D", data, *options))
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Returns once it answers."""
        programs = postgres_folder()
        server = (
            *(f"{programs}/postgres", "-D", str(self._folder / "data"), "-F"),
            *("-p", str(self._port), "-k", str(self._folder), "-h", "127.0.0.1"),
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tied_to_parent(self._as_user(server), signal.SIGINT),
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        until = time.monotonic() + _STARTS_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text()[-2_000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """At once; who is connected loses the connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.address, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self, command: tuple[str, ...]) -> tuple[str, ...]:
        if os.geteuid() != 0:
            return command
        return ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command)
