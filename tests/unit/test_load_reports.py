"""Reports: one page that needs nothing else, two runs compared, noise called by its name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtest.call_log import CallLog
from loadtest.canary import Quiet
from loadtest.comparison import Run, changes, read_run
from loadtest.report import FAILED, PASSED, VOID, Report, as_text, percentile_table
from loadtest.verdict import Limits, summary_of
from shop.errors import NotFound
from tests.unit.load_logs import a_log

QUIET = Quiet(1.0, 1.1, 1.2)


def a_report(log: CallLog, limits: Limits | None = None, quiet: Quiet | None = QUIET) -> Report:
    return Report("browse, 9/s", log, summary_of(log), limits or Limits(100.0, 0.0), quiet)


def latencies(scale: float = 1.0, *, seed: int = 1, count: int = 1_000) -> list[float]:
    return (scale * np.random.default_rng(seed).lognormal(2.0, 0.5, count)).tolist()


@pytest.mark.parametrize(
    ("quiet", "is_noisy"),
    [
        (Quiet(1.0, 1.5, 1.5), False),
        (Quiet(1.0, 1.51, 1.0), True),
        (Quiet(1.0, 1.0, 1.6), True),
        (Quiet(4.0, 4.2, 0.2), True),  # it was never idle before
        (Quiet(1.0, float("nan"), 1.0), True),
    ],
)
def test_a_round_is_void_where_the_canary_took_half_as_long_again(
    quiet: Quiet, is_noisy: bool
) -> None:
    assert quiet.is_noisy == is_noisy


def test_a_noisy_machine_voids_a_run_whichever_way_it_went() -> None:
    noisy = replace(QUIET, after_ms=9.0)
    good, bad = a_log([10.0] * 9), a_log([500.0] * 9)
    assert [a_report(log).verdict for log in (good, bad)] == [PASSED, FAILED]
    assert [a_report(log, quiet=noisy).verdict for log in (good, bad)] == [VOID, VOID]
    assert "VOID: the machine is busy elsewhere" in as_text(a_report(good, quiet=noisy))


def test_the_percentile_table_is_exact_and_ends_with_the_slowest() -> None:
    rows = [line.split() for line in percentile_table(np.arange(1.0, 1_001.0)).splitlines()]
    figures = {
        float(row[1]): float(row[0]) for row in rows if len(row) == 4 and row[0][0].isdigit()
    }
    assert figures[0.5] == 500.0
    assert figures[0.75] == 750.0
    assert figures[1.0] == 1_000.0


def test_a_report_of_nothing_is_a_report() -> None:
    assert percentile_table(np.zeros(0)).startswith(" ")
    assert "no call was sent" in as_text(a_report(a_log([])))


def test_kinds_are_told_apart() -> None:
    log = a_log([1.0, 1.0, 9.0], kinds=["home", "home", "search"])
    kinds = summary_of(log).kinds
    assert (kinds["home"].calls, kinds["search"].p99_ms) == (2, 9.0)
    assert "search 9.0/9.0" in as_text(a_report(log))


def test_a_change_that_chance_explains_is_not_called_one() -> None:
    a, b = a_log(latencies(seed=1)), a_log(latencies(seed=2))
    same = {c.what: c for c in changes(Run("A", a, summary_of(a)), Run("B", b, summary_of(b)))}
    assert not same["p50 ms"].is_clear
    slow = a_log(latencies(1.5, seed=3))
    other = changes(Run("A", a, summary_of(a)), Run("B", slow, summary_of(slow)))
    median = other[0]
    assert median.is_clear
    assert median.low < 1.5 < median.high
    assert median.ratio == pytest.approx(1.5, rel=0.1)


def test_a_folder_without_a_report_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--report DIR"):
        read_run(tmp_path)
