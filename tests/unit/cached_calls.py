"""Calls to a replica with a cache, each held against the answer that it would give without."""

from typing import Any

from serving.recommend.request import Answer, Ask, CacheStatus
from tests.unit.cached_shops import NoticingModels, Replica, a_replica, same
from tests.unit.small_shop import a_history, an_ask

HIT, PARTIAL, MISS, BYPASS = CacheStatus
PLAIN = an_ask(shopper="s1", page_size=5)


def answer(replica: Replica, ask: Ask = PLAIN) -> Answer:
    """What it answers, and that it would answer the same without its cache."""

    async def both() -> tuple[Answer, Answer]:
        return await replica.answer(ask), await replica.answer_anew(ask)

    cached, anew = replica.shop.time.run(both())
    assert same(cached, anew)
    return cached


def status(replica: Replica, ask: Ask = PLAIN) -> CacheStatus:
    return answer(replica, ask).cache.status


def warm(ask: Ask = PLAIN, **made: Any) -> Replica:
    """A replica that has answered this once. s1 has clicked p7 and p9."""
    replica = a_replica(**made)
    replica.shop.histories.of_shopper["s1"] = a_history("p7", "p9")
    assert status(replica, ask) in (MISS, BYPASS)
    return replica


def models(replica: Replica) -> NoticingModels:
    found = replica.deps.release.ranker
    assert isinstance(found, NoticingModels)
    return found
