"""Verdict: what a load test came to, and whether that is good enough."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.call_log import OK, CallLog
from loadtest.histogram import percentile, percentiles


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of the run; None: not asked."""

    p99_ms: float | None = None
    error_share: float | None = None  # failed calls of all
    p50_ms: float | None = None
    p999_ms: float | None = None
    degraded_share: float | None = None  # degraded calls of the answered ones
    scored_share: float | None = None  # ranked lists of the answered calls, at the least
    event_error_share: float | None = 0.0  # failed LogEvents calls
    late_p99_ms: float | None = None  # of the generator itself


@dataclass(frozen=True, slots=True)
class KindSummary:
    """The calls of one kind."""

    calls: int
    failed: int
    p50_ms: float
    p99_ms: float


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
    scored_share: float  # of the answered calls, those with a ranked list
    generator_late_p99_ms: float
    generator_cpu_share: float  # of one core
    event_calls: int
    event_errors: int
    event_p50_ms: float
    kinds: dict[str, KindSummary]
    asked_again: int = 0  # calls whose clients were turned away before

    @property
    def failed(self) -> int:
        """Calls without an answer."""
        return sum(self.errors.values())

    @property
    def error_share(self) -> float:
        """Failed calls of all calls."""
        return self.failed / self.calls if self.calls else 1.0

    @property
    def degraded_share(self) -> float:
        """Degraded calls of the answered ones; NaN if none was."""
        answered = self.calls - self.failed
        return self.degraded_calls / answered if answered else float("nan")

    def to_json(self) -> dict[str, Any]:
        """A JSON object, floats rounded to what was measured; NaN becomes None."""
        shares = {"error_share": self.error_share, "degraded_share": self.degraded_share}
        return {name: _rounded(value) for name, value in (asdict(self) | shares).items()}


def summary_of(log: CallLog) -> Summary:
    """The run in numbers."""
    ok = log.codes == OK
    scored = log.scored[ok]
    with_stages = log.stage_ms[ok]
    span_s = max(float(log.at_s[-1] - log.at_s[0]), 1e-9) if len(log) else 1.0
    return Summary(
        calls=len(log),
        errors=dict(Counter(log.codes[~ok].tolist())),
        degraded=dict(Counter(reason for reasons in log.degraded for reason in set(reasons))),
        degraded_calls=sum(1 for reasons in log.degraded if reasons),
        rate_per_s=float(np.count_nonzero(ok)) / span_s,
        latency_ms=percentiles(log.latency_ms[ok]),
        stage_p50_ms={
            name: percentile(column[~np.isnan(column)], 50.0)
            for name, column in zip(log.stages, with_stages.T, strict=True)
        },
        scored_p50=percentile(scored, 50.0),
        scored_least=int(scored.min()) if scored.size else 0,
        scored_share=float(np.mean(scored > 0)) if scored.size else float("nan"),
        generator_late_p99_ms=percentile(log.late_ms, 99.0),
        generator_cpu_share=log.generator_cpu_s / max(log.wall_s, 1e-9),
        event_calls=int(log.event_latency_ms.size) + log.event_errors,
        event_errors=log.event_errors,
        event_p50_ms=percentile(log.event_latency_ms, 50.0),
        kinds={
            str(kind): _of_kind(log.latency_ms[log.kinds == kind], ok[log.kinds == kind])
            for kind in np.unique(log.kinds)
        },
        asked_again=int(np.count_nonzero(log.asked_again)),
    )


def _of_kind(latency_ms: NDArray[np.float64], ok: NDArray[np.bool_]) -> KindSummary:
    """[n] of both: the calls of one kind."""
    answered = latency_ms[ok]
    failed = int(np.count_nonzero(~ok))
    return KindSummary(int(ok.size), failed, percentile(answered, 50.0), percentile(answered, 99.0))


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit beside what was measured."""

    what: str
    asked: str
    measured: str
    holds: bool
    fault: str  # what is wrong, if it does not hold


def findings_of(summary: Summary, limits: Limits) -> list[Finding]:
    """Every limit that is asked; NaN holds nothing."""
    by_code = ", ".join(f"{n} {code}" for code, n in sorted(summary.errors.items()))
    lost = ", ".join(f"{n} {why}" for why, n in sorted(summary.degraded.items()))
    events = summary.event_errors / summary.event_calls if summary.event_calls else 0.0
    found = [
        _share("failed", summary.error_share, limits.error_share, f"of calls failed ({by_code})"),
        _ms("p50", summary.latency_ms["p50"], limits.p50_ms),
        _ms("p99", summary.latency_ms["p99"], limits.p99_ms),
        _ms("p99.9", summary.latency_ms["p99.9"], limits.p999_ms),
        _share(
            "degraded", summary.degraded_share, limits.degraded_share, f"of answers lack {lost}"
        ),
        _at_least("ranked", summary.scored_share, limits.scored_share, "of answers were ranked"),
        _share(
            "events lost",
            events,
            limits.event_error_share,
            f"of {summary.event_calls} events were not logged",
        ),
        _ms("generator late, p99", summary.generator_late_p99_ms, limits.late_p99_ms),
    ]
    return [each for each in found if each is not None]


def faults_of(summary: Summary, limits: Limits) -> list[str]:
    """Why the run is not good enough, as sentences; empty if it is."""
    if not summary.calls:
        return ["no call was sent"]
    return [finding.fault for finding in findings_of(summary, limits) if not finding.holds]


def _ms(what: str, measured: float, limit: float | None) -> Finding | None:
    if limit is None:
        return None
    fault = f"{what} is {measured:.1f} ms, {limit:g} ms are allowed"
    return Finding(what, f"≤ {limit:g} ms", f"{measured:.1f} ms", measured <= limit, fault)


def _share(what: str, measured: float, limit: float | None, fault: str) -> Finding | None:
    return _judged(what, measured, limit, f"{measured:.2%} {fault}", "≤", lambda m, x: m <= x)


def _at_least(what: str, measured: float, limit: float | None, fault: str) -> Finding | None:
    fault = f"only {measured:.2%} {fault}"
    return _judged(what, measured, limit, fault, "≥", lambda m, x: m >= x)


def _judged(
    what: str,
    measured: float,
    limit: float | None,
    fault: str,
    sign: str,
    holds: Callable[[float, float], bool],
) -> Finding | None:
    if limit is None:
        return None
    allowed = "are allowed" if sign == "≤" else "are asked"
    return Finding(
        what,
        f"{sign} {limit:.2%}",
        f"{measured:.2%}",
        holds(measured, limit),
        f"{fault}, {limit:.2%} {allowed}",
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
