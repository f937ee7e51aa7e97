"""The page of benchmarks shows what was asked beside what was measured, and nothing else."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.benchmarks.command import TITLES
from loadtest.benchmarks.page import write_page
from loadtest.benchmarks.result import Grid, Result, at_least, at_most, keep, kept, machine

RESULT = Result(
    name="load",
    figures={"p99_ms": 41.0},
    checks=(at_most("p99", 41.0, 100.0, " ms"),),
    grids=(Grid("Latency", ("p50", "p99"), (("4.0 ms", "41.0 ms"),)),),
    pictures=("load.png",),
    notes=("9,000 calls.",),
    command="vitrine bench load",
    machine="2 cores",
)


def test_a_result_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    keep(RESULT, tmp_path)
    assert kept("load", tmp_path) == RESULT
    assert kept("memory", tmp_path) is None


@pytest.mark.parametrize(
    ("measured", "holds"), [(99.9, True), (100.0, True), (100.1, False), (float("nan"), False)]
)
def test_a_limit_holds_up_to_itself_and_never_for_nothing_measured(
    measured: float, holds: bool
) -> None:
    assert at_most("p99", measured, 100.0, " ms").holds == holds
    assert at_least("ratio", 200.0 - measured, 100.0, "").holds == holds


def test_the_page_names_command_machine_day_and_what_does_not_hold(tmp_path: Path) -> None:
    slow = replace(RESULT, name="faults", checks=(at_most("failed", 3.0, 0.0, ""),))
    write_page(tmp_path / "benchmarks.md", [RESULT, slow], TITLES, drawn=tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "`vitrine bench load`" in text
    assert "2 cores" in text
    assert RESULT.measured_at in text
    assert "| p99 | ≤ 100 ms | 41 ms | holds |" in text
    assert "| failed | ≤ 0 | 3 | **does not hold** |" in text
    assert "images/load.png" in text
    assert "[150 calls a second](#150-calls-a-second)" in text


def test_a_picture_changes_only_with_the_page(tmp_path: Path) -> None:
    page, drawn = tmp_path / "docs" / "benchmarks.md", tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "load.png").write_bytes(b"this run")
    (drawn / "other.png").write_bytes(b"of no result")
    write_page(page, [RESULT], TITLES, drawn=drawn)
    pictures = {path.name: path.read_bytes() for path in (page.parent / "images").iterdir()}
    assert pictures == {"load.png": b"this run"}
    (drawn / "load.png").unlink()
    write_page(page, [RESULT], TITLES, drawn=drawn)
    assert (page.parent / "images" / "load.png").read_bytes() == b"this run"


def test_the_machine_is_told_without_its_name() -> None:
    assert "cores" in machine()
    assert socket.gethostname() not in machine()
