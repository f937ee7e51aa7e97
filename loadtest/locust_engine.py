"""Locust engine: one master and its workers as processes of this machine, and their common log.

Locust is never imported here: it runs in processes of its own, where gevent may replace sockets.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.arrivals import Shape
from loadtest.call_log import CallLog, read_log
from shop.errors import VitrineError

_ROOT = Path(__file__).resolve().parents[1]
LOCUSTFILE = _ROOT / "loadtest" / "users" / "locustfile.py"
USER_CLASSES = {
    "browse": "BrowsingShopper",
    "search": "SearchingShopper",
    "product": "ProductPage",
    "cart": "CartPage",
    "flash-sale": "FlashSaleShopper",
    "email": "EmailBatch",
}
_START_S = 60  # for workers to come up and say so
_STOP_S = 30
_SHOWN = 2_000  # characters of what a failed locust said


class LocustFailed(VitrineError):
    """Locust ended without a log; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class LocustPlan:
    """What the users do, and how many processes they are spread over."""

    scenario: str
    address: str
    state_dir: Path
    rate_per_s: float
    duration_s: float
    warm_up_s: float
    shape: Shape = Shape.CONSTANT
    peak: float = 3.0
    seed: int = 1
    workers: int = 1
    timeout_s: float = 5.0
    calls_per_user: float = 0.5

    def options(self) -> list[str]:
        """Of locust's command line, the same for master and workers."""
        return [
            *("-f", str(LOCUSTFILE), USER_CLASSES[self.scenario]),
            *("--host", self.address, "--state-dir", str(self.state_dir.absolute())),
            *("--rate", str(self.rate_per_s), "--shape", str(self.shape)),
            *("--peak", str(self.peak), "--duration", str(self.duration_s)),
            *("--warm-up", str(self.warm_up_s), "--seed", str(self.seed)),
            *("--call-timeout", str(self.timeout_s)),
            *("--calls-per-user", str(self.calls_per_user)),
            *("--headless", "--only-summary", "--loglevel", "WARNING"),
        ]


def run_locust(plan: LocustPlan) -> CallLog:
    """Runs the test to its end. Raises LocustFailed."""
    with tempfile.TemporaryDirectory(prefix="vitrine-locust-") as folder:
        calls, said = Path(folder) / "calls.npz", Path(folder) / "said.txt"
        with said.open("wb") as output, _processes(plan, calls, output.fileno()) as master:
            try:
                master.wait(plan.warm_up_s + plan.duration_s + _START_S + _STOP_S)
            except subprocess.TimeoutExpired as error:
                raise LocustFailed(f"locust did not end: {_end_of(said)}") from error
        if not calls.exists():
            raise LocustFailed(f"locust ended with {master.returncode}: {_end_of(said)}")
        return read_log(calls)


def _end_of(said: Path) -> str:
    return said.read_text(errors="replace")[-_SHOWN:].strip() or "it said nothing"


@contextmanager
def _processes(plan: LocustPlan, calls: Path, output: int) -> Iterator[subprocess.Popen[bytes]]:
    """The one that leads; at the end of the block all are gone."""
    port = str(_free_port())
    workers: Sequence[list[str]] = []
    leads = ["--calls-file", str(calls), "--stop-timeout", str(round(plan.timeout_s + 1.0))]
    if plan.workers > 1:
        to_master = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
        workers = [[*to_master, "--stop-timeout", leads[-1]]] * plan.workers
        at = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        waits = ["--expect-workers", str(plan.workers), "--expect-workers-max-wait", str(_START_S)]
        leads += ["--master", *at, *waits]
    running = [_start([*plan.options(), *words], output) for words in (leads, *workers)]
    try:
        yield running[0]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(words: list[str], output: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "locust", *words],
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=_ROOT,
    )


def _free_port() -> int:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        return int(finder.getsockname()[1])
