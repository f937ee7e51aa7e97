"""Comparison of two load tests: what moved, and whether it moved more than chance would move it.

The interval of a difference comes from the calls themselves: both runs are cut into blocks of
neighbours, whole blocks are drawn anew (a block bootstrap, Künsch 1989, because neighbouring calls
share a queue), and the percentile is taken again. Shapes: n calls.
"""

import html
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.call_log import CALLS_FILE, OK, CallLog, read_log
from loadtest.histogram import percentile
from loadtest.plots import AMBER, comparison_svg
from loadtest.report import SUMMARY_FILE, as_image, page_of
from loadtest.verdict import Summary, summary_of
from shop.errors import NotFound

_DRAWS = 200
_BLOCKS = 30
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One of the two."""

    title: str
    log: CallLog
    summary: Summary


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of both runs. `low` and `high` bound B / A in 95 of 100 such pairs."""

    what: str
    before: float
    after: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """B / A; NaN if A is nothing."""
        return self.after / self.before if self.before else float("nan")

    @property
    def is_clear(self) -> bool:
        """Whether chance is no explanation."""
        return self.low > 1.0 or self.high < 1.0


def read_run(folder: Path) -> Run:
    """A report's folder. Raises NotFound, naming the fix."""
    log = read_log(folder / CALLS_FILE)
    try:
        title = str(json.loads((folder / SUMMARY_FILE).read_text())["title"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFound(f"{folder / SUMMARY_FILE} is no summary of a load test: {error}") from error
    return Run(title, log, summary_of(log))


def changes(before: Run, after: Run) -> list[Change]:
    """Percentiles with their intervals, p50 of every stage both have without."""
    low, high = _intervals(before.log, after.log)
    found = [
        Change(
            f"p{at:g} ms",
            percentile(_answered(before.log), at),
            percentile(_answered(after.log), at),
            float(low[number]),
            float(high[number]),
        )
        for number, at in enumerate(_PERCENTILES)
    ]
    return found + [
        Change(f"{stage} p50 ms", ms, after.summary.stage_p50_ms[stage], np.nan, np.nan)
        for stage, ms in before.summary.stage_p50_ms.items()
        if stage in after.summary.stage_p50_ms
    ]


def _answered(log: CallLog) -> NDArray[np.float64]:
    return log.latency_ms[log.codes == OK]


def _intervals(before: CallLog, after: CallLog) -> NDArray[np.float64]:
    """[2, P] of B / A under the block bootstrap; NaN if one of both answered nothing."""
    rng = np.random.default_rng(1)
    drawn = [_redrawn(_answered(log), rng) for log in (before, after)]
    ratios = drawn[1] / np.maximum(drawn[0], 1e-9)
    return np.asarray(np.percentile(ratios, [2.5, 97.5], axis=0))


def _redrawn(answered: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """[draws, P] percentiles of blocks drawn anew from a run's latencies in their order."""
    blocks = [block for block in np.array_split(answered, _BLOCKS) if block.size]
    if not blocks:
        return np.full((_DRAWS, len(_PERCENTILES)), np.nan)
    found = []
    for _ in range(_DRAWS):
        chosen = rng.integers(0, len(blocks), len(blocks))
        drawn = np.concatenate([blocks[each] for each in chosen])
        found.append(np.percentile(drawn, _PERCENTILES, method="inverted_cdf"))
    return np.array(found)


def as_text(before: Run, after: Run) -> str:
    """Both runs for a terminal."""
    lines = [f"A  {before.title}", f"B  {after.title}", ""]
    lines.append(f"{'':22}{'A':>10}{'B':>10}{'B / A':>9}   95 % of B / A")
    figures = (
        f"{change.what:22}{change.before:10.2f}{change.after:10.2f}{change.ratio:9.3f}"
        f"   {_bounds(change)}"
        for change in changes(before, after)
    )
    shares = (f"{what:22}{a:>10}{b:>10}" for what, a, b in _shares(before, after))
    return "\n".join([*lines, *figures, *shares])


def _bounds(change: Change) -> str:
    if np.isnan(change.low):
        return ""
    verdict = "no clear change"
    if change.is_clear:
        verdict = "B is slower" if change.ratio > 1 else "B is quicker"
    return f"{change.low:.3f} – {change.high:.3f}  {verdict}"


def _shares(before: Run, after: Run) -> list[tuple[str, str, str]]:
    a, b = before.summary, after.summary
    return [
        ("answered/s", f"{a.rate_per_s:.1f}", f"{b.rate_per_s:.1f}"),
        ("failed", f"{a.error_share:.2%}", f"{b.error_share:.2%}"),
        ("degraded", f"{a.degraded_share:.2%}", f"{b.degraded_share:.2%}"),
        ("ranked", f"{a.scored_share:.2%}", f"{b.scored_share:.2%}"),
        (
            "generator late p99 ms",
            f"{a.generator_late_p99_ms:.1f}",
            f"{b.generator_late_p99_ms:.1f}",
        ),
    ]


def write_comparison(file: Path, before: Run, after: Run) -> Path:
    """One page; returns its path."""
    title = f"A: {before.title} · B: {after.title}"
    picture = comparison_svg({"A": before.log, "B": after.log})
    body = (
        f"<header><b>comparison</b><h1>{html.escape(title)}</h1></header>"
        + as_image(picture, "percentiles, p99 over time and stage medians of both")
        + f"<pre>{html.escape(as_text(before, after))}</pre>"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page_of(title, AMBER, body))
    return file
