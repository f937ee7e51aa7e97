"""Cache metrics: the cache's own counts, read whenever somebody asks for metrics."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.recommend.cache import RankingCache


class CacheCollector(Collector):
    """What a replica's cache holds, and what became of its shared part."""

    def __init__(self, cache: RankingCache) -> None:
        self._cache = cache

    def collect(self) -> Iterable[Metric]:
        """One family each."""
        counts, kept = self._cache.counts, self._cache.kept
        for name, help_text, value in (
            ("evictions", "Rankings that made room for others", kept.evicted_count),
            ("shared_hits", "Rankings found by another replica", counts.shared_hits),
            (
                "shared_failures",
                "Reads and writes Redis did not answer",
                counts.shared_failures,
            ),
            ("damaged", "Records in Redis that could not be used", counts.damaged),
            ("waited", "Calls that waited for another with the same list", counts.waited),
        ):
            yield CounterMetricFamily(f"vitrine_cache_{name}", help_text, value)
        for name, help_text, now in (
            ("entries", "Rankings kept", len(kept)),
            ("bytes", "Memory they take", kept.kept_bytes),
        ):
            yield GaugeMetricFamily(f"vitrine_cache_{name}", help_text, now)
