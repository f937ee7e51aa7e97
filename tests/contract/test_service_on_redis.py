"""A replica with its histories in Redis: filled from the release, whenever Redis is there."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from serving.recommend.cache_settings import CacheSettings
from serving.recommend.ports import StoredHistory
from serving.recommend.request import CacheStatus, Degradation, Stage
from serving.recommend.settings import RecommendSettings
from serving.service import Service
from serving.settings import HistoriesSettings, RulesSettings
from shop.errors import DependencyError
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.contract.test_release_switch import a_whole_release, make_current, running
from tests.unit.feedback_writer import an_event
from tests.unit.rule_books import toml_of
from tests.unit.small_shop import an_ask

pytestmark = needs_redis
PATIENCE_S = 30.0
ON_REDIS = HistoriesSettings(store="redis")
SHOPPER = "of-1"  # whom the release knows


@pytest.fixture
def server() -> Iterator[RunningRedis]:
    with RunningRedis() as opened:
        yield opened


async def read(service: Service) -> StoredHistory | None:
    try:
        return await service.deps.histories.of(SHOPPER, timeout_s=1.0)
    except DependencyError:
        return None


async def eventually_known(service: Service) -> StoredHistory:
    until = time.monotonic() + PATIENCE_S
    while (history := await read(service)) is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
    return history


async def losses(service: Service) -> set[tuple[Stage, Degradation]]:
    ask = an_ask(shopper=SHOPPER)
    answer = await service.recommend(ask, start_s=time.monotonic(), total_s=5.0)
    assert len(answer.slate) > 0
    return set(answer.degraded)


def test_an_empty_redis_is_filled_and_an_event_counts_in_the_very_next_call(
    server: RunningRedis, tmp_path: Path
) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)

    async def use() -> None:
        async with running(tmp_path, histories=ON_REDIS, redis=server.settings) as (service, _):
            history = await read(service)
            assert history is not None
            assert history.product_ids == ("p1",)
            event = an_event("e", shopper=SHOPPER, product_id="p2")
            assert (await service.record([event], within_s=5.0)).accepted == 1
            history = await read(service)
            assert history is not None
            assert history.product_ids == ("p1", "p2")
            assert (Stage.HISTORY, Degradation.NO_HISTORY) not in await losses(service)

    asyncio.run(use())
    assert not (tmp_path / "histories.lmdb").exists()


def test_a_replica_starts_and_answers_without_redis_and_fills_it_when_it_is_there(
    server: RunningRedis, tmp_path: Path
) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)
    server.kill()

    async def use() -> None:
        async with running(tmp_path, histories=ON_REDIS, redis=server.settings) as (service, _):
            assert (Stage.HISTORY, Degradation.NO_HISTORY) in await losses(service)
            server.start()
            assert (await eventually_known(service)).product_ids == ("p1",)
            assert (Stage.HISTORY, Degradation.NO_HISTORY) not in await losses(service)
            server.kill()  # and comes back without what it held
            server.start()
            assert await read(service) is None
            assert (await eventually_known(service)).product_ids == ("p1",)

    asyncio.run(use())


@pytest.mark.parametrize("store", ["lmdb", "redis"])
def test_a_store_that_lost_everything_is_made_again_from_the_release_and_the_log(
    server: RunningRedis, tmp_path: Path, store: Literal["lmdb", "redis"]
) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)

    async def use(*, record: bool) -> StoredHistory | None:
        histories = HistoriesSettings(store=store)
        async with running(tmp_path, histories=histories, redis=server.settings) as (service, _):
            if record:
                event = an_event("e", shopper=SHOPPER, product_id="p2")
                assert (await service.record([event], within_s=5.0)).accepted == 1
            return await read(service)

    before = asyncio.run(use(record=True))
    server.kill()
    server.start()
    shutil.rmtree(tmp_path / "histories.lmdb", ignore_errors=True)
    after = asyncio.run(use(record=False))
    assert before is not None
    assert after is not None
    assert after.product_ids == before.product_ids == ("p1", "p2")


def test_a_replica_uses_what_another_ranked_and_goes_by_the_rules_of_all(
    server: RunningRedis, tmp_path: Path
) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)
    # Patient: this is about what is found, on a machine that may be busy.
    cache = CacheSettings(store="redis", redis_ms=2_000.0)
    on_redis = {
        "redis": server.settings,
        "recommend": RecommendSettings(cache=cache),
        "rules": RulesSettings(store="redis", look_every_s=0.02),
    }

    async def first() -> None:
        async with running(tmp_path, **on_redis) as (service, _):
            assert await statuses(service, 2) == [CacheStatus.MISS, CacheStatus.HIT]
            (tmp_path / "rules.toml").write_text(
                toml_of('kind = "boost"\nfactor = 2.0\nproducts = ["p1"]')
            )
            until = time.monotonic() + PATIENCE_S
            while not service.deps.rules.book.rules:
                assert time.monotonic() < until
                await service.follow_rules()

    async def second() -> None:
        async with running(tmp_path, **on_redis) as (service, _):
            assert len(service.deps.rules.book.rules) == 1
            assert await statuses(service, 1) == [CacheStatus.HIT]

    asyncio.run(first())
    (tmp_path / "rules.toml").unlink()
    (tmp_path / "rules.accepted.toml").unlink()
    asyncio.run(second())


async def statuses(service: Service, count: int) -> list[CacheStatus]:
    found = []
    for _ in range(count):
        ask = an_ask(shopper=SHOPPER)
        answer = await service.recommend(ask, start_s=time.monotonic(), total_s=5.0)
        assert not answer.degraded
        found.append(answer.cache.status)
        await asyncio.sleep(0)  # what is shared is written meanwhile
    return found
