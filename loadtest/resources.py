"""Resources: memory and descriptors of a stack's processes over time, and how they grow with calls.

Shapes: n samples.
"""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from serving.stack.folder import StackState
from serving.stack.processes import descendants

_MB = 1e6
_PER = 100_000.0  # calls
# The shop's own systems are the simulator's: they are no part of the product.
NOT_OURS = "backends"
ALL = "all of the product"


@dataclass(frozen=True, slots=True)
class Use:
    """What the processes of one service use together."""

    rss_bytes: int = 0
    own_bytes: int = 0  # anonymous and shared memory: without files that are mapped
    descriptors: int = 0

    def __add__(self, other: "Use") -> "Use":
        return Use(
            self.rss_bytes + other.rss_bytes,
            self.own_bytes + other.own_bytes,
            self.descriptors + other.descriptors,
        )


@dataclass(slots=True)
class Sampled:
    """Samples in the order they were taken, each after so many calls."""

    calls: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    uses: list[dict[str, Use]] = field(default_factory=list)
    # Every process that was seen: one that was started again begins small, and hides a leak.
    pids: list[frozenset[int]] = field(default_factory=list)

    def take(self, stack: StackState, *, calls: int, seconds: float) -> None:
        """One more, of every process of the stack that lives."""
        use: dict[str, Use] = defaultdict(Use)
        pids = set()
        roots = {each.name: each.pid for each in stack.services if each.pid is not None}
        seen = set(roots.values())
        for name, root in [*roots.items(), ("supervisor", stack.supervisor_pid)]:
            below = [each for each in descendants(root) if each.pid not in seen]
            for process in [*_process(root), *below]:
                seen.add(process.pid)
                with contextlib.suppress(psutil.Error):  # gone meanwhile
                    use[name] += use_of(process)
                    pids.add(process.pid)
        ours = [each for name, each in use.items() if name != NOT_OURS]
        use[ALL] = sum(ours, Use())
        self.calls.append(calls)
        self.seconds.append(seconds)
        self.uses.append(dict(use))
        self.pids.append(frozenset(pids))

    @property
    def services(self) -> list[str]:
        """All whose use was sampled every time, the sum last."""
        always = set.intersection(*(set(each) for each in self.uses))
        return [*sorted(always - {ALL}), ALL]

    def column(self, service: str, what: str) -> NDArray[np.float64]:
        """[n] of one service: `rss_bytes`, `own_bytes` or `descriptors`."""
        return np.array([getattr(each[service], what) for each in self.uses], np.float64)

    def after(self, calls: int) -> "Sampled":
        """What was sampled after so many calls."""
        first = int(np.searchsorted(self.calls, calls))
        return Sampled(
            self.calls[first:], self.seconds[first:], self.uses[first:], self.pids[first:]
        )


def use_of(process: psutil.Process) -> Use:
    """Of one process. Raises psutil.Error if it is gone."""
    fields = _status(process.pid)
    own = fields.get("RssAnon", 0) + fields.get("RssShmem", 0)
    return Use(process.memory_info().rss, own, process.num_fds())


def growth_mb(sampled: Sampled, service: str, what: str = "rss_bytes") -> float:
    """MB per 100,000 calls, by least squares; NaN of fewer than three samples."""
    return _slope(sampled, sampled.column(service, what)) / _MB


def growth_of_descriptors(sampled: Sampled, service: str) -> float:
    """Descriptors per 100,000 calls, by least squares."""
    return _slope(sampled, sampled.column(service, "descriptors"))


def gained_descriptors(sampled: Sampled, service: str) -> float:
    """By how many the median of the last third exceeds that of the first."""
    column = sampled.column(service, "descriptors")
    third = max(1, column.size // 3)
    return float(np.median(column[-third:]) - np.median(column[:third]))


def _slope(sampled: Sampled, values: NDArray[np.float64]) -> float:
    calls = np.array(sampled.calls, np.float64)
    if calls.size < 3 or np.ptp(calls) == 0.0:
        return float("nan")
    slope, _ = np.polyfit(calls / _PER, values, 1)
    return float(slope)


def _process(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [psutil.Process(pid)]
    return []


def _status(pid: int) -> dict[str, int]:
    """Bytes, by the names of /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error
    pairs = (line.split() for line in lines if line.startswith("Rss"))
    return {name.rstrip(":"): int(kilobytes) << 10 for name, kilobytes, *_ in pairs}
