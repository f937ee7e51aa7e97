"""Plots of a load test: time series of it, and latency by percentile to the tail.

Drawn as SVG, so that a report needs no other file and prints sharply.
Shapes: n calls, W windows of time, S stages.
"""

import io
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loadtest.call_log import OK, CallLog
from loadtest.histogram import curve, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED, GREEN, GREY, AMBER = "#1f5fa8", "#b3261e", "#3f7d3e", "#8a8a8a", "#c77700"
_STAGE_COLOURS = (
    *("#1f5fa8", "#5b8c5a", "#c77700", "#7a4fa3", "#2a8c8c", "#b3261e", "#8a8a8a"),
    *("#c2608f", "#6b5b3e", "#111111"),
)
_NINES = {0.30103: "p50", 1.0: "p90", 2.0: "p99", 3.0: "p99.9", 4.0: "p99.99"}
_MOST_WINDOWS = 120
_MOST_POINTS = 600  # of a curve; the tail keeps all of its own
_WHOLE = ("total",)  # stages that hold the others


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A log cut into even windows of time."""

    width_s: float
    middles_s: NDArray[np.float64]  # [W]
    number: NDArray[np.int64]  # [n] the window of each call

    @staticmethod
    def of(log: CallLog) -> "Windows":
        """Whole seconds, at most some hundred windows; one for a log without calls."""
        span_s = float(log.at_s.max(initial=0.0)) + 1e-9
        width_s = max(1.0, np.ceil(span_s / _MOST_WINDOWS))
        count = max(1, int(np.ceil(span_s / width_s)))
        number = np.minimum((log.at_s / width_s).astype(np.int64), count - 1)
        return Windows(width_s, (np.arange(count) + 0.5) * width_s, number)

    def counts(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[W] calls a second that were due, of those in `mask` [n]."""
        found = np.bincount(self.number[mask], minlength=self.middles_s.size)
        return found / self.width_s

    def counts_at(self, moments_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """[W] of these moments a second; what comes after the last window is left out."""
        number = (moments_s / self.width_s).astype(np.int64)
        inside = number[number < self.middles_s.size]
        return np.bincount(inside, minlength=self.middles_s.size) / self.width_s

    def percentile(
        self, values: NDArray[np.floating], mask: NDArray[np.bool_], at: float
    ) -> NDArray[np.float64]:
        """[W] of `values` [n] inside `mask` [n]; NaN where there is none."""
        order = np.argsort(self.number[mask], kind="stable")
        ordered, numbers = values[mask][order], self.number[mask][order]
        edges = np.searchsorted(numbers, np.arange(self.middles_s.size + 1))
        return np.array([percentile(ordered[a:b], at) for a, b in itertools.pairwise(edges)])


def report_svg(log: CallLog, *, limit_ms: float | None) -> str:
    """Six plots: latency, percentiles, throughput, stages, losses, the generator itself."""
    figure, plots = _sheet(3, 2, height=9.6)
    windows, ok = Windows.of(log), log.codes == OK
    _latency(plots[0][0], log, windows, ok, limit_ms)
    draw_percentiles(plots[0][1], {"this run": log}, limit_ms)
    _throughput(plots[1][0], log, windows, ok)
    _stages(plots[1][1], log, windows, ok)
    _losses(plots[2][0], log, windows, ok)
    _generator(plots[2][1], log, windows)
    return _as_svg(figure)


def comparison_svg(logs: Mapping[str, CallLog]) -> str:
    """Percentiles, p99 over time and stage medians of both, side by side."""
    figure, plots = _sheet(1, 3, height=3.6)
    draw_percentiles(plots[0][0], logs, None)
    for (name, log), colour in zip(logs.items(), (BLUE, AMBER), strict=False):
        windows = Windows.of(log)
        p99 = windows.percentile(log.latency_ms, log.codes == OK, 99.0)
        plots[0][1].plot(windows.middles_s, p99, color=colour, label=name)
    _finish(plots[0][1], "p99 over time", "s", "ms")
    plots[0][1].legend(fontsize=8)
    _stage_bars(plots[0][2], logs)
    return _as_svg(figure)


def draw_percentiles(axes: "Axes", logs: Mapping[str, CallLog], limit_ms: float | None) -> None:
    """Latency by percentile, on an axis that shows the tail."""
    last = 0.0
    for (name, log), colour in zip(logs.items(), (BLUE, AMBER), strict=False):
        nines, ordered = curve(log.latency_ms[log.codes == OK])
        kept = _thinned(nines.size)
        axes.plot(nines[kept], ordered[kept], color=colour, linewidth=1.6, label=name)
        last = max(last, float(nines[-1]) if nines.size else 0.0)
    if limit_ms is not None:
        axes.axhline(limit_ms, color=RED, linewidth=1.0, linestyle="--")
        axes.text(0.02, limit_ms, f"p99 limit {limit_ms:g} ms", color=RED, va="bottom", size=8)
    ticks = [at for at in _NINES if at <= last]
    axes.set_xticks(ticks, [_NINES[at] for at in ticks])
    if len(logs) > 1:
        axes.legend(fontsize=8)
    _finish(axes, "latency by percentile", "", "ms from the intended send time")


def _latency(
    axes: "Axes", log: CallLog, windows: Windows, ok: NDArray[np.bool_], limit_ms: float | None
) -> None:
    for at, colour in ((50.0, GREEN), (95.0, AMBER), (99.0, BLUE)):
        values = windows.percentile(log.latency_ms, ok, at)
        axes.plot(windows.middles_s, values, color=colour, label=f"p{at:g}")
    if limit_ms is not None:
        axes.axhline(limit_ms, color=RED, linewidth=1.0, linestyle="--")
    axes.legend(fontsize=8, ncols=3)
    _finish(axes, f"latency over time, windows of {windows.width_s:g} s", "s", "ms")


def _throughput(axes: "Axes", log: CallLog, windows: Windows, ok: NDArray[np.bool_]) -> None:
    due = windows.counts(np.ones(ok.shape, np.bool_))
    axes.step(windows.middles_s, due, color=GREY, where="mid", label="due")
    done_s = log.at_s + log.latency_ms / 1e3
    for mask, colour, label in ((ok, BLUE, "answered then"), (~ok, RED, "failed then")):
        if mask.any():
            rates = windows.counts_at(done_s[mask])
            axes.step(windows.middles_s, rates, color=colour, where="mid", label=label)
    axes.legend(fontsize=8, ncols=3)
    _finish(axes, "throughput", "s", "calls/s")


def _stages(axes: "Axes", log: CallLog, windows: Windows, ok: NDArray[np.bool_]) -> None:
    for name, column in zip(log.stages, log.stage_ms.T, strict=True):
        if name in _WHOLE:
            continue
        values = windows.percentile(column, ok & ~np.isnan(column), 50.0)
        at = log.stages.index(name) % len(_STAGE_COLOURS)
        axes.plot(windows.middles_s, values, color=_STAGE_COLOURS[at], label=name)
    if log.stages:
        axes.legend(fontsize=7, ncols=3)
    _finish(axes, "stages over time, p50 as the server measures them", "s", "ms")


def _losses(axes: "Axes", log: CallLog, windows: Windows, ok: NDArray[np.bool_]) -> None:
    common = Counter(reason for reasons in log.degraded for reason in set(reasons))
    for (reason, _), colour in zip(common.most_common(5), _STAGE_COLOURS, strict=False):
        has = np.array([reason in reasons for reasons in log.degraded], np.bool_)
        axes.step(windows.middles_s, windows.counts(has), where="mid", color=colour, label=reason)
    for code, colour in zip(sorted({str(c) for c in log.codes[~ok]}), (RED, GREY), strict=False):
        failed = windows.counts(log.codes == code)
        axes.step(windows.middles_s, failed, where="mid", color=colour, linestyle=":", label=code)
    if common or not ok.all():
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=GREEN)
    _finish(axes, "degraded and failed calls", "s", "calls/s")


