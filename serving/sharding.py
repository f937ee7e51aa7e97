"""Sharding: the gateway's side of an index in shards: opens them, and goes over with them.

A release takes over only where no shard that answers for the one before would be lost by it, so
that going over never costs a part of the catalogue.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.adapters.shard_wire import shard_token
from serving.adapters.shards import ShardCounts, ShardedIndex, Shards, ShardState
from serving.settings import Settings
from shop.errors import SettingsRejected

logger = logging.getLogger(__name__)

_ASK_EVERY_S = 0.5


class _Holding(Protocol):
    async def hold(self, release: str) -> list[ShardState | None]: ...


def check_shards(settings: Settings) -> None:
    """Raises SettingsRejected if there are shards and nobody says where."""
    about = settings.index
    if about.shards and not about.addresses:
        raise SettingsRejected(
            f"index.addresses = []: must name the {about.shards} shards, unless `vitrine up`"
            " starts them"
        )


def open_shards(settings: Settings, release_key: bytes) -> Shards | None:
    """The connections to them; None where every replica holds the whole index."""
    check_shards(settings)
    about = settings.index
    return Shards(about.addresses, shard_token(release_key)) if about.shards else None


async def until_held(
    shards: _Holding,
    release: str,
    *,
    before: str,
    is_wanted: Callable[[], bool],
    every_s: float = _ASK_EVERY_S,
) -> bool:
    """True once every shard that holds `before` holds `release`; False once nobody wants it.

    A shard that does not answer holds neither, and is not waited for.
    """
    told: list[str] = []
    while is_wanted():
        lacking = _lacking(await shards.hold(release), release, before)
        if not lacking:
            return True
        if lacking != told:
            logger.warning("%s waits for %s", release, "; ".join(lacking))
            told = lacking
        await asyncio.sleep(every_s)
    return False


def _lacking(states: Iterable[ShardState | None], release: str, before: str) -> list[str]:
    return [
        f"shard {at}: {state.failed.get(release, 'still loading')}"
        for at, state in enumerate(states)
        if state is not None and before in state.held and release not in state.held
    ]


class ShardCollector(Collector):
    """Reads an index's counts whenever somebody asks for metrics."""

    def __init__(self) -> None:
        self.of: ShardedIndex | None = None  # None: the index is in this process

    def collect(self) -> Iterable[Metric]:
        """Nothing at all without shards."""
        if self.of is None:
            return
        yield GaugeMetricFamily(
            "vitrine_index_coverage",
            "Share of the products in shards that answered when last asked",
            self.of.covered_share,
        )
        asked = CounterMetricFamily(
            "vitrine_shard_questions", "Questions to shards of the index", labels=("shard",)
        )
        failed = CounterMetricFamily(
            "vitrine_shard_failures", "Of them, without a usable answer", labels=("shard",)
        )
        for at, counts in enumerate(self._counts()):
            asked.add_metric((str(at),), counts.asked)
            failed.add_metric((str(at),), counts.failed)
        yield asked
        yield failed

    def _counts(self) -> tuple[ShardCounts, ...]:
        return () if self.of is None else self.of.shard_counts
