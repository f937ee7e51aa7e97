"""Report: a load test as text, JSON, a picture and one self-contained page.

Shapes: n calls.
"""

import base64
import html
import json
from pathlib import Path

import numpy as np

from loadtest.histogram import curve
from loadtest.openloop import OK, CallLog
from loadtest.verdict import Limits, Summary

_NINES = {0.30103: "p50", 1.0: "p90", 2.0: "p99", 3.0: "p99.9", 4.0: "p99.99"}


def as_text(summary: Summary, limits: Limits, faults: list[str]) -> str:
    """The run for a terminal; the last line is the verdict."""
    latency = "  ".join(f"{name} {ms:.1f}" for name, ms in summary.latency_ms.items())
    stages = "  ".join(f"{name} {ms:.2f}" for name, ms in summary.stage_p50_ms.items())
    errors = ", ".join(f"{n} {code}" for code, n in sorted(summary.errors.items())) or "none"
    lost = ", ".join(f"{n} {why}" for why, n in sorted(summary.degraded.items())) or "none"
    lines = [
        f"calls       {summary.calls} sent, {summary.rate_per_s:.1f}/s answered",
        f"latency ms  {latency}   (from the intended send time)",
        f"stages ms   {stages}   (p50, measured by the server)",
        f"scored      {summary.scored_p50:.0f} candidates a call (median),"
        f" least {summary.scored_least}",
        f"errors      {errors}",
        f"degraded    {lost}",
        f"generator   {summary.generator_cpu_share:.0%} of one core,"
        f" late by {summary.generator_late_p99_ms:.1f} ms at p99 (part of the latency above)",
    ]
    if summary.event_calls:
        lines.append(
            f"events      {summary.event_calls} logged, {summary.event_errors} failed,"
            f" p50 {summary.event_p50_ms:.1f} ms"
        )
    limit = f"p99 ≤ {limits.p99_ms:g} ms, errors ≤ {limits.error_share:.2%}"
    lines.append(f"PASSED      {limit}" if not faults else f"FAILED      {'; '.join(faults)}")
    return "\n".join(lines)


def write_report(
    folder: Path, *, title: str, log: CallLog, summary: Summary, limits: Limits, faults: list[str]
) -> Path:
    """Writes summary.json, calls.npz, latency.png and index.html; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = {"passed": not faults, "faults": faults}
    body = {"title": title, **verdict, **summary.to_json()}
    (folder / "summary.json").write_text(json.dumps(body, indent=2) + "\n")
    np.savez_compressed(
        folder / "calls.npz", at_s=log.at_s, latency_ms=log.latency_ms, codes=log.codes
    )
    picture = folder / "latency.png"
    draw(picture, title=title, log=log, summary=summary, limit_ms=limits.p99_ms)
    page = folder / "index.html"
    page.write_text(_page(title, as_text(summary, limits, faults), picture, not faults))
    return page


def draw(path: Path, *, title: str, log: CallLog, summary: Summary, limit_ms: float) -> None:
    """The latency curve to its tail, and where the time goes, side by side."""
    from matplotlib import figure  # heavy: only those who draw pay for it

    picture = figure.Figure(figsize=(9.0, 3.4), dpi=90, layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(3, 2))
    nines, ordered = curve(log.latency_ms[log.codes == OK])
    left.plot(nines, ordered, color="#1f5fa8", linewidth=1.6)
    left.axhline(limit_ms, color="#b3261e", linewidth=1.0, linestyle="--")
    left.text(0.02, limit_ms, f"limit p99 {limit_ms:g} ms", color="#b3261e", va="bottom", size=8)
    ticks = [at for at in _NINES if nines.size and at <= nines[-1]]
    left.set_xticks(ticks, [_NINES[at] for at in ticks])
    left.set_ylim(bottom=0)
    left.set_ylabel("ms from the intended send time")
    left.set_title(title, size=10)
    left.grid(alpha=0.3)
    names = [name for name in summary.stage_p50_ms if name != "total"]
    right.barh(names[::-1], [summary.stage_p50_ms[n] for n in names[::-1]], color="#5b8c5a")
    right.set_xlabel("ms, p50")
    right.set_title("where the time goes", size=10)
    right.grid(alpha=0.3, axis="x")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)


def _page(title: str, text: str, picture: Path, passed: bool) -> str:
    image = base64.b64encode(picture.read_bytes()).decode()
    colour = "#2e7d32" if passed else "#b3261e"
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}pre{background:#f4f4f4;padding:1rem;overflow-x:auto}img{max-width:100%}"
        f"h1{{border-left:.5rem solid {colour};padding-left:.7rem}}</style>"
        f"<h1>{html.escape(title)}</h1><pre>{html.escape(text)}</pre>"
        f"<img alt='latency by percentile, and the median time of every stage'"
        f" src='data:image/png;base64,{image}'></html>\n"
    )
