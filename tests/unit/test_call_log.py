"""Logs keep every call, merge without loss and come back as they were written."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.call_log import Outcome, Sending, log_bytes, log_of, merged, read_log, save_log
from loadtest.users.recording import Recorder
from shop.errors import NotFound
from tests.unit.load_logs import a_log

SENDING = Sending(5.0, (), 0, 0.25, 4.0)


def test_calls_that_warm_up_are_left_out_and_the_others_are_in_order() -> None:
    rows = [
        Outcome("cart", 2.0, 9.0, 0.1),
        Outcome("home", -1.0, 8.0, 0.1),
        Outcome("home", 1.0, 7.0, 0.1),
    ]
    log = log_of(rows, SENDING)
    assert log.at_s.tolist() == [1.0, 2.0]
    assert log.kinds.tolist() == ["home", "cart"]


def test_a_log_comes_back_as_it_was_written(tmp_path: Path) -> None:
    log = a_log([3.0, 1.0, 2.0], ["OK", "INTERNAL", "OK"], degraded=(("a B",), (), ("a B", "c D")))
    save_log(log, tmp_path / "deep" / "calls.npz")
    found = read_log(tmp_path / "deep" / "calls.npz")
    assert found.degraded == log.degraded
    assert found.codes.tolist() == log.codes.tolist()
    assert np.array_equal(found.stage_ms, log.stage_ms, equal_nan=True)
    assert (found.stages, found.wall_s, found.event_errors) == (log.stages, 2.0, 0)


def test_merged_logs_are_one_log_in_the_order_of_the_times() -> None:
    one = log_of([Outcome("home", 1.0, 5.0, 0.0, stage_ms={"tower": 1.0})], SENDING)
    two = log_of([Outcome("cart", 0.5, 6.0, 0.0, stage_ms={"ranking": 2.0})], SENDING)
    log = merged([one, two])
    assert log.latency_ms.tolist() == [6.0, 5.0]
    assert log.stages == ("tower", "ranking")
    assert log.stage_ms[:, 1][0] == 2.0
    assert np.isnan(log.stage_ms[0, 0])
    assert (log.generator_cpu_s, log.wall_s) == (0.5, 4.0)


def test_nothing_merges_to_nothing_that_could_be_judged() -> None:
    with pytest.raises(ValueError, match="no log"):
        merged([])


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 cut off", b"no zip at all"])
def test_what_is_no_log_is_refused_with_the_fix(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "calls.npz").write_bytes(raw)
    with pytest.raises(NotFound, match="--report DIR"):
        read_log(tmp_path / "calls.npz")
    with pytest.raises(NotFound, match="a worker sent"):
        read_log(raw)


def test_a_master_has_what_its_workers_report_and_each_call_once() -> None:
    master, worker = Recorder(), Recorder()
    worker.add(Outcome("home", 1.0, 5.0, 0.0))
    master.take_report(worker.report())
    worker.add(Outcome("home", 2.0, 6.0, 0.0))
    worker.add_event(4.0, logged=True, at_s=2.0)
    worker.add_event(4.0, logged=False, at_s=-1.0)
    master.take_report(worker.report())
    whole = master.whole()
    assert whole.at_s.tolist() == [1.0, 2.0]
    assert whole.event_latency_ms.tolist() == [4.0]
    assert whole.event_errors == 0


def test_a_new_test_forgets_the_one_before() -> None:
    recorder = Recorder()
    recorder.add(Outcome("home", 1.0, 5.0, 0.0))
    recorder.take_report(log_bytes(a_log([1.0])))
    recorder.begin(warm_up_s=5.0)
    assert len(recorder.whole()) == 0
