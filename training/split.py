"""Split: what is learnt from, calibrated on and tested on, by time and never at random.

train            calibration            test
──────────────┤ train_end_ms ├──────┤ calibration_end_ms ├──────┤ test_end_ms
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shop.errors import DataRejected
from training.data.snapshot import Snapshot

_MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Split:
    """Three windows that follow each other; every bound is exclusive above."""

    train_end_ms: int
    calibration_end_ms: int
    test_end_ms: int

    def __post_init__(self) -> None:
        if not self.train_end_ms <= self.calibration_end_ms <= self.test_end_ms:
            raise ValueError(f"split windows overlap: {self}")

    def in_train(self, times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where an event may be learnt from, same shape."""
        return times_ms < self.train_end_ms

    def in_calibration(self, times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where an event is held out for early stopping and calibration, same shape."""
        return (times_ms >= self.train_end_ms) & (times_ms < self.calibration_end_ms)

    def in_test(self, times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where an event only measures, same shape."""
        return (times_ms >= self.calibration_end_ms) & (times_ms < self.test_end_ms)


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How long the two later windows are, in days; None takes the share of the data's own span."""

    test_days: float | None = None
    calibration_days: float | None = None
    test_share: float = 0.10
    calibration_share: float = 0.08


# Online Retail ends on 2011-12-09: the test is its last month, calibration the two weeks before.
# Two, not three: a tower that ends a week earlier finds about 3 % less of the next month.
_TEST_STARTS_MS = {
    "online-retail": int(datetime(2011, 11, 9, tzinfo=UTC).timestamp() * 1000),
}
_CALIBRATION_DAYS = {"online-retail": 14.0}


def time_split(snapshot: Snapshot, settings: SplitSettings | None = None) -> Split:
    """The three windows of `snapshot`; the known data sets have their own, settings win over them.

    Raises DataRejected if a window would be empty.
    """
    settings = settings or SplitSettings()
    manifest = snapshot.manifest
    end_ms = manifest.last_ms + 1
    span_days = (end_ms - manifest.first_ms) / _MS_PER_DAY
    test_start_ms = _TEST_STARTS_MS.get(manifest.source)
    if settings.test_days is not None or test_start_ms is None:
        test_days = settings.test_days or span_days * settings.test_share
        test_start_ms = end_ms - int(test_days * _MS_PER_DAY)
    calibration_days = (
        settings.calibration_days
        or _CALIBRATION_DAYS.get(manifest.source)
        or span_days * settings.calibration_share
    )
    split = Split(test_start_ms - int(calibration_days * _MS_PER_DAY), test_start_ms, end_ms)
    _check_windows(split, snapshot.events.times_ms)
    return split


def _check_windows(split: Split, times_ms: NDArray[np.int64]) -> None:
    windows = {
        "train": split.in_train(times_ms),
        "calibration": split.in_calibration(times_ms),
        "test": split.in_test(times_ms),
    }
    for name, mask in windows.items():
        if not mask.any():
            raise DataRejected(f"the {name} window holds no events; choose other window lengths")
