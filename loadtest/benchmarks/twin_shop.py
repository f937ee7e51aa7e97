"""Twin shop: a release between memory twins of the shop's systems, for measuring in one process."""

import time

import numpy as np

from serving.adapters.memory import (
    MemoryCosts,
    MemoryHistories,
    MemoryImpressionLog,
    MemoryInventory,
    MemoryPricing,
    MemoryPromotions,
    MemorySupply,
)
from serving.adapters.memory_feeds import MemoryCalendar, MemoryCompetitors, MemoryDemand
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import BusinessSystems, LoadedRelease
from serving.recommend.settings import RecommendSettings


def twin_shop(release: LoadedRelease) -> Deps:
    """List prices, a fifth off on a quarter of the products, one in ten sold out."""
    catalogue, settings = release.tables.catalogue, RecommendSettings()
    rng = np.random.default_rng(8)
    ids: list[str] = catalogue.product_ids[1:].tolist()
    reduced, gone = rng.random(len(ids)) < 0.25, rng.random(len(ids)) < 0.1
    prices = dict(zip(ids, catalogue.list_price_minor[1:].tolist(), strict=True))
    systems = BusinessSystems(
        MemoryInventory(units={each: 0 if out else 9 for each, out in zip(ids, gone, strict=True)}),
        MemoryPricing(price_minor=prices),
        MemoryPromotions(
            percent_off={each: 20.0 for each, cut in zip(ids, reduced, strict=True) if cut}
        ),
        MemoryCosts(),
        MemorySupply(),
    )
    offers = OfferCache(catalogue, systems, settings.offers, time.monotonic)
    nothing = PriceFeeds(MemoryCompetitors(), MemoryDemand(), MemoryCalendar())  # never asked
    feeds = FeedCache(catalogue, nothing, settings.pricing, time.monotonic)
    log = MemoryImpressionLog()
    return Deps(MemoryHistories(), release, offers, log, settings, time.monotonic, feeds)
