"""Replicas with caches on one shop's systems, whose models notice everything that they are told.

The twin of each replica has no cache. It shares the replica's memory of prices, stock and filters,
so whatever it answers otherwise is the cache's doing.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serving.adapters.memory import MemoryRankings, Temper
from serving.deadline import Deadline
from serving.recommend.cache import RankingCache
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.call import Deps
from serving.recommend.lookups import OfferCache
from serving.recommend.pipeline import recommend
from serving.recommend.ports import LoadedRelease
from serving.recommend.request import Answer, Ask
from serving.recommend.settings import RecommendSettings
from shop.blend import Quotas
from shop.explore import ExplorationSettings
from shop.features import ShopperFeatures
from shop.neighbours import Neighbours
from tests.unit.rule_books import a_fitted
from tests.unit.small_shop import PLAIN, SmallShop, a_shop, next_five

PRODUCTS = 40
TIGHT = replace(  # few enough that what is sold out makes room for what was not ranked
    PLAIN,
    quotas=Quotas(
        two_tower=8,
        item_item=4,
        history=2,
        popular=2,
        exploration=6,
        candidates=18,
        looked_up=22,
    ),
    exploration=ExplorationSettings(epsilon=0.5, slots=(2, 4)),
)


@dataclass(slots=True, eq=False)
class NoticingModels(Temper):
    """User tower and ranker whose answers change with anything they are told but ages."""

    salt: str = ""
    asked: list[list[int]] = field(default_factory=list)  # rows, for every ranking

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        await self.act()
        vector = _drawn(self._seen(features), 4).astype(np.float32) - np.float32(0.5)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        """[N, H], each from its own row and values alone, as the real ranker's."""
        await self.act()
        self.asked.append(candidate_rows.tolist())
        seen = self._seen(features) + user_vector.tobytes()
        rows = zip(candidate_rows.tolist(), candidate_values, strict=True)
        each = [_drawn(seen + str(row).encode() + values.tobytes(), 4) for row, values in rows]
        return np.array(each, dtype=np.float32).reshape(candidate_rows.size, 4)

    def _seen(self, features: ShopperFeatures) -> bytes:
        told = (features.history_rows, features.history_events, features.context_codes)
        return self.salt.encode() + b"".join(each.tobytes() for each in told)


def _drawn(seed: bytes, count: int) -> NDArray[np.float64]:
    """[count] in 0..1, as if at random."""
    digest = hashlib.blake2b(seed, digest_size=8 * count).digest()
    return np.frombuffer(digest, np.uint64) / 2.0**64


@dataclass(slots=True, eq=False)
class Replica:
    """One replica on one release."""

    shop: SmallShop
    cache: RankingCache
    settings: RecommendSettings = TIGHT
    deps: Deps = field(init=False)
    without: Deps = field(init=False)  # the same, without its cache

    def __post_init__(self) -> None:
        self.serve("release-1")

    def serve(self, release: str) -> None:
        """Serves this release from now on, with the rules of the one before."""
        shop, before = self.shop, getattr(self, "deps", None)
        tables = replace(shop.deps.release.tables, release=release, neighbours=_neighbours(release))
        models = NoticingModels(salt=release)
        loaded = LoadedRelease(tables, models, models, shop.index)
        offers = OfferCache(tables.catalogue, shop.systems, self.settings.offers, shop.time)
        self.deps = replace(
            shop.deps,
            release=loaded,
            offers=offers,
            settings=self.settings,
            rules=shop.deps.rules if before is None else before.rules,
            cache=self.cache,
        )
        self.without = replace(self.deps, cache=None, impressions=_Unlogged())
        object.__setattr__(self.without, "filter_masks", self.deps.filter_masks)

    def go_by(self, *rules: str) -> None:
        """A rule book that this replica alone knows so far."""
        fitted = a_fitted(self.deps.release.tables.catalogue, *rules)
        own = type(self.deps.rules)()
        own.enforce(fitted)
        for each in (self.deps, self.without):
            object.__setattr__(each, "rules", own)

    async def answer(self, ask: Ask) -> Answer:
        """What this replica answers now."""
        answer = await self._answer(ask, self.deps)
        for _ in range(3):  # what it shares with the others is written meanwhile
            await asyncio.sleep(0)
        return answer

    async def answer_anew(self, ask: Ask) -> Answer:
        """What it would answer now if it had no cache."""
        return await self._answer(ask, self.without)

    async def _answer(self, ask: Ask, deps: Deps) -> Answer:
        time = self.shop.time
        now = replace(ask, context=replace(ask.context, now_ms=time.now_ms))
        deadline = Deadline(time, start_s=time(), total_s=1.0, reserve_s=0.005)
        return await recommend(now, deps, deadline)


class _Unlogged:
    def put(self, impression: object) -> None:
        """Forgets it."""


def _neighbours(release: str) -> Neighbours:
    """Other ones in another release."""
    found = next_five(PRODUCTS)
    if release == "release-1":
        return found
    shifted = np.where(found.rows > 0, found.rows % PRODUCTS + 1, 0).astype(np.int32)
    return Neighbours(shifted, found.scores)


def a_replica(
    shop: SmallShop | None = None,
    *,
    shared: MemoryRankings | None = None,
    settings: RecommendSettings = TIGHT,
    cache: CacheSettings | None = None,
) -> Replica:
    """A replica of its own shop, unless one is named."""
    shop = shop or a_shop(PRODUCTS, settings=settings)
    settings = replace(settings, cache=cache or settings.cache)
    return Replica(shop, RankingCache(settings.cache, shop.time, shared), settings)


def same(one: Answer, other: Answer) -> bool:
    """Whether the two are the same list, as far as a shopper, the log and a next page can tell."""
    columns = ("rows", "values", "propensities", "moved")
    shown = (one.slate, other.slate)
    prices = [answer.offers.price_minor[answer.slate.at] for answer in (one, other)]
    pages = [None if a.next_page is None else a.next_page.rows.tolist() for a in (one, other)]
    return (
        all(np.array_equal(*(getattr(slate, name) for slate in shown)) for name in columns)
        and np.array_equal(*prices)
        and pages[0] == pages[1]
        and one.degraded == other.degraded
        and one.release == other.release
    )
