"""Start: from a fresh clone to the first answer with `make run`, and the second start."""

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loadtest.benchmarks.result import Grid, Result, at_most
from loadtest.benchmarks.stack import BenchmarkFailed

SECOND_START_S = 60.0
_ROOT = Path(__file__).resolve().parents[2]
_UP = "gRPC door:"
_GIVE_UP_S = 3_600.0  # downloads and trainings on a slow machine
_GIVE_UP_STOPPING_S = 120.0
_FIRST_LINE_OF_ANSWER = "candidates scored by"


@dataclass(frozen=True, slots=True)
class Start:
    """One `make run`, until it serves, and its stop."""

    answer_s: float
    up_s: float
    stop_s: float
    lines: tuple[tuple[float, str], ...]  # seconds since the start, what it printed


def measure(state_dir: Path, images: Path) -> Result:
    """Clones this repository's HEAD, runs `make run` twice, and deletes the clone."""
    with tempfile.TemporaryDirectory(prefix="vitrine-start-") as folder:
        clone = Path(folder) / "vitrine"
        subprocess.run(
            ("git", "clone", "--quiet", str(_ROOT), str(clone)), check=True, stdout=sys.stderr
        )
        first, second = make_run(clone), make_run(clone)
    learnt = [line for _, line in second.lines if "training" in line.lower()]
    return Result(
        name="start",
        figures={
            "fresh_first_answer_s": round(first.answer_s, 1),
            "second_first_answer_s": round(second.answer_s, 1),
            "second_up_s": round(second.up_s, 1),
            "stop_s": round(second.stop_s, 1),
        },
        checks=(
            at_most("second `make run` to first answer", second.answer_s, SECOND_START_S, " s"),
        ),
        grids=(
            Grid(
                "`make run` in a fresh clone",
                ("", "first answer", "serving", "stopped after Ctrl-C"),
                tuple(
                    (name, f"{s.answer_s:.0f} s", f"{s.up_s:.0f} s", f"{s.stop_s:.1f} s")
                    for name, s in (("first time", first), ("second time", second))
                ),
            ),
            Grid(
                "What the first time was spent on",
                ("after", ""),
                tuple((f"{at:.0f} s", line) for at, line in first.lines if _tells(line)),
            ),
        ),
        notes=(
            "The first time includes making the environments (packages came from a nearby cache)."
            + (" The second start trained something." if learnt else ""),
        ),
    )


def make_run(
    clone: Path, *, give_up_s: float = _GIVE_UP_S, stop_s: float = _GIVE_UP_STOPPING_S
) -> Start:
    """Runs `make run` there until it serves, then stops it.

    Raises BenchmarkFailed, and kills it, if it ends first, or is not up or not down in time.
    """
    began = time.monotonic()
    with _interruptible_children():
        process = subprocess.Popen(
            ("make", "run"),
            cwd=clone,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    output = _Output(process)
    lines: list[tuple[float, str]] = []
    answer_s = float("nan")
    try:
        while True:
            line = output.next_line(began + give_up_s)
            if line is None:
                code = process.wait()
                raise BenchmarkFailed(f"`make run` ended with {code} before it served; see above")
            at_s = time.monotonic() - began
            lines.append((at_s, line))
            sys.stderr.write(f"{line}\n")
            if _FIRST_LINE_OF_ANSWER in line:
                answer_s = at_s
            if _UP in line:
                break
    except _TookTooLong:
        _kill(process)
        last = lines[-1][1] if lines else ""
        raise BenchmarkFailed(
            f"`make run` was not up after {give_up_s:g} s; the last it said was {last!r}"
        ) from None
    stopping = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: the whole group
    try:
        while output.next_line(stopping + stop_s) is not None:
            pass
        process.wait(max(0.1, stopping + stop_s - time.monotonic()))
    except (_TookTooLong, subprocess.TimeoutExpired):
        _kill(process)
        raise BenchmarkFailed(f"`make run` did not stop within {stop_s:g} s of Ctrl-C") from None
    return Start(answer_s, at_s, time.monotonic() - stopping, tuple(lines))


class _TookTooLong(Exception):
    """A process was silent until the deadline."""


class _Output:
    """A process's lines, read by a thread: a pipe cannot be waited for with a deadline."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # None: the end
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line.rstrip())
        self._lines.put(None)

    def next_line(self, deadline_s: float) -> str | None:
        """None at the end of the output. Raises _TookTooLong at the deadline."""
        try:
            return self._lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            raise _TookTooLong from None


@contextmanager
def _interruptible_children() -> Iterator[None]:
    """Whoever is started here can be stopped by Ctrl-C, even if we were started with `&`.

    A shell lets its background jobs ignore SIGINT, and what is ignored is ignored by every child;
    what is handled is not.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _kill(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tells(line: str) -> bool:
    """Lines that end a step: `name: 12 s`, `name (12.3 s)`."""
    return bool(re.search(r"(: \d+ s|\(\d+\.\d s\)|after \d+\.\d s)", line))
