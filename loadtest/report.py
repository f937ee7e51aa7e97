"""Report: a load test as text, and as one page that needs no other file."""

import base64
import html
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.call_log import CALLS_FILE, OK, CallLog, save_log
from loadtest.canary import Quiet
from loadtest.plots import BLUE, GREEN, RED, draw_percentiles, report_svg
from loadtest.verdict import Finding, Limits, Summary, faults_of, findings_of

SUMMARY_FILE, PAGE_FILE, HISTOGRAM_FILE = "summary.json", "index.html", "latency.hgrm"
PASSED, FAILED, VOID = "passed", "failed", "void"
_COLOURS = {PASSED: "#2e7d32", FAILED: RED, VOID: "#c77700"}


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A run and what was asked of it."""

    title: str
    log: CallLog
    summary: Summary
    limits: Limits
    quiet: Quiet | None = None  # None: nobody looked whether the machine was

    @property
    def faults(self) -> list[str]:
        """Why the run is not good enough; empty if it is."""
        return faults_of(self.summary, self.limits)

    @property
    def verdict(self) -> str:
        """A run on a noisy machine proves nothing, whichever way it went."""
        if self.quiet is not None and self.quiet.is_noisy:
            return VOID
        return FAILED if self.faults else PASSED


def as_text(report: Report) -> str:
    """The run for a terminal; the last line is the verdict."""
    summary = report.summary
    latency = "  ".join(f"{name} {ms:.1f}" for name, ms in summary.latency_ms.items())
    stages = "  ".join(f"{name} {ms:.2f}" for name, ms in summary.stage_p50_ms.items())
    errors = ", ".join(f"{n} {code}" for code, n in sorted(summary.errors.items())) or "none"
    lost = ", ".join(f"{n} {why}" for why, n in sorted(summary.degraded.items())) or "none"
    lines = [
        f"calls       {summary.calls} sent, {summary.rate_per_s:.1f}/s answered",
        f"latency ms  {latency}   (from the intended send time)",
        *_kind_lines(summary),
        f"stages ms   {stages}   (p50, measured by the server)",
        f"scored      {summary.scored_p50:.0f} candidates a call (median),"
        f" least {summary.scored_least}",
        f"errors      {errors}",
        f"degraded    {lost}",
        f"generator   {summary.generator_cpu_share:.0%} of one core,"
        f" late by {summary.generator_late_p99_ms:.1f} ms at p99 (part of the latency above)",
    ]
    if summary.asked_again:
        lines.append(f"asked again {summary.asked_again} calls, after having been turned away")
    if summary.event_calls:
        lines.append(
            f"events      {summary.event_calls} logged, {summary.event_errors} failed,"
            f" p50 {summary.event_p50_ms:.1f} ms"
        )
    if report.quiet is not None:
        lines.append(f"machine     {report.quiet.said()}")
    asked = ", ".join(f"{f.what} {f.asked}" for f in findings_of(summary, report.limits))
    why = "; ".join(report.faults) or asked
    return "\n".join([*lines, f"{report.verdict.upper():11} {why}"])


def _kind_lines(summary: Summary) -> list[str]:
    if len(summary.kinds) < 2:
        return []
    each = (f"{name} {kind.p50_ms:.1f}/{kind.p99_ms:.1f}" for name, kind in summary.kinds.items())
    return [f"by kind     {'  '.join(each)}   (p50/p99)"]


def write_report(folder: Path, report: Report) -> Path:
    """Writes the page, the summary, all calls and an HDR percentile file; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = {
        "title": report.title,
        "verdict": report.verdict,
        "passed": report.verdict == PASSED,
        "faults": report.faults,
        "limits": {k: v for k, v in asdict(report.limits).items() if v is not None},
        "canary": None if report.quiet is None else asdict(report.quiet),
        **report.summary.to_json(),
    }
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    save_log(report.log, folder / CALLS_FILE)
    answered = report.log.latency_ms[report.log.codes == OK]
    (folder / HISTOGRAM_FILE).write_text(percentile_table(answered))
    page = folder / PAGE_FILE
    page.write_text(_page(report))
    return page


def percentile_table(latency_ms: NDArray[np.float64]) -> str:
    """The text that plotters of HDR histograms read, from the exact values."""
    ordered = np.sort(latency_ms)
    size = ordered.size
    nines = np.arange(0, int(np.log2(max(size, 1))) * 2 + 1) / 2
    shares = np.append(1.0 - 2.0 ** -nines[nines > 0], 1.0)
    rows = [f"{'Value':>12} {'Percentile':>16} {'TotalCount':>10} {'1/(1-Percentile)':>18}", ""]
    for share in shares if size else ():
        at = max(1, int(np.ceil(share * size)))
        beyond = f"{1 / (1 - share):18.2f}" if share < 1 else f"{'inf':>18}"
        rows.append(f"{ordered[at - 1]:12.3f} {share:16.12f} {at:10d} {beyond}")
    if size:
        mean, deviation = float(ordered.mean()), float(ordered.std())
        rows += [
            f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]",
            f"#[Max     = {ordered[-1]:12.3f}, Total count    = {size:12d}]",
        ]
    return "\n".join(rows) + "\n"


