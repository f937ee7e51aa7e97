"""Something goes wrong under open-loop calls to a whole service: every call has its list in time.

Each call is made when it is due, whatever became of those before. Behind the service are a real
FAISS, a real Redis and real files; Triton and the shop's systems answer from twins over sockets.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from serving.adapters.faiss import FaissIndex
from serving.codec import Decoder
from serving.proto import recommendations_pb2 as pb
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.request import Answer
from serving.recommend.settings import RecommendSettings, StageBudgets
from serving.reply import encode_answer
from serving.service import Service
from serving.settings import HistoriesSettings, RulesSettings
from shop.errors import InvalidRequest, VitrineError
from shop.release import VECTORS_FILE
from shop.tokens import decode_attribution, decode_page
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.contract.test_release_switch import LOOK_S, a_whole_release, make_current, running
from tests.unit.feedback_writer import an_event
from tests.unit.small_shop import an_ask

RATE_PER_S = 40.0
TOTAL_S = 60.0  # generous: whether, not how fast
PATIENCE_S = 30.0
SHOPPER = "of-1"
# A busy machine must lose nothing by itself; a stalled history costs each call half a second.
BUDGETS = StageBudgets(
    total_ms=60_000.0,
    history_ms=500.0,
    tower_ms=10_000.0,
    index_ms=10_000.0,
    lookups_ms=10_000.0,
    ranking_ms=10_000.0,
)
NOTHING_KEPT = CacheSettings(max_mb=0)
PATIENT = RecommendSettings(budgets=BUDGETS, cache=NOTHING_KEPT)


@dataclass
class Load:
    """Calls that are made when they are due, and what became of them."""

    service: Callable[[], Service]  # whoever would be asked now
    answers: list[Answer] = field(default_factory=list)
    errors: list[VitrineError] = field(default_factory=list)

    async def during(self, seconds: float) -> None:
        """One open-loop stretch of calls, to the last answer."""
        loop = asyncio.get_running_loop()
        began_s, calls = loop.time(), []
        for number in range(round(seconds * RATE_PER_S)):
            await asyncio.sleep(max(0.0, began_s + number / RATE_PER_S - loop.time()))
            calls.append(asyncio.create_task(self._one(number)))
        await asyncio.gather(*calls)

    async def _one(self, number: int) -> None:
        ask = an_ask(shopper=SHOPPER, page_size=5, request_id=f"r{number}")
        try:
            answer = await self.service().recommend(ask, start_s=time.monotonic(), total_s=TOTAL_S)
            self.answers.append(answer)
        except VitrineError as error:
            self.errors.append(error)

    def lost(self) -> Counter[str]:
        """How often each thing was lost since this was asked last; every list held something."""
        assert self.errors == []
        assert self.answers
        assert all(len(answer.slate) == 5 for answer in self.answers)
        lost = Counter(f"{s} {r}" for answer in self.answers for s, r in answer.degraded)
        self.answers.clear()
        return lost


def a_broken_index(folder: Path) -> FaissIndex:
    """One that loads and works, and then fails at every search, by FAISS's own check."""
    vectors = np.load(folder / VECTORS_FILE)
    index = faiss.index_factory(vectors.shape[1], "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    adapter = FaissIndex(index)
    index.nprobe = 0
    return adapter


def test_an_index_that_begins_to_fail_costs_its_candidates_and_no_list(tmp_path: Path) -> None:
    folder = a_whole_release(tmp_path, 1)
    make_current(tmp_path, folder.name)
    broken = a_broken_index(folder)

    async def use() -> None:
        async with running(tmp_path, recommend=PATIENT) as (service, _):
            release = replace(service.deps.release, index=broken)
            failing = replace(service, deps=replace(service.deps, release=release))
            now = service
            load = Load(lambda: now)
            await load.during(0.5)
            assert load.lost() == {}
            now = failing
            await load.during(1.0)
            assert load.lost() == {"candidates FALLBACK_CANDIDATES": 40}
            now = service
            await load.during(0.5)
            assert load.lost() == {}

    asyncio.run(use())
    broken.close()


@needs_redis
def test_redis_slow_then_dead_then_back_costs_what_it_keeps_and_no_list(tmp_path: Path) -> None:
    """Histories, rankings and the rule book on it at once."""
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)

    async def use(server: RunningRedis) -> None:
        more = {
            "redis": server.settings,
            "histories": HistoriesSettings(store="redis"),
            "rules": RulesSettings(store="redis", look_every_s=0.05),
            "recommend": replace(PATIENT, cache=CacheSettings(store="redis")),
        }
        async with running(tmp_path, **more) as (service, _):
            following = asyncio.create_task(_keep_following(service))
            try:
                await through_it(server, service)
                assert not following.done()
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def through_it(server: RunningRedis, service: Service) -> None:
        load = Load(lambda: service)
        await load.during(1.0)
        load.lost()
        server.pause()
        await load.during(2.0)
        assert set(load.lost()) == {"history NO_HISTORY"}
        event = an_event("while-slow", shopper=SHOPPER, product_id="p3")
        # On disk; that the histories cannot be reached costs the event nothing.
        assert (await service.record([event], within_s=PATIENCE_S)).accepted == 1
        server.kill()
        await load.during(2.0)
        assert set(load.lost()) == {"history NO_HISTORY"}
        server.start()  # without what it held
        await eventually_known(service, "p3")
        await load.during(1.0)
        assert load.lost() == {}

    with RunningRedis() as server:
        asyncio.run(use(server))


