"""Rankings shared through a real Redis: found by other replicas, and never worth waiting for."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
import redis

from serving.adapters.redis_rankings import RedisRankings
from serving.adapters.redis_settings import RedisSettings
from serving.recommend.cache import RankingCache, Shape
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.ranking_record import MAX_RECORD_BYTES, Ranking
from shop.errors import DependencyError, DependencyTimeout
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.rankings import a_ranking
from tests.unit.small_shop import a_schema

pytestmark = needs_redis
KEY = bytes(range(20))
PATIENCE_S = 10.0


@pytest.fixture
def server() -> Iterator[RunningRedis]:
    with RunningRedis() as opened:
        yield opened


@asynccontextmanager
async def rankings_at(server: RunningRedis) -> AsyncIterator[RedisRankings]:
    rankings = RedisRankings(server.settings)
    try:
        yield rankings
    finally:
        await rankings.aclose()


def on(server: RunningRedis, use: Callable[[RedisRankings], Awaitable[None]]) -> None:
    async def run() -> None:
        async with rankings_at(server) as rankings:
            await use(rankings)

    asyncio.run(run())


def test_what_was_written_is_read_until_it_expires(server: RunningRedis) -> None:
    async def use(rankings: RedisRankings) -> None:
        assert await rankings.read(KEY, timeout_s=5.0) is None
        await rankings.write(KEY, b"\0record\xff", ttl_ms=300)
        assert await rankings.read(KEY, timeout_s=5.0) == b"\0record\xff"
        until = time.monotonic() + PATIENCE_S
        while await rankings.read(KEY, timeout_s=5.0) is not None:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)

    on(server, use)


def test_every_name_has_the_prefix_and_expires(server: RunningRedis) -> None:
    async def use(rankings: RedisRankings) -> None:
        await rankings.write(KEY, b"record", ttl_ms=60_000)

    on(server, use)
    with redis.Redis.from_url(server.url) as client:
        (name,) = client.keys()
        assert name == b"vitrine:ranking:" + KEY.hex().encode()
        assert 0 < client.pttl(name) <= 60_000


def test_no_more_is_read_than_a_record_may_have(server: RunningRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set(b"vitrine:ranking:" + KEY.hex().encode(), bytes(8_000_000))

    async def use(rankings: RedisRankings) -> None:
        found = await rankings.read(KEY, timeout_s=5.0)
        assert found is not None
        assert len(found) == MAX_RECORD_BYTES + 1

    on(server, use)


def test_another_kind_of_value_is_a_lost_dependency(server: RunningRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.rpush(b"vitrine:ranking:" + KEY.hex().encode(), b"a list")

    async def use(rankings: RedisRankings) -> None:
        with pytest.raises(DependencyError):
            await rankings.read(KEY, timeout_s=5.0)

    on(server, use)


def test_a_stalled_server_is_left_within_the_time(server: RunningRedis) -> None:
    async def use(rankings: RedisRankings) -> None:
        await rankings.write(KEY, b"record", ttl_ms=60_000)
        server.pause()
        try:
            with pytest.raises(DependencyTimeout):
                await rankings.read(KEY, timeout_s=0.003)
        finally:
            server.go_on()
        assert await rankings.read(KEY, timeout_s=5.0) == b"record"

    on(server, use)


def cache_on(rankings: RedisRankings) -> RankingCache:
    # Patient: this is about what is found, on a machine that may be busy.
    return RankingCache(CacheSettings(store="redis", redis_ms=2_000.0), time.monotonic, rankings)


async def recalled(cache: RankingCache, key: bytes = KEY) -> Ranking | None:
    shape = Shape(row_count=61, schema=a_schema())
    async with cache.recalled(key, shape, now_ms=1_000, within_s=5.0) as ranking:
        return ranking


async def eventually_recalled(cache: RankingCache) -> Ranking:
    until = time.monotonic() + PATIENCE_S
    while (ranking := await recalled(cache)) is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    return ranking


def test_a_replica_finds_what_another_kept_and_then_has_it_itself(server: RunningRedis) -> None:
    async def run() -> None:
        async with rankings_at(server) as one, rankings_at(server) as other:
            first, second = cache_on(one), cache_on(other)
            kept = a_ranking(made_ms=1_000)
            first.keep(KEY, kept)
            found = await eventually_recalled(second)
            assert found.packed() == kept.packed()
            assert second.counts.shared_hits == 1
            server.kill()
            assert (await eventually_recalled(second)).packed() == kept.packed()
            await first.close()
            await second.close()

    asyncio.run(run())


def test_a_server_that_is_down_costs_misses_that_are_counted_until_it_is_back(
    server: RunningRedis,
) -> None:
    async def use(rankings: RedisRankings) -> None:
        cache = cache_on(rankings)
        server.kill()
        for number in range(8):
            assert await recalled(cache, bytes([number]) * 20) is None
        failures = cache.counts.shared_failures
        assert failures == 5  # then it is left alone, and no call waits for it
        began = time.perf_counter()
        for number in range(100):
            assert await recalled(cache, bytes([100 + number]) * 20) is None
        assert time.perf_counter() - began < 0.5
        server.start()
        other = cache_on(rankings)
        other.keep(KEY, a_ranking(made_ms=1_000))
        await eventually_recalled(cache)  # a probe finds that it is back
        await cache.close()
        await other.close()

    on(server, use)


def test_nothing_is_connected_by_a_replica_that_shares_nothing() -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            nowhere = RedisRankings(replace(RedisSettings(), url="redis://127.0.0.1:1/0"))
            stack.push_async_callback(nowhere.aclose)
            with pytest.raises(DependencyError):
                await nowhere.read(KEY, timeout_s=5.0)

    asyncio.run(run())
