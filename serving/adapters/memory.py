"""Memory: twins of every port, for tests only. What a user starts runs on the real components.

Each twin can be told to fail (`failure`) or to answer never (`stalls`), like the system it stands
for, and counts how often it was asked.

Shapes: N products asked for or candidates, T history, D vector size, R catalogue rows, H heads.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.adapters.history_records import extended, is_remembered
from serving.recommend.ports import (
    Costs,
    Discounts,
    EventReceipt,
    Impression,
    Prices,
    ShopperEvent,
    Stock,
    StoredHistory,
    SupplyRisks,
)
from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyError, DependencyUnavailable
from shop.features import ShopperFeatures


@dataclass(slots=True, eq=False)
class Temper:
    """How a twin behaves."""

    failure: DependencyError | None = None
    refusals: int = 0  # so many questions are refused, then it answers
    stalls: bool = False
    ask_count: int = 0

    async def act(self) -> None:
        """Lets the loop run once, then fails or stalls if told to."""
        self.ask_count += 1
        await asyncio.sleep(0)
        if self.stalls:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        if self.refusals > 0:
            self.refusals -= 1
            raise DependencyUnavailable("twin", "refused")


@dataclass(slots=True, eq=False)
class MemoryHistories(Temper):
    """Histories in a dictionary."""

    of_shopper: dict[str, StoredHistory] = field(default_factory=dict)

    async def of(self, shopper: str, *, timeout_s: float) -> StoredHistory | None:
        """None for a shopper nobody has seen."""
        await self.act()
        return self.of_shopper.get(shopper)


@dataclass(slots=True, eq=False)
class MemoryEventStore(Temper):
    """Events in a list, visible in `histories` at once."""

    histories: MemoryHistories = field(default_factory=MemoryHistories)
    events: list[ShopperEvent] = field(default_factory=list)

    async def record(self, events: Sequence[ShopperEvent], *, timeout_s: float) -> EventReceipt:
        """Keeps each shopper's idempotency key once."""
        await self.act()
        seen = {(event.shopper, event.idempotency_key) for event in self.events}
        accepted = 0
        for event in events:
            key = (event.shopper, event.idempotency_key)
            if key in seen:
                continue
            seen.add(key)
            accepted += 1
            self.events.append(event)
            if is_remembered(event):
                self._extend_history(event)
        return EventReceipt(accepted, len(events) - accepted)

    def _extend_history(self, event: ShopperEvent) -> None:
        known = self.histories.of_shopper.get(event.shopper)
        self.histories.of_shopper[event.shopper] = extended(known, [event])


@dataclass(slots=True, eq=False)
class MemoryUserTower(Temper):
    """The mean vector of the history's products; the first axis for a shopper without one."""

    item_vectors: NDArray[np.float32] = field(default_factory=lambda: np.eye(2, dtype=np.float32))

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        await self.act()
        rows = features.history_rows[features.history_rows > 0]
        vector = self.item_vectors[rows].sum(axis=0) if rows.size else np.zeros(0)
        length = float(np.linalg.norm(vector))
        unit = np.zeros(self.item_vectors.shape[1], dtype=np.float32)
        if length == 0.0:
            unit[0] = 1.0
        else:
            unit[:] = vector / length
        return unit


