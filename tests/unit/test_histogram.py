"""Percentiles are values that somebody had, and the verdict reads them right."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.call_log import OK
from loadtest.histogram import curve, percentile, percentiles
from loadtest.report import Report, as_text
from loadtest.verdict import Limits, faults_of, summary_of
from tests.unit.load_logs import a_log

LATENCIES = st.lists(st.floats(0.01, 10_000), min_size=1, max_size=300)


@given(LATENCIES, st.floats(1, 100))
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(
    values: list[float], at: float
) -> None:
    array = np.array(values)
    found = percentile(array, at)
    assert found in array
    assert np.mean(array <= found) * 100 >= at - 1e-9
    smaller = array[array < found]
    assert smaller.size == 0 or np.mean(array <= smaller.max()) * 100 < at


def test_the_usual_percentiles_of_a_hundred_values() -> None:
    found = percentiles(np.arange(1.0, 101.0))
    assert found == {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99.9": 100, "max": 100}


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile(np.zeros(0), 99.0))


@given(LATENCIES)
def test_the_curve_rises_from_the_fastest_to_the_slowest(values: list[float]) -> None:
    nines, ordered = curve(np.array(values))
    assert np.all(np.diff(nines) > 0)
    assert ordered[0] == min(values)
    assert ordered[-1] == max(values)


def test_failed_calls_do_not_flatter_the_latency_but_count_as_errors() -> None:
    log = a_log([10.0, 20.0, 0.1, 0.1], [OK, OK, "UNAVAILABLE", "INTERNAL"])
    summary = summary_of(log)
    assert summary.latency_ms["p50"] == 10.0
    assert summary.errors == {"UNAVAILABLE": 1, "INTERNAL": 1}
    assert summary.error_share == 0.5


def test_a_stage_that_no_reply_names_has_no_time() -> None:
    summary = summary_of(a_log([10.0]))
    assert summary.stage_p50_ms["tower"] == 1.0
    assert math.isnan(summary.stage_p50_ms["ranking"])
    assert summary.to_json()["stage_p50_ms"]["ranking"] is None


@pytest.mark.parametrize(
    ("latency_ms", "codes", "fault"),
    [
        ([10.0] * 100, None, None),
        ([200.0] * 100, None, "p99 is 200.0 ms, 100 ms are allowed"),
        ([10.0] * 99 + [0.1], [OK] * 99 + ["INTERNAL"], "1.00% of calls failed (1 INTERNAL)"),
        ([0.1] * 3, ["UNAVAILABLE"] * 3, "100.00% of calls failed (3 UNAVAILABLE)"),
        ([], None, "no call was sent"),
    ],
)
def test_the_verdict_names_what_is_wrong(
    latency_ms: list[float], codes: list[str] | None, fault: str | None
) -> None:
    faults = faults_of(summary_of(a_log(latency_ms, codes)), Limits(100.0, 0.0))
    assert (faults == []) == (fault is None)
    assert fault is None or fault in faults[0]


def test_lost_events_fail_the_run() -> None:
    summary = summary_of(a_log([10.0], event_errors=2))
    assert faults_of(summary, Limits(100.0, 0.0)) == [
        "100.00% of 2 events were not logged, 0.00% are allowed"
    ]


def test_degraded_calls_are_counted_by_reason() -> None:
    degraded = (("ranking NO_RANKING", "tower FALLBACK_CANDIDATES"), (), ("ranking NO_RANKING",))
    summary = summary_of(a_log([1.0, 2.0, 3.0], degraded=degraded))
    assert summary.degraded_calls == 2
    assert summary.degraded == {"ranking NO_RANKING": 2, "tower FALLBACK_CANDIDATES": 1}


def test_the_text_ends_with_the_verdict() -> None:
    limits = Limits(100.0, 0.0)
    for latency_ms, word in ((10.0, "PASSED"), (500.0, "FAILED")):
        log = a_log([latency_ms] * 9)
        report = Report("browse", log, summary_of(log), limits)
        assert as_text(report).splitlines()[-1].startswith(word)
