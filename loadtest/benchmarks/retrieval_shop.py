"""Retrieval shop: the current release and the world it belongs to, made ready to be judged.

Shapes: S shoppers, R catalogue rows.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadtest.benchmarks.in_process import ExactIndex, InProcessModels
from loadtest.benchmarks.retrieval_truth import BEST, PATIENT, PLACES, Shop, retrieved
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.current import current_folder, current_manifest
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
from serving.adapters.release_files import load_tables
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.history import Past
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import BusinessSystems, LoadedRelease, ReleaseTables, StoredHistory
from serving.recommend.request import Ask
from serving.recommend.settings import RecommendSettings
from shop.features import Context, ShopperFeatures, candidate_values, mean_log_price
from shop.features import shopper_features as features_of
from shop.neighbours import score_neighbours
from shop.release import HISTORIES_FILE, VECTORS_FILE
from shop.tensors import MAX_CANDIDATES
from simulator.tables import PRODUCTS, SHOPPERS
from simulator.world import WORLD, World, load_world


class _Remembering(ExactIndex):
    """An exact index that searches once for each vector."""

    def __init__(self, item_vectors: NDArray[np.float32]) -> None:
        super().__init__(item_vectors)
        self._found: dict[bytes, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines, best first; nothing may be filtered."""
        key = user_vector.tobytes()
        if key not in self._found:
            everything = await super().search(
                user_vector, 2 * BEST, allowed=allowed, timeout_s=timeout_s
            )
            self._found[key] = everything
        rows, cosines = self._found[key]
        return rows[:count], cosines[:count]


@dataclass(slots=True, eq=False)
class _Towers:
    """A user tower that answers what it was asked before from memory."""

    models: InProcessModels
    known: dict[bytes, NDArray[np.float32]]

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        key = features.history_rows.tobytes() + features.context_codes.tobytes()
        if key not in self.known:
            self.known[key] = self.models.vector_of(features)
        return self.known[key]


def open_shop(
    state_dir: Path,
    names: Sequence[str],
    settings: RecommendSettings,
    *,
    with_ranker: bool = True,
) -> Shop:
    """The current release, asked for these shoppers at the world's end.

    Without the ranker, which takes 0.1 s for each shopper, nothing can be said of its order.
    Raises BenchmarkFailed if the release is not of the built-in world.
    """
    folder = current_folder(state_dir)
    tables = load_tables(folder, current_manifest(state_dir))
    world = _world_of(state_dir)
    if tables.catalogue.product_ids.tolist() != list(world.products.ids):
        raise BenchmarkFailed(f"{folder.name} was not made from the world in {state_dir / 'world'}")
    models = InProcessModels(folder)
    tower = _Towers(models, {})
    index = _Remembering(np.load(folder / VECTORS_FILE, allow_pickle=False))
    release = LoadedRelease(tables, tower, models, index)
    patient = replace(settings, budgets=PATIENT)
    deps = _deps(release, _histories(folder, names), patient)
    now_ms = world.settings.end_ms
    asks = tuple(an_ask(name, now_ms) for name in names)
    gain, stock = _truth(state_dir, world, tables, names)
    pasts = [past for _, past in asyncio.run(_pasts(asks, deps))]
    ranking = np.zeros(gain.shape, dtype=np.float32)
    if with_ranker:
        ranking = np.stack([_ranked(past, tables, models) for past in pasts])
    is_new = np.zeros(tables.catalogue.product_ids.size, dtype=np.bool_)
    is_new[tables.sources.arrivals.since(now_ms - int(settings.fresh_days * 86_400_000))] = True
    lengths = np.array([len(past.history) for past in pasts])
    return Shop(deps, asks, gain, ranking, stock, is_new, lengths)


