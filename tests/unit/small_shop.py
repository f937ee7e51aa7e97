"""A small shop wired from memory twins, with everything about it known.

P products p1 … pP. Product row r costs 10.00 + r, its category is CATEGORIES[r % 4] and its brand
BRANDS[r % 6]; row 1 is the most popular. Its neighbours are the next five rows.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.adapters.memory import (
    MemoryCosts,
    MemoryHistories,
    MemoryImpressionLog,
    MemoryIndex,
    MemoryInventory,
    MemoryPricing,
    MemoryPromotions,
    MemoryRanker,
    MemorySupply,
    MemoryUserTower,
)
from serving.adapters.memory_feeds import MemoryCalendar, MemoryCompetitors, MemoryDemand
from serving.deadline import Deadline
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import OfferCache
from serving.recommend.pipeline import recommend
from serving.recommend.ports import BusinessSystems, LoadedRelease, ReleaseTables, StoredHistory
from serving.recommend.request import Answer, Ask
from serving.recommend.settings import RecommendSettings
from shop.catalogue import Catalogue
from shop.events import EVENT_CODES, EventType
from shop.explore import ExplorationSettings
from shop.features import FEATURE_VERSION, Context, FeatureSchema
from shop.filters import parse_filter
from shop.neighbours import Neighbours
from shop.rules import Caps
from shop.scoring import ValueWeights
from shop.source_tables import SourceTables
from tests.unit.time_travel import START_MS, Time

CATEGORIES = ("", "lamps", "chairs", "rugs", "mugs")
BRANDS = ("", "acme", "bright", "calm", "dune", "elm", "fir")
RELEASE = "release-1"


def a_catalogue(count: int = 60) -> Catalogue:
    """`count` products as described above."""
    rows = np.arange(count + 1)
    return Catalogue(
        product_ids=np.array(["", *(f"p{row}" for row in rows[1:])], dtype=np.str_),
        titles=np.array(["", *(f"Product {row}" for row in rows[1:])], dtype=np.str_),
        category_codes=np.where(rows > 0, rows % 4 + 1, 0),
        brand_codes=np.where(rows > 0, rows % 6 + 1, 0),
        category_names=CATEGORIES,
        brand_names=BRANDS,
        list_price_minor=np.where(rows > 0, 1_000 + 100 * rows, 0),
        cost_minor=np.where(rows > 0, 500, 0),
        cost_known=rows > 0,
        currency="EUR",
    )


def a_schema() -> FeatureSchema:
    """Small vocabularies, all heads."""
    return FeatureSchema(
        version=FEATURE_VERSION,
        history_length=8,
        vector_size=4,
        devices=("desktop", "mobile"),
        countries=("DE", "FR"),
        segments=("new", "loyal"),
        heads=("click", "cart", "purchase", "return"),
    )


def a_context(**changes: Any) -> Context:
    """A visit to the home page."""
    context = Context(now_ms=START_MS, utc_offset_minutes=120, placement="home", device="mobile")
    return replace(context, **changes)


def an_ask(**changes: Any) -> Ask:
    """A request for ten products by a shopper nobody knows."""
    ask = Ask(
        request_id="request-1",
        shopper="",
        session_id="session-1",
        context=a_context(),
        page_size=10,
        page=None,
        recent_events=(),
        context_product_ids=(),
        cart_product_ids=(),
        exclude_product_ids=frozenset(),
        filter=None,
        strict_filtering=False,
        diversity=0.0,
        explain=False,
    )
    if isinstance(changes.get("filter"), str):
        changes["filter"] = parse_filter(changes["filter"])
    return replace(ask, **changes)


def a_history(*product_ids: str, **profile: str) -> StoredHistory:
    """Clicks an hour apart, the last one an hour ago, in an earlier session."""
    count = len(product_ids)
    return StoredHistory(
        product_ids=product_ids,
        event_codes=np.full(count, EVENT_CODES[EventType.CLICK], dtype=np.int64),
        times_ms=START_MS - 3_600_000 * np.arange(count, 0, -1, dtype=np.int64),
        session_ids=("session-0",) * count,
        segment=profile.get("segment", ""),
        country=profile.get("country", ""),
        device=profile.get("device", ""),
    )


def lower_rows_sell_better(
    rows: NDArray[np.int64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A ranker that puts p1 before p2 before p3, whatever they earn."""
    chances = 1.0 / (1.0 + rows.astype(np.float64)) ** 2
    zeros = np.zeros(rows.size)
    return np.stack([zeros, zeros, chances, zeros], axis=1).astype(np.float32)


