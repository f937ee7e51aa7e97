"""Memory: what the whole stack holds resident, process by process."""

from pathlib import Path

from loadtest.benchmarks.result import Grid, Result, at_most
from loadtest.benchmarks.stack import a_stack
from loadtest.benchmarks.warmth import warm_up
from serving.stack.showing import memory_of

LIMIT_GB = 4.0
_GB, _MB = 1e9, 1e6


def measure(state_dir: Path, images: Path) -> Result:
    """RSS and PSS of every process after a few hundred calls."""
    with a_stack(state_dir) as stack:
        warm_up(state_dir, stack.door)
        memory = sorted(memory_of(stack), key=lambda process: -process.pss_bytes)
    rss, pss = (sum(getattr(p, name) for p in memory) for name in ("rss_bytes", "pss_bytes"))
    rows = tuple(
        (p.service, p.command, f"{p.rss_bytes / _MB:.0f}", f"{p.pss_bytes / _MB:.0f}")
        for p in memory
    )
    total = ("sum", "", f"{rss / _MB:.0f}", f"{pss / _MB:.0f}")
    return Result(
        name="memory",
        figures={
            "rss_gb": round(rss / _GB, 3),
            "pss_gb": round(pss / _GB, 3),
            "processes": len(memory),
        },
        checks=(
            at_most("resident memory of the whole stack (RSS summed)", rss / _GB, LIMIT_GB, " GB"),
        ),
        grids=(
            Grid("Megabytes, most first", ("service", "process", "RSS", "PSS"), (*rows, total)),
        ),
        notes=(
            "RSS counts a shared page in every process that maps it; PSS divides it among them, so"
            " that its sum is what the machine really holds. The limit is held against the larger.",
        ),
    )