def _generator(axes: "Axes", log: CallLog, windows: Windows) -> None:
    everything = np.ones(len(log), np.bool_)
    late = windows.percentile(log.late_ms, everything, 99.0)
    axes.plot(windows.middles_s, late, color=AMBER, label="p99")
    _finish(axes, "how late the generator sent (part of the latency)", "s", "ms, p99")


def _stage_bars(axes: "Axes", logs: Mapping[str, CallLog]) -> None:
    names = [
        name
        for name in dict.fromkeys(name for log in logs.values() for name in log.stages)
        if name not in _WHOLE
    ]
    height = 0.8 / max(1, len(logs))
    for at, ((label, log), colour) in enumerate(zip(logs.items(), (BLUE, AMBER), strict=False)):
        medians = [_median(log, name) for name in names]
        places = np.arange(len(names)) + at * height
        axes.barh(places, medians, height=height, color=colour, label=label)
    axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names, fontsize=8)
    axes.invert_yaxis()
    _finish(axes, "stages, p50", "ms", "")


def _median(log: CallLog, stage: str) -> float:
    if stage not in log.stages:
        return 0.0
    column = log.stage_ms[:, log.stages.index(stage)]
    found = percentile(column[~np.isnan(column)], 50.0)
    return 0.0 if np.isnan(found) else found


def _thinned(size: int) -> NDArray[np.int64]:
    """Which of so many ordered points are drawn: few of the body, all of the tail."""
    if size <= _MOST_POINTS:
        return np.arange(size)
    tail = np.unique(size - np.geomspace(1, size, _MOST_POINTS).astype(np.int64))
    return np.asarray(tail)


def _finish(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, size=10, loc="left")
    axes.set_xlabel(x, size=8)
    axes.set_ylabel(y, size=8)
    axes.tick_params(labelsize=8)
    axes.set_ylim(bottom=0) if not axes.yaxis_inverted() else None
    axes.grid(alpha=0.3)


def _sheet(rows: int, columns: int, *, height: float):  # type: ignore[no-untyped-def]
    from matplotlib import figure  # heavy: only those who draw pay for it

    sheet = figure.Figure(figsize=(12.0, height), layout="constrained")
    return sheet, sheet.subplots(rows, columns, squeeze=False)


def _as_svg(figure) -> str:  # type: ignore[no-untyped-def]
    import matplotlib as mpl

    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "loadtest"}):
        figure.savefig(written, format="svg", metadata=nothing)
    return written.getvalue()