def an_ask(shopper: str, now_ms: int) -> Ask:
    """A visit to the home page."""
    return Ask(
        request_id=f"sources-{shopper}",
        shopper=shopper,
        session_id="",
        context=Context(now_ms=now_ms, utc_offset_minutes=0, placement="home"),
        page_size=PLACES,
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


async def _pasts(asks: Sequence[Ask], deps: Deps) -> list[tuple[NDArray[np.int64], Past]]:
    return [await retrieved(ask, deps) for ask in asks]


def world_shoppers(state_dir: Path) -> list[str]:
    """Everybody of the world, also those who never came."""
    _world_of(state_dir)
    column = pq.read_table(state_dir / "world" / SHOPPERS, columns=["user_id"])["user_id"]
    names: list[str] = column.to_pylist()
    return names


def _world_of(state_dir: Path) -> World:
    folder = state_dir / "world"
    if not (folder / WORLD).exists():
        raise BenchmarkFailed(f"{folder} holds no world; nobody knows the truth of other data")
    return load_world(folder)


def _histories(folder: Path, names: Sequence[str]) -> MemoryHistories:
    wanted = set(names)
    table = pq.read_table(folder / HISTORIES_FILE)
    rows = [row for row in table.to_pylist() if row["user_id"] in wanted]
    return MemoryHistories(
        of_shopper={
            row["user_id"]: StoredHistory(
                tuple(row["product_ids"]),
                np.array(row["event_codes"], np.int64),
                np.array(row["times_ms"], np.int64),
                tuple(row["session_ids"]),
                row["segment"],
                row["country"],
                row["device"],
            )
            for row in rows
        }
    )


def _deps(release: LoadedRelease, histories: MemoryHistories, settings: RecommendSettings) -> Deps:
    catalogue = release.tables.catalogue
    systems = BusinessSystems(
        MemoryInventory(), MemoryPricing(), MemoryPromotions(), MemoryCosts(), MemorySupply()
    )  # never asked: retrieval comes before
    feeds = PriceFeeds(MemoryCompetitors(), MemoryDemand(), MemoryCalendar())
    return Deps(
        histories,
        release,
        OfferCache(catalogue, systems, settings.offers, time.monotonic),
        MemoryImpressionLog(),
        settings,
        time.monotonic,
        FeedCache(catalogue, feeds, settings.pricing, time.monotonic),
    )


def _truth(
    state_dir: Path, world: World, tables: ReleaseTables, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[S, R] chances at the world's end, and [R] what is in stock."""
    row_of = {name: row for row, name in enumerate(world_shoppers(state_dir))}
    who = np.array([row_of[name] for name in names])
    products = pq.read_table(state_dir / "world" / PRODUCTS, columns=["product_id", "stock"])
    rows = tables.catalogue.rows_of(products["product_id"].to_pylist())
    true = world.true_probabilities(
        who, np.arange(1, products.num_rows + 1), time_ms=world.settings.end_ms
    )
    sellable = np.zeros(tables.catalogue.product_ids.size, dtype=np.bool_)
    sellable[rows] = products["stock"].fill_null(1).to_numpy() > 0
    gain = np.zeros((who.size, sellable.size))
    gain[:, rows] = true.purchase
    return np.where(sellable, gain, 0.0), sellable


def _ranked(past: Past, tables: ReleaseTables, models: InProcessModels) -> NDArray[np.float32]:
    """[R] the ranker's purchase probability at list prices."""
    features = features_of(past.history, past.context, tables.schema)
    vector = models.vector_of(features)
    prices = tables.catalogue.list_price_minor
    item_item = score_neighbours(past.history, tables.neighbours)
    taste = mean_log_price(past.history, prices)
    found = np.zeros(prices.size, dtype=np.float32)
    for start in range(1, prices.size, MAX_CANDIDATES):
        rows = np.arange(start, min(start + MAX_CANDIDATES, prices.size))
        values = candidate_values(
            price_minor=prices[rows],
            discount=np.zeros(rows.size, np.float32),
            item_item=item_item.of(rows),
            taste_log_price=taste,
        )
        chances = models.ranked(features, vector, rows, values)
        found[rows] = chances[:, tables.schema.heads.index("purchase")]
    return found