@dataclass(slots=True, eq=False)
class MemoryIndex(Temper):
    """Exact search over all item vectors [R, D]."""

    item_vectors: NDArray[np.float32] = field(default_factory=lambda: np.eye(2, dtype=np.float32))

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines, best first."""
        await self.act()
        cosines = self.item_vectors @ user_vector
        searched = np.ones(cosines.size, dtype=np.bool_) if allowed is None else allowed.copy()
        searched[NO_PRODUCT] = False
        rows = np.flatnonzero(searched)
        order = rows[np.argsort(-cosines[rows], kind="stable")][:count]
        return order.astype(np.int64), cosines[order].astype(np.float32)


Judgement = Callable[[NDArray[np.int64], NDArray[np.float32]], NDArray[np.float32]]


def _alike(rows: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.full((rows.size, 4), 0.1, dtype=np.float32)


@dataclass(slots=True, eq=False)
class MemoryRanker(Temper):
    """Probabilities [N, H] by `judge`, from candidate rows [N] and candidate values."""

    judge: Judgement = _alike

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        """[N, H]."""
        await self.act()
        return self.judge(candidate_rows, candidate_values)


@dataclass(slots=True, eq=False)
class MemoryInventory(Temper):
    """Stock in a dictionary; None = the shop does not count it, missing = not found."""

    units: dict[str, int | None] = field(default_factory=dict)

    async def stock(self, product_ids: Sequence[str], *, timeout_s: float) -> Stock:
        """One bulk call."""
        await self.act()
        units = [self.units.get(product_id) for product_id in product_ids]
        return Stock(
            units=np.array([0 if unit is None else unit for unit in units], dtype=np.int64),
            tracked=np.array([unit is not None for unit in units], dtype=np.bool_),
            found=np.array([product_id in self.units for product_id in product_ids], np.bool_),
        )


@dataclass(slots=True, eq=False)
class MemoryPricing(Temper):
    """List prices in a dictionary; missing = not found."""

    price_minor: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def prices(self, product_ids: Sequence[str], *, timeout_s: float) -> Prices:
        """One bulk call."""
        self.asked.append(tuple(product_ids))
        await self.act()
        prices = [self.price_minor.get(product_id, 0) for product_id in product_ids]
        found = [product_id in self.price_minor for product_id in product_ids]
        return Prices(np.array(prices, dtype=np.int64), np.array(found, dtype=np.bool_))


@dataclass(slots=True, eq=False)
class MemoryPromotions(Temper):
    """Discounts in a dictionary; missing = none."""

    percent_off: dict[str, float] = field(default_factory=dict)

    async def promotions(self, product_ids: Sequence[str], *, timeout_s: float) -> Discounts:
        """One bulk call."""
        await self.act()
        percent = [self.percent_off.get(product_id, 0.0) for product_id in product_ids]
        return Discounts(np.array(percent, dtype=np.float32))


@dataclass(slots=True, eq=False)
class MemoryCosts(Temper):
    """Unit costs in a dictionary; missing = not found."""

    cost_minor: dict[str, int] = field(default_factory=dict)

    async def costs(self, product_ids: Sequence[str], *, timeout_s: float) -> Costs:
        """One bulk call."""
        await self.act()
        costs = [self.cost_minor.get(product_id, 0) for product_id in product_ids]
        found = [product_id in self.cost_minor for product_id in product_ids]
        return Costs(np.array(costs, dtype=np.int64), np.array(found, dtype=np.bool_))


@dataclass(slots=True, eq=False)
class MemorySupply(Temper):
    """Back-order risk and days to wait in a dictionary; missing = not found."""

    risk_and_days: dict[str, tuple[float, float]] = field(default_factory=dict)

    async def supply_risks(self, product_ids: Sequence[str], *, timeout_s: float) -> SupplyRisks:
        """One bulk call."""
        await self.act()
        known = [self.risk_and_days.get(product_id, (0.0, 0.0)) for product_id in product_ids]
        found = [product_id in self.risk_and_days for product_id in product_ids]
        return SupplyRisks(
            backorder_risk=np.array([risk for risk, _ in known], dtype=np.float32),
            days_to_restock=np.array([days for _, days in known], dtype=np.float32),
            found=np.array(found, dtype=np.bool_),
        )


@dataclass(slots=True, eq=False)
class MemoryRankings(Temper):
    """What replicas share, in a dictionary. Keeps it for ever: readers must look at its age."""

    records: dict[bytes, bytes] = field(default_factory=dict)

    async def read(self, key: bytes, *, timeout_s: float) -> bytes | None:
        """None for what nobody wrote."""
        await self.act()
        return self.records.get(key)

    async def write(self, key: bytes, record: bytes, *, ttl_ms: int) -> None:
        """Keeps it."""
        await self.act()
        self.records[key] = record


@dataclass(slots=True, eq=False)
class MemoryImpressionLog:
    """Impressions and events in lists."""

    impressions: list[Impression] = field(default_factory=list)
    events: list[ShopperEvent] = field(default_factory=list)

    def put(self, impression: Impression) -> None:
        """Keeps it."""
        self.impressions.append(impression)

    def note(self, event: ShopperEvent) -> None:
        """Keeps it."""
        self.events.append(event)
