"""A Redis server of one test's own: a free port, a socket and a folder that nobody else has.

Never the one at 6379: that may be somebody's. Debian's package `redis-tools` holds the very
program, under another name; `redis-server` adds a link to it, and a service that runs from then on.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis

from serving.adapters.redis_settings import RedisSettings
from serving.stack.ports import free_port
from serving.stack.processes import tied_to_parent

_STARTS_WITHIN_S = 20.0


def redis_program() -> str | None:
    """The server's program; what it does is decided by the name it is called by: `redis-server`."""
    return shutil.which("redis-server") or shutil.which("redis-check-rdb")


needs_redis = pytest.mark.skipif(
    redis_program() is None,
    reason="no Redis server on this machine; as root: apt-get install redis-tools",
)


class RunningRedis:
    """Started on `start`; killed and its files removed at the end of the `with`."""

    def __init__(self, *options: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))  # a socket's path has to be short
        self._options = options
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RunningRedis":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    @property
    def socket_url(self) -> str:
        """Through its unix socket."""
        return f"unix://{self._folder}/redis.sock"

    @property
    def url(self) -> str:
        """Through TCP."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def settings(self) -> RedisSettings:
        """Through TCP, as a replica would have them."""
        return RedisSettings(url=self.url)

    def start(self) -> None:
        """Returns once it answers, with what it kept on disk."""
        program = redis_program()
        if program is None:
            raise ValueError("no Redis server here: the test lacks `needs_redis`")
        named = self._folder / "redis-server"  # see `redis_program`
        if not named.is_symlink():
            named.symlink_to(program)
        command = [
            str(named),
            *("--port", str(self._port), "--bind", "127.0.0.1"),
            *("--unixsocket", f"{self._folder}/redis.sock"),
            *("--dir", str(self._folder), "--save", ""),
            *self._options,
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tied_to_parent(command, signal.SIGKILL), stdout=log, stderr=log
            )
        self._wait_until_it_answers(self._process)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _STARTS_WITHIN_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > until:
                said = (self._folder / "log").read_text()[-2_000:]
                raise RuntimeError(f"Redis did not start: {said}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.socket_url) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:  # it wants a password: it is there
                return True
            except redis.ConnectionError:
                return False

    def kill(self) -> None:
        """As by `kill -9`; what is not on its disk is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and takes new ones, but answers nobody."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise ValueError("it is not running")
        self._process.send_signal(number)
