"""Logs of load tests, made up."""

import numpy as np

from loadtest.call_log import OK, CallLog


def a_log(latency_ms: list[float], codes: list[str] | None = None, **changes: object) -> CallLog:
    """One call each 10 ms."""
    n = len(latency_ms)
    fields: dict[str, object] = {
        "began_unix_s": 0.0,
        "kinds": np.array(["home"] * n, np.str_),
        "at_s": np.arange(n) / 100.0,
        "latency_ms": np.array(latency_ms, np.float64),
        "late_ms": np.zeros(n),
        "codes": np.array(codes or [OK] * n, np.str_),
        "degraded": ((),) * n,
        "scored": np.full(n, 500),
        "items": np.full(n, 20),
        "stages": ("tower", "ranking"),
        "stage_ms": np.tile(np.array([1.0, np.nan], np.float32), (n, 1)),
        "event_latency_ms": np.zeros(0),
        "event_errors": 0,
        "generator_cpu_s": 0.5,
        "wall_s": 2.0,
        "asked_again": np.zeros(n, np.int64),
    }
    given = {
        name: np.array(value) if isinstance(value, list) else value
        for name, value in changes.items()
    }
    return CallLog(**(fields | given))  # type: ignore[arg-type]
