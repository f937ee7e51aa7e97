"""Start: from a fresh clone to the first answer with `make run`, and the second start."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.benchmarks.result import Grid, Result, at_most
from loadtest.benchmarks.stack import BenchmarkFailed

SECOND_START_S = 60.0
_ROOT = Path(__file__).resolve().parents[2]
_UP = "gRPC door:"
_GIVE_UP_S = 3_600.0
_FIRST_LINE_OF_ANSWER = "candidates scored by"


@dataclass(frozen=True, slots=True)
class _Start:
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
        first, second = _make_run(clone), _make_run(clone)
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


def _make_run(clone: Path) -> _Start:
    began = time.monotonic()
    process = subprocess.Popen(
        ("make", "run"),
        cwd=clone,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: list[tuple[float, str]] = []
    answer_s = up_s = float("nan")
    if process.stdout is None:
        raise BenchmarkFailed("make run has no output")
    for raw in process.stdout:
        at_s, line = time.monotonic() - began, raw.rstrip()
        lines.append((at_s, line))
        sys.stderr.write(raw)
        if _FIRST_LINE_OF_ANSWER in line:
            answer_s = at_s
        if _UP in line:
            up_s = at_s
            break
        if at_s > _GIVE_UP_S:
            process.kill()
    if up_s != up_s:
        raise BenchmarkFailed(f"`make run` ended with {process.wait()} before it served; see above")
    stopping = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: the whole group
    process.stdout.read()
    process.wait()
    return _Start(answer_s, up_s, time.monotonic() - stopping, tuple(lines))


def _tells(line: str) -> bool:
    """Lines that end a step: `name: 12 s`, `name (12.3 s)`."""
    return bool(re.search(r"(: \d+ s|\(\d+\.\d s\)|after \d+\.\d s)", line))
