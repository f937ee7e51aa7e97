"""Time windows: training never reads what calibration or test measure."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shop.errors import DataRejected
from training.data.snapshot import Events, Snapshot, SnapshotManifest
from training.split import Split, SplitSettings, time_split

_DAY_MS = 86_400_000


def a_snapshot(days: np.ndarray, *, source: str = "world", first_ms: int = 0) -> Snapshot:
    times = first_ms + (days * _DAY_MS).astype(np.int64)
    nothing = np.zeros(times.size, dtype=np.int64)
    columns = dict.fromkeys(Events.__slots__, nothing) | {"times_ms": times}
    manifest = SnapshotManifest(
        "s", 1, source, "EUR", {}, int(times[0]), int(times[-1]), True, True, {}
    )
    none = pa.table({})
    return Snapshot(Path(), manifest, none, none, np.array([]), (), (), (), Events(**columns))


def test_every_event_falls_into_exactly_one_window() -> None:
    snapshot = a_snapshot(np.arange(0, 100, 0.25))
    split = time_split(snapshot)
    times = snapshot.events.times_ms
    windows = [split.in_train(times), split.in_calibration(times), split.in_test(times)]
    assert (np.sum(windows, axis=0) == 1).all()


def test_windows_follow_each_other_in_time() -> None:
    snapshot = a_snapshot(np.arange(0, 100, 0.25))
    split = time_split(snapshot)
    times = snapshot.events.times_ms
    assert times[split.in_train(times)].max() < times[split.in_calibration(times)].min()
    assert times[split.in_calibration(times)].max() < times[split.in_test(times)].min()


def test_the_last_tenth_of_the_days_is_the_test() -> None:
    snapshot = a_snapshot(np.arange(0, 100, 0.25))
    tested = time_split(snapshot).in_test(snapshot.events.times_ms)
    assert tested.mean() == pytest.approx(0.10, abs=0.005)


def test_online_retail_is_tested_on_its_last_month() -> None:
    december_2010 = 1_291_161_600_000
    snapshot = a_snapshot(np.arange(0, 374, 0.5), source="online-retail", first_ms=december_2010)
    split = time_split(snapshot)
    assert np.datetime64(split.calibration_end_ms, "ms") == np.datetime64("2011-11-09")
    assert np.datetime64(split.train_end_ms, "ms") == np.datetime64("2011-10-26")


def test_settings_win_over_the_usual_windows() -> None:
    snapshot = a_snapshot(np.arange(0, 100, 0.25))
    split = time_split(snapshot, SplitSettings(test_days=5, calibration_days=3))
    assert split.test_end_ms - split.calibration_end_ms == 5 * _DAY_MS
    assert split.calibration_end_ms - split.train_end_ms == 3 * _DAY_MS


def test_an_empty_window_is_refused_by_name() -> None:
    snapshot = a_snapshot(np.array([0.0, 99.0, 100.0]))
    with pytest.raises(DataRejected, match="calibration"):
        time_split(snapshot)


def test_overlapping_windows_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="overlap"):
        Split(train_end_ms=2, calibration_end_ms=1, test_end_ms=3)