PLAIN = RecommendSettings(
    caps=Caps(category_share=1.0, brand_share=1.0),
    exploration=ExplorationSettings(epsilon=0.0),
    value=ValueWeights(  # known here, so that another default moves no test
        satisfied_purchase_minor=200.0,
        margin_share=1.0,
        return_cost_minor=500.0,
        cart_minor=5.0,
        click_minor=1.0,
    ),
)


@dataclass(slots=True, eq=False)
class SmallShop:
    """Twins and what is wired from them. Change a twin, then call `answer`."""

    time: Time
    deps: Deps
    histories: MemoryHistories
    tower: MemoryUserTower
    index: MemoryIndex
    ranker: MemoryRanker
    inventory: MemoryInventory
    pricing: MemoryPricing
    promotions: MemoryPromotions
    costs: MemoryCosts
    supply: MemorySupply
    competitors: MemoryCompetitors
    demand: MemoryDemand
    calendar: MemoryCalendar
    log: MemoryImpressionLog

    @property
    def systems(self) -> BusinessSystems:
        """The shop's own systems together."""
        return BusinessSystems(
            self.inventory, self.pricing, self.promotions, self.costs, self.supply
        )

    def answer(self, ask: Ask, *, total_s: float = 1.0) -> Answer:
        """What the pipeline answers now."""
        return self.time.run(self.recommend(ask, total_s=total_s))

    async def recommend(self, ask: Ask, *, total_s: float = 1.0) -> Answer:
        """The same inside a running loop."""
        now = replace(ask, context=replace(ask.context, now_ms=self.time.now_ms))
        deadline = Deadline(
            self.time, start_s=self.time(), total_s=total_s, reserve_s=min(0.005, total_s)
        )
        return await recommend(now, self.deps, deadline)

    def shown(self, answer: Answer) -> list[str]:
        """Product ids of the list, in order."""
        ids: list[str] = self.deps.release.tables.catalogue.product_ids[answer.slate.rows].tolist()
        return ids


def a_shop(
    count: int = 60,
    *,
    settings: RecommendSettings = PLAIN,
    neighbours: Neighbours | None = None,
    sources: SourceTables | None = None,
) -> SmallShop:
    """A shop with plenty of everything, and nothing lost."""
    catalogue, time = a_catalogue(count), Time()
    vectors = np.random.default_rng(7).normal(size=(count + 1, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    ids = catalogue.product_ids[1:].tolist()
    prices = dict(zip(ids, catalogue.list_price_minor[1:].tolist(), strict=True))
    inventory = MemoryInventory(units=dict.fromkeys(ids, 9))
    pricing, promotions = MemoryPricing(price_minor=prices), MemoryPromotions()
    tower, index = MemoryUserTower(item_vectors=vectors), MemoryIndex(item_vectors=vectors)
    ranker = MemoryRanker(judge=lower_rows_sell_better)
    histories, log = MemoryHistories(), MemoryImpressionLog()
    release = LoadedRelease(
        _tables(catalogue, neighbours or next_five(count), sources), tower, ranker, index
    )
    costs, supply = MemoryCosts(), MemorySupply()
    systems = BusinessSystems(inventory, pricing, promotions, costs, supply)
    offers = OfferCache(catalogue, systems, settings.offers, time)
    competitors, demand = MemoryCompetitors(), MemoryDemand()
    calendar = MemoryCalendar(prices={each: (price, price) for each, price in prices.items()})
    feeds = FeedCache(catalogue, PriceFeeds(competitors, demand, calendar), settings.pricing, time)
    deps = Deps(histories, release, offers, log, settings, time, feeds)
    return SmallShop(
        time,
        deps,
        histories,
        tower,
        index,
        ranker,
        inventory,
        pricing,
        promotions,
        costs,
        supply,
        competitors,
        demand,
        calendar,
        log,
    )


def next_five(count: int) -> Neighbours:
    """Row r's neighbours are r + 1 … r + 5, the nearest the most similar."""
    steps = np.arange(5)
    rows = (np.arange(count + 1)[:, None] + steps) % count + 1
    scores = np.tile(1.0 / (1.0 + steps), (count + 1, 1)).astype(np.float32)
    rows[0], scores[0] = 0, 0.0
    return Neighbours(rows.astype(np.int32), scores)


def _tables(
    catalogue: Catalogue, neighbours: Neighbours, sources: SourceTables | None
) -> ReleaseTables:
    rows = np.arange(catalogue.product_count + 1)
    return ReleaseTables(
        release=RELEASE,
        version=1,
        catalogue=catalogue,
        schema=a_schema(),
        neighbours=neighbours,
        popular_rows=rows[1:],
        popularity=np.where(rows > 0, 1.0 / np.maximum(rows, 1), 0.0).astype(np.float32),
        sources=sources or SourceTables.empty(rows.size),
    )
