"""Caches: opens what a replica keeps of its rankings, and what replicas share, if they do."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from serving.recommend.cache import RankingCache
from serving.recommend.ports import SharedRankings
from serving.settings import Settings


@asynccontextmanager
async def open_cache(settings: Settings) -> AsyncIterator[RankingCache]:
    """One for all releases of a replica. That Redis is not there yet is no reason to wait."""
    cache_settings = settings.recommend.cache
    async with AsyncExitStack() as stack:
        shared: SharedRankings | None = None
        if cache_settings.store == "redis" and cache_settings.max_mb > 0:
            # Only here: whoever does not use Redis does not load its library.
            from serving.adapters.redis_rankings import RedisRankings

            shared = rankings = RedisRankings(settings.redis)
            stack.push_async_callback(rankings.aclose)
        cache = RankingCache(cache_settings, time.monotonic, shared)
        stack.push_async_callback(cache.close)  # its writes end before their connections do
        yield cache
