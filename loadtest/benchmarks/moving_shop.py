"""Moving shop: a release served in this process, on shop systems whose figures keep changing.

Retrieval and ranking are the release's own, on one thread; the systems answer at once, and what
they would have said at any moment is known afterwards. Time is simulated, CPU time is real.

Shapes: R catalogue rows, N products asked for.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from loadtest.benchmarks.in_process import InProcessModels
from loadtest.current import current_folder, current_manifest
from serving.adapters.faiss import load_index
from serving.adapters.history_records import extended, imported
from serving.adapters.release_files import load_tables
from serving.deadline import Deadline
from serving.recommend.cache import RankingCache
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import (
    BusinessSystems,
    Costs,
    Discounts,
    Impression,
    LoadedRelease,
    Prices,
    ReleaseTables,
    ShopperEvent,
    Stock,
    StoredHistory,
    SupplyRisks,
    VectorIndex,
)
from serving.recommend.settings import RecommendSettings
from shop.release import HISTORIES_FILE

_UNTOLD = -(1 << 62)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, start_ms: int) -> None:
        self.now_ms = start_ms

    def __call__(self) -> float:
        return self.now_ms / 1000.0


class MovingSystems:
    """All five systems, and what was true when."""

    def __init__(self, tables: ReleaseTables, clock: Clock, seed: int) -> None:
        count = tables.catalogue.product_ids.size
        self._catalogue, self._clock = tables.catalogue, clock
        self._rng = np.random.default_rng(seed)
        self.price_minor = np.maximum(tables.catalogue.list_price_minor, 1)  # [R]
        self.units = np.full(count, 9, dtype=np.int64)  # [R]
        # [R] what held before the last change, and when that change was
        self.former_price_minor = self.price_minor.copy()
        self.price_changed_ms = np.full(count, _UNTOLD, dtype=np.int64)
        self.sold_out_ms = np.full(count, _UNTOLD, dtype=np.int64)
        self.changes = 0

    def change(self, prices: int, sold_out: int) -> None:
        """So many products get another price, 1 to 30 % away; so many sell out, others return."""
        rows = self._rng.integers(1, self.price_minor.size, prices)
        moved = np.exp(self._rng.choice([-1, 1], prices) * self._rng.uniform(0.01, 0.3, prices))
        self.former_price_minor[rows] = self.price_minor[rows]
        self.price_minor[rows] = np.maximum(1, np.rint(self.price_minor[rows] * moved))
        self.price_changed_ms[rows] = self._clock.now_ms
        gone = self._rng.integers(1, self.units.size, sold_out)
        back = np.flatnonzero(self.units == 0)[: max(0, sold_out - 1)]
        self.units[gone], self.sold_out_ms[gone] = 0, self._clock.now_ms
        self.units[back] = 9
        self.changes += prices + sold_out

    async def stock(self, product_ids: Sequence[str], *, timeout_s: float) -> Stock:
        """As of now."""
        rows = self._catalogue.rows_of(list(product_ids))
        every = np.ones(rows.size, dtype=np.bool_)
        return Stock(self.units[rows], every, every)

    async def prices(self, product_ids: Sequence[str], *, timeout_s: float) -> Prices:
        """As of now."""
        rows = self._catalogue.rows_of(list(product_ids))
        return Prices(self.price_minor[rows], np.ones(rows.size, dtype=np.bool_))

    async def promotions(self, product_ids: Sequence[str], *, timeout_s: float) -> Discounts:
        """None runs."""
        return Discounts(np.zeros(len(product_ids), dtype=np.float32))

    async def costs(self, product_ids: Sequence[str], *, timeout_s: float) -> Costs:
        """The catalogue's."""
        rows = self._catalogue.rows_of(list(product_ids))
        return Costs(self._catalogue.cost_minor[rows], self._catalogue.cost_known[rows])

    async def supply_risks(self, product_ids: Sequence[str], *, timeout_s: float) -> SupplyRisks:
        """No risk."""
        none = np.zeros(len(product_ids), dtype=np.float32)
        return SupplyRisks(none, none, np.ones(none.size, dtype=np.bool_))


@dataclass(slots=True, eq=False)
class DictHistories:
    """The release's histories, and what is added to them."""

    of_shopper: dict[str, StoredHistory]
    latest_ms: int

    async def of(self, shopper: str, *, timeout_s: float) -> StoredHistory | None:
        """None for a shopper nobody has seen."""
        return self.of_shopper.get(shopper)

    def add(self, event: ShopperEvent) -> None:
        """It counts in the next call."""
        known = self.of_shopper.get(event.shopper)
        self.of_shopper[event.shopper] = extended(known, [event])

    @staticmethod
    def of_release(folder: Path) -> "DictHistories":
        """As a store is filled from it."""
        found = dict(map(imported, pq.read_table(folder / HISTORIES_FILE).to_pylist()))
        latest = max((int(h.times_ms[-1]) for h in found.values() if h.times_ms.size), default=0)
        return DictHistories(found, latest)


class _NotLogged:
    def put(self, impression: Impression) -> None:
        """Nobody learns from these lists."""


@dataclass(slots=True, eq=False)
class MovingShop:
    """One replica. `with_cache` makes its way to answer; the time is everybody's."""

    tables: ReleaseTables
    models: InProcessModels
    index: VectorIndex
    histories: DictHistories
    clock: Clock
    systems: MovingSystems = field(init=False)
    _past: dict[str, StoredHistory] = field(init=False)
    _start_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self._past, self._start_ms = dict(self.histories.of_shopper), self.clock.now_ms
        self.begin()

    def begin(self) -> None:
        """As if nothing had happened yet: every run sees the same changes at the same times."""
        self.clock.now_ms = self._start_ms
        self.histories.of_shopper = dict(self._past)
        self.systems = MovingSystems(self.tables, self.clock, seed=4)

    def deps(self, cache: RankingCache | None) -> Deps:
        """What calls lean on, with a memory of prices and stock of its own."""
        settings, systems = RecommendSettings(), self.systems
        business = BusinessSystems(systems, systems, systems, systems, systems)
        catalogue = self.tables.catalogue
        offers = OfferCache(catalogue, business, settings.offers, self.clock)
        feeds = FeedCache(catalogue, _NO_FEEDS, settings.pricing, self.clock)
        loaded = LoadedRelease(self.tables, self.models, self.models, self.index)
        return Deps(
            self.histories, loaded, offers, _NotLogged(), settings, self.clock, feeds, cache=cache
        )

    def deadline(self) -> Deadline:
        """Time enough: simulated time stands still during a call."""
        return Deadline(self.clock, start_s=self.clock(), total_s=10.0, reserve_s=0.0)

    def anew(self, deps: Deps) -> Deps:
        """The same, with the same memory of prices and stock, but without its cache."""
        return replace(deps, cache=None)


_NO_FEEDS = PriceFeeds(None, None, None)  # type: ignore[arg-type]  # lists ask no feed


@contextmanager
def a_moving_shop(state_dir: Path) -> Iterator[MovingShop]:
    """The current release of this folder, the hour after its data ends."""
    folder, manifest = current_folder(state_dir), current_manifest(state_dir)
    tables = load_tables(folder, manifest)
    index = load_index(
        folder,
        manifest,
        row_count=tables.catalogue.product_count + 1,
        vector_size=tables.schema.vector_size,
    )
    with closing(index):
        histories = DictHistories.of_release(folder)
        clock = Clock(histories.latest_ms + 3_600_000)
        yield MovingShop(tables, InProcessModels(folder), index, histories, clock)
