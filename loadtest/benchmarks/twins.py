"""Twins: the served path wired from memory around a real FAISS index, to measure it by itself.

Shapes: R catalogue rows.
"""

import time

import numpy as np

from export.index import build_index
from loadtest.benchmarks.synthetic import SIZE, some_shoppers, some_vectors
from serving.adapters.faiss import FaissIndex
from serving.adapters.memory import (
    MemoryCosts,
    MemoryHistories,
    MemoryImpressionLog,
    MemoryInventory,
    MemoryPricing,
    MemoryPromotions,
    MemoryRanker,
    MemorySupply,
    MemoryUserTower,
)
from serving.adapters.memory_feeds import MemoryCalendar, MemoryCompetitors, MemoryDemand
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import BusinessSystems, LoadedRelease, ReleaseTables
from serving.recommend.request import Losses
from serving.recommend.settings import RecommendSettings
from shop.catalogue import Catalogue
from shop.features import FEATURE_VERSION, FeatureSchema
from shop.neighbours import Neighbours
from shop.source_tables import SourceTables

_NEIGHBOURS = 50
_START_MS = 1_750_000_000_000
_LATER_MS = 60_000  # nothing is current any more


def offers_of(catalogue: Catalogue) -> tuple[OfferCache, MemoryPricing]:
    """Everything in stock at its list price, and the prices, to be changed."""
    ids = catalogue.product_ids[1:].tolist()
    prices = catalogue.list_price_minor[1:].tolist()
    pricing = MemoryPricing(price_minor=dict(zip(ids, prices, strict=True)))
    systems = BusinessSystems(
        inventory=MemoryInventory(units=dict.fromkeys(ids, 9)),
        pricing=pricing,
        promotions=MemoryPromotions(),
        costs=MemoryCosts(),
        supply=MemorySupply(),
    )
    settings = RecommendSettings().offers
    return OfferCache(catalogue, systems, settings, time.monotonic), pricing


async def a_price_moves(offers: OfferCache, pricing: MemoryPricing, at: int) -> int:
    """The first product costs more, and the cache has heard of it by the time returned."""
    before, now_ms = offers.changes, _START_MS + at * _LATER_MS
    pricing.price_minor["P1"] += 1
    await offers.look_up(np.array([1]), now_ms=now_ms, within_s=5.0, losses=Losses())
    if offers.changes == before:
        raise ValueError("no price has moved")
    return now_ms


def deps_of(catalogue: Catalogue) -> Deps:
    """Of an export's index over clustered vectors, with tables and settings as they come."""
    count = catalogue.product_count
    vectors = some_vectors(count)
    index = FaissIndex(build_index(vectors, some_shoppers(vectors, 20)).index, vectors)
    rng = np.random.default_rng(5)
    popularity = rng.random(count + 1).astype(np.float32)
    neighbours = rng.integers(1, count + 1, (count + 1, _NEIGHBOURS)).astype(np.int32)
    tables = ReleaseTables(
        release="synthetic",
        version=1,
        catalogue=catalogue,
        schema=FeatureSchema(
            version=FEATURE_VERSION,
            history_length=20,
            vector_size=SIZE,
            devices=("desktop",),
            countries=("DE",),
            segments=("new",),
            heads=("click", "cart", "purchase", "return"),
        ),
        neighbours=Neighbours(neighbours, np.ones(neighbours.shape, np.float32)),
        popular_rows=np.argsort(-popularity[1:], kind="stable") + 1,
        popularity=popularity,
        sources=SourceTables.empty(count + 1),
    )
    offers, _ = offers_of(catalogue)
    settings = RecommendSettings()
    feeds = PriceFeeds(MemoryCompetitors(), MemoryDemand(), MemoryCalendar())
    return Deps(
        MemoryHistories(),
        LoadedRelease(tables, MemoryUserTower(item_vectors=vectors), MemoryRanker(), index),
        offers,
        MemoryImpressionLog(),
        settings,
        time.monotonic,
        FeedCache(catalogue, feeds, settings.pricing, time.monotonic),
    )
