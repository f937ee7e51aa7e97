"""Pages of load tests, drawn for real: each needs nothing else."""

import json
from pathlib import Path

import numpy as np

from loadtest.call_log import CallLog
from loadtest.canary import Quiet
from loadtest.comparison import read_run, write_comparison
from loadtest.report import PASSED, Report, write_report
from loadtest.verdict import Limits, summary_of
from tests.unit.load_logs import a_log


def a_report(log: CallLog) -> Report:
    limits = Limits(100.0, 0.0)
    return Report("browse, 9/s", log, summary_of(log), limits, Quiet(1.0, 1.1, 1.2))


def latencies(scale: float) -> list[float]:
    return (scale * np.random.default_rng(1).lognormal(2.0, 0.5, 2_000)).tolist()


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    log = a_log([float(n) for n in range(1, 200)])
    report = Report("browse, 150/s <Poisson>", log, summary_of(log), Limits(100.0, 0.0))
    page = write_report(tmp_path / "report", report)
    text = page.read_text()
    assert "browse, 150/s &lt;Poisson&gt;" in text
    assert "data:image/svg+xml;base64," in text
    assert "http" not in text
    assert (page.parent / "summary.json").exists()
    assert (page.parent / "latency.hgrm").exists()


def test_two_reports_become_one_page(tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 1.5)):
        write_report(tmp_path / name, a_report(a_log(latencies(scale))))
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["verdict"] == PASSED
    assert summary["canary"]["idle_ms"] == 1.0
    page = write_comparison(tmp_path / "c" / "index.html", *(read_run(tmp_path / n) for n in "ab"))
    assert "B is slower" in page.read_text()
    assert "http" not in page.read_text()


def test_a_run_in_which_all_went_wrong_is_drawn_too(tmp_path: Path) -> None:
    lost = (("ranking NO_RANKING",),) * 3
    log = a_log([1.0] * 3, ["UNAVAILABLE", "INTERNAL", "DATA_LOSS"], degraded=lost)
    assert "does not hold" in write_report(tmp_path / "bad", a_report(log)).read_text()
    assert write_report(tmp_path / "none", a_report(a_log([]))).exists()
