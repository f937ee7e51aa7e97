"""Cache settings: how much of what was ranked is kept, for how long, and what makes it worthless.

A bound that is broken raises ValueError, with the setting's name first.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Of the rankings kept for calls that come again. What is live in a list is never kept."""

    # Of one replica; 0 switches the cache off. An entry is 19 kB (600 candidates, 500 of them
    # ranked, four heads), so these are some 3,300: what 55 calls/s find within the time to live.
    max_mb: int = 64
    # Only how long ago things happened is as old as this in a list; log1p(hours) moves by 0.017.
    ttl_ms: int = 60_000
    # Share of the price by which it may differ from the one that was ranked by; the ranker sees its
    # logarithm, so this is less than rounding prices to 9 endings. Beyond it a product is ranked
    # anew. What is shown, and the margin that orders the list, are today's in any case.
    material_change: float = 0.005
    # How long a call waits for another that works on the very same list; the tower's budget.
    wait_ms: float = 20.0
    # memory: each replica its own. redis: those of a cluster share, beside what each has itself.
    store: Literal["memory", "redis"] = "memory"
    redis_ms: float = 3.0  # a read takes 0.1 ms; who waits longer had better work

    def __post_init__(self) -> None:
        if not 0 <= self.max_mb <= 65_536:
            raise ValueError("max_mb: must be 0 (no cache) to 65536")
        if not 0.0 <= self.material_change <= 0.1:
            raise ValueError("material_change: must be 0 to 0.1")
        for name in ("ttl_ms", "wait_ms", "redis_ms"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0")
        if self.ttl_ms > 900_000:
            raise ValueError("ttl_ms: must be at most 900000, a quarter of an hour")