def draw(path: Path, *, title: str, log: CallLog, summary: Summary, limit_ms: float) -> None:
    """The latency curve to its tail, and where the time goes, side by side."""
    from matplotlib import figure  # heavy: only those who draw pay for it

    picture = figure.Figure(figsize=(9.0, 3.4), dpi=90, layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(3, 2))
    draw_percentiles(left, {"": log}, limit_ms)
    left.set_title(title, size=10)
    names = [name for name in summary.stage_p50_ms if name != "total"]
    right.barh(names[::-1], [summary.stage_p50_ms[n] for n in names[::-1]], color="#5b8c5a")
    right.set_xlabel("ms, p50")
    right.set_title("where the time goes", size=10)
    right.grid(alpha=0.3, axis="x")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)


def page_of(title: str, colour: str, body: str) -> str:
    """A page that needs nothing else."""
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:1.5rem auto;padding:0 1rem;"
        "color:#1c1c1c}h1{font-size:1.4rem;margin:.2rem 0}"
        f"header{{border-left:.6rem solid {colour};padding-left:.9rem}}"
        f"header b{{color:{colour};text-transform:uppercase;letter-spacing:.06em}}"
        ".cards{display:flex;flex-wrap:wrap;gap:.7rem;margin:1rem 0}"
        ".cards div{background:#f4f5f7;padding:.5rem .9rem;border-radius:.4rem;min-width:6.5rem}"
        ".cards span{display:block;font-size:1.5rem;font-weight:600}"
        ".cards small{color:#555}table{border-collapse:collapse;margin:.6rem 1.5rem .6rem 0;"
        "display:inline-table;vertical-align:top}td,th{padding:.2rem .8rem;text-align:left;"
        "border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}"
        f".bad{{color:{RED};font-weight:600}}.good{{color:{GREEN}}}.big{{color:{BLUE}}}"
        "img{width:100%}pre{background:#f4f5f7;padding:1rem;overflow-x:auto;font-size:13px}"
        f"</style>{body}</html>\n"
    )


def as_image(svg: str, says: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(svg.encode()).decode()
    return f"<img alt='{html.escape(says)}' src='data:image/svg+xml;base64,{data}'>"


def _page(report: Report) -> str:
    colour = _COLOURS[report.verdict]
    why = "; ".join(report.faults) or "everything that was asked holds"
    if report.quiet is not None:
        why = f"{why} · machine {report.quiet.said()}"
    picture = report_svg(report.log, limit_ms=report.limits.p99_ms)
    body = (
        f"<header><b>{report.verdict}</b><h1>{html.escape(report.title)}</h1>"
        f"{html.escape(why)}</header>{_cards(report.summary)}"
        f"{_limits_table(findings_of(report.summary, report.limits))}{_kinds_table(report.summary)}"
        + as_image(picture, "latency, percentiles, throughput, stages, losses, generator")
        + f"<pre>{html.escape(as_text(report))}</pre>"
    )
    return page_of(report.title, colour, body)


def _cards(summary: Summary) -> str:
    shown = {
        "p50": f"{summary.latency_ms['p50']:.1f} ms",
        "p99": f"{summary.latency_ms['p99']:.1f} ms",
        "answered": f"{summary.rate_per_s:.1f}/s",
        "calls": f"{summary.calls:,}",
        "failed": f"{summary.error_share:.2%}",
        "degraded": f"{summary.degraded_share:.2%}",
        "ranked": f"{summary.scored_share:.2%}",
        "generator late, p99": f"{summary.generator_late_p99_ms:.1f} ms",
    }
    cards = (
        f"<div><span>{value}</span><small>{name}</small></div>" for name, value in shown.items()
    )
    return f"<div class='cards'>{''.join(cards)}</div>"


def _limits_table(findings: list[Finding]) -> str:
    rows = "".join(
        f"<tr><td>{f.what}<td class='n'>{html.escape(f.asked)}<td class='n'>{f.measured}"
        f"<td class='{'good' if f.holds else 'bad'}'>{'holds' if f.holds else 'does not hold'}"
        for f in findings
    )
    return f"<table><tr><th>limit<th>asked<th>measured<th>{rows}</table>"


def _kinds_table(summary: Summary) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class='n'>{kind.calls:,}<td class='n'>{kind.failed:,}"
        f"<td class='n'>{kind.p50_ms:.1f}<td class='n'>{kind.p99_ms:.1f}"
        for name, kind in summary.kinds.items()
    )
    return f"<table><tr><th>kind<th>calls<th>failed<th>p50 ms<th>p99 ms{rows}</table>"