async def _keep_following(service: Service) -> None:
    while True:
        await service.follow_rules()


async def eventually_known(service: Service, product: str) -> None:
    """Until what was recorded meanwhile is in the shopper's history, beside the release's."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            history = await service.deps.histories.of(SHOPPER, timeout_s=1.0)
        except VitrineError:
            history = None
        if history is not None and {"p1", product} <= set(history.product_ids):
            return
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


def test_two_replicas_on_two_releases_mix_nothing_and_pages_stay_with_theirs(
    tmp_path: Path,
) -> None:
    first, second = (a_whole_release(tmp_path, version).name for version in (1, 2))
    make_current(tmp_path, first)

    async def use() -> None:
        async with running(tmp_path, recommend=PATIENT) as (old, _):
            following = asyncio.create_task(old.of_next_release())
            make_current(tmp_path, second)
            new = await asyncio.wait_for(following, LOOK_S)
            turn = iter(range(10**6))
            load = Load(lambda: (old, new)[next(turn) % 2])
            await load.during(1.5)
            answers = list(load.answers)
            assert load.lost() == {}
            assert {answer.release for answer in answers} == {first, second}
            for answer in answers:
                replica = old if answer.release == first else new
                assert_of_one_release(replica, answer)
            for replica, other in ((old, new), (new, old)):
                await assert_page_stays_with(replica, other)

    asyncio.run(use())


def assert_of_one_release(replica: Service, answer: Answer) -> None:
    """Reply, products and both tokens name one release, and its catalogue knows them all."""
    tables, key = replica.tables, replica.token_key
    reply = encode_answer(answer, tables.catalogue, key, attribution_ttl_ms=60_000)
    assert reply.release == tables.release
    now_ms = answer.ask.context.now_ms
    told = decode_attribution(reply.attribution_token, key, now_ms=now_ms)
    assert told.release == tables.release
    names = tables.catalogue.product_ids[told.rows].tolist()
    assert names == [item.product_id for item in reply.items]
    page = decode_page(
        reply.next_page_token, key, fingerprint=answer.ask.fingerprint(), now_ms=now_ms
    )
    assert page.release == tables.release


async def assert_page_stays_with(replica: Service, other: Service) -> None:
    """The next page comes from the replica that made the first; another one refuses it, plainly."""
    request = pb.RecommendRequest(placement="home", user_id=SHOPPER, page_size=5)
    reply = await answered(replica, request)
    shown = [item.product_id for item in reply.items]
    request.page_token = reply.next_page_token
    further = await answered(replica, request)
    assert further.release == reply.release
    assert not {item.product_id for item in further.items} & set(shown)
    with pytest.raises(InvalidRequest, match="ask for the first page again") as refused:
        await answered(other, request)
    assert refused.value.field == "page_token"


async def answered(replica: Service, request: pb.RecommendRequest) -> pb.RecommendResponse:
    """As the gateway answers."""
    decoder: Decoder = replica.decoder
    answer = await replica.recommend(
        decoder.ask(request), start_s=time.monotonic(), total_s=TOTAL_S
    )
    return encode_answer(
        answer, replica.tables.catalogue, replica.token_key, attribution_ttl_ms=60_000
    )
