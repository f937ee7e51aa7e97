"""Verdict: what a load test came to, and whether that is good enough."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loadtest.histogram import percentile, percentiles
from loadtest.openloop import OK, CallLog


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of the run."""

    p99_ms: float
    error_share: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers. Percentiles are over answered calls; errors are counted beside them."""

    calls: int
    errors: dict[str, int]  # by gRPC status
    degraded: dict[str, int]  # calls by "stage REASON"
    degraded_calls: int
    rate_per_s: float  # answered
    latency_ms: dict[str, float]  # p50, p90, p95, p99, p99.9, max
    stage_p50_ms: dict[str, float]
    scored_p50: float
    scored_least: int
    generator_late_p99_ms: float
    generator_cpu_share: float  # of one core
    event_calls: int
    event_errors: int
    event_p50_ms: float

    @property
    def error_share(self) -> float:
        """Failed calls of all calls."""
        return sum(self.errors.values()) / self.calls if self.calls else 1.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object, floats rounded to what was measured; NaN becomes None."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def summary_of(log: CallLog) -> Summary:
    """The run in numbers."""
    ok = log.codes == OK
    latency_ms = log.latency_ms[ok]
    scored = log.scored[ok]
    with_stages = log.stage_ms[ok]
    span_s = max(float(log.at_s[-1] - log.at_s[0]), 1e-9) if len(log) else 1.0
    return Summary(
        calls=len(log),
        errors=dict(Counter(log.codes[~ok].tolist())),
        degraded=dict(Counter(reason for reasons in log.degraded for reason in set(reasons))),
        degraded_calls=sum(1 for reasons in log.degraded if reasons),
        rate_per_s=float(np.count_nonzero(ok)) / span_s,
        latency_ms=percentiles(latency_ms),
        stage_p50_ms={
            name: percentile(column[~np.isnan(column)], 50.0)
            for name, column in zip(log.stages, with_stages.T, strict=True)
        },
        scored_p50=percentile(scored, 50.0),
        scored_least=int(scored.min()) if scored.size else 0,
        generator_late_p99_ms=percentile(log.late_ms, 99.0),
        generator_cpu_share=log.generator_cpu_s / max(log.wall_s, 1e-9),
        event_calls=int(log.event_latency_ms.size) + log.event_errors,
        event_errors=log.event_errors,
        event_p50_ms=percentile(log.event_latency_ms, 50.0),
    )


def faults_of(summary: Summary, limits: Limits) -> list[str]:
    """Why the run is not good enough, as sentences; empty if it is."""
    faults = []
    if not summary.calls:
        return ["no call was sent"]
    if summary.error_share > limits.error_share:
        by_code = ", ".join(f"{n} {code}" for code, n in sorted(summary.errors.items()))
        faults.append(
            f"{summary.error_share:.2%} of calls failed ({by_code}),"
            f" {limits.error_share:.2%} are allowed"
        )
    p99_ms = summary.latency_ms["p99"]
    if not p99_ms <= limits.p99_ms:  # NaN fails too
        faults.append(f"p99 is {p99_ms:.1f} ms, {limits.p99_ms:g} ms are allowed")
    if summary.event_errors:
        faults.append(f"{summary.event_errors} of {summary.event_calls} events were not logged")
    return faults


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
