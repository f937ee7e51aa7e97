"""Ports: what the request's way needs from the outside, one small protocol each.

`serving/adapters` implements them on real systems, its `memory.py` in memory for tests.
All raise `DependencyTimeout` or `DependencyUnavailable`, never a foreign error. `timeout_s` is the
share of the deadline the call may use.

Shapes: N candidates, T history, D vector size, R catalogue rows, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import Catalogue
from shop.events import EventType
from shop.features import FeatureSchema, ShopperFeatures
from shop.neighbours import Neighbours
from shop.source_tables import SourceTables


@dataclass(frozen=True, slots=True, eq=False)
class StoredSignals:
    """How a shopper's visits went, oldest first.  Shapes: S signals."""

    event_codes: NDArray[np.int64]  # [S] of shop.events.SIGNAL_TYPES
    times_ms: NDArray[np.int64]  # [S]
    amounts: NDArray[np.int64]  # [S] see shop.events.signal_amount
    session_ids: tuple[str, ...]  # [S]

    def __len__(self) -> int:
        return len(self.session_ids)


_NONE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
NO_STORED_SIGNALS = StoredSignals(_NONE, _NONE, _NONE, ())
_UNTOLD: NDArray[np.int8] = np.zeros(0, dtype=np.int8)

if TYPE_CHECKING:
    from serving.recommend.search_ports import SearchParts  # which needs the ports of this module


@dataclass(frozen=True, slots=True, eq=False)
class StoredHistory:
    """A shopper's logged interactions, oldest first: products by id, sessions by name."""

    product_ids: tuple[str, ...]  # [T]
    event_codes: NDArray[np.int64]  # [T]
    times_ms: NDArray[np.int64]  # [T]
    session_ids: tuple[str, ...]  # [T]
    segment: str  # profile; "" = unknown
    country: str
    device: str
    # [T] see shop.events.PromotionSeen; left out: nothing is told
    promotions: NDArray[np.int8] = field(default_factory=lambda: _UNTOLD)
    signals: StoredSignals = NO_STORED_SIGNALS
    revision: int = 0  # how many events were ever added here, what was cut off since included

    def __post_init__(self) -> None:
        if self.promotions is _UNTOLD:
            untold = np.zeros(self.event_codes.shape, dtype=np.int8)
            object.__setattr__(self, "promotions", untold)


class Histories(Protocol):
    """Shoppers' histories and profiles."""

    async def of(self, shopper: str, *, timeout_s: float) -> StoredHistory | None:
        """None for a shopper nobody has seen."""
        ...


class UserTower(Protocol):
    """Shopper → vector."""

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        ...


class Ranker(Protocol):
    """Candidates → probabilities."""

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        """[N, H] columns as `FeatureSchema.heads`. Pads to a bucket and cuts back by itself."""
        ...


class PartlyFound(tuple[NDArray[np.int64], NDArray[np.float32]]):
    """Rows and cosines of a search that could not look at every product."""

    searched_share: float  # of the products, 0 to 1

    @classmethod
    def of(
        cls, rows: NDArray[np.int64], cosines: NDArray[np.float32], searched_share: float
    ) -> "PartlyFound":
        """The finds of this share of the products."""
        found = cls((rows, cosines))
        found.searched_share = searched_share
        return found


class VectorIndex(Protocol):
    """Nearest products of a vector."""

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines, best first; fewer than `count` if the index has fewer allowed rows.

        allowed [R] restricts the search to rows where it holds; None allows all. PartlyFound where
        a part of the index is missing.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """Answer of the inventory system, aligned with the question."""

    units: NDArray[np.int64]  # [N]
    tracked: NDArray[np.bool_]  # [N]
    found: NDArray[np.bool_]  # [N]


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Answer of the pricing system, aligned with the question."""

    price_minor: NDArray[np.int64]  # [N]
    found: NDArray[np.bool_]  # [N]


@dataclass(frozen=True, slots=True, eq=False)
class Discounts:
    """Answer of the promotion system, aligned with the question."""

    percent_off: NDArray[np.float32]  # [N] 0..100


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """Answer of the cost system, aligned with the question."""

    cost_minor: NDArray[np.int64]  # [N] of one unit
    found: NDArray[np.bool_]  # [N]


@dataclass(frozen=True, slots=True, eq=False)
class SupplyRisks:
    """Answer of the supply system, aligned with the question."""

    backorder_risk: NDArray[np.float32]  # [N] 0..1, chance that whoever orders now has to wait
    days_to_restock: NDArray[np.float32]  # [N] how long they wait then
    found: NDArray[np.bool_]  # [N]


class InventorySystem(Protocol):
    """The shop's stock figures."""

    async def stock(self, product_ids: Sequence[str], *, timeout_s: float) -> Stock:
        """One bulk call."""
        ...


class PricingSystem(Protocol):
    """The shop's list prices."""

    async def prices(self, product_ids: Sequence[str], *, timeout_s: float) -> Prices:
        """One bulk call."""
        ...


class PromotionSystem(Protocol):
    """The shop's running promotions."""

    async def promotions(self, product_ids: Sequence[str], *, timeout_s: float) -> Discounts:
        """One bulk call."""
        ...


class CostSystem(Protocol):
    """What the shop pays itself."""

    async def costs(self, product_ids: Sequence[str], *, timeout_s: float) -> Costs:
        """One bulk call."""
        ...


class SupplySystem(Protocol):
    """Whether what is sold now can be delivered."""

    async def supply_risks(self, product_ids: Sequence[str], *, timeout_s: float) -> SupplyRisks:
        """One bulk call."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Impression:
    """A list that was shown, for the log that training learns from. K shown products."""

    request_id: str
    time_ms: int
    shopper: str
    session_id: str
    placement: str
    device: str
    country: str
    segment: str
    utc_offset_minutes: int
    release: str
    first_position: int  # 1-based; 1 unless this is a further page
    product_ids: tuple[str, ...]  # [K]
    propensities: tuple[float, ...]  # [K]
    price_minor: tuple[int, ...]  # [K]
    discounts: tuple[float, ...]  # [K]
    degraded: tuple[str, ...]
    # From here on: what it takes to compute the features anew (`training.replay`).
    features_crc32: int = 0  # shop.features.ShopperFeatures.crc32; 0 on further pages
    history_revision: int = 0  # of the stored history that was read, 0 without one
    # Of the request: event code, product id, time, promotion, amount or None.
    recent_events: tuple[tuple[int, str, int, int, int | None], ...] = ()
    context_product_ids: tuple[str, ...] = ()
    cart_product_ids: tuple[str, ...] = ()
    weather: str = ""  # in `country`, one of shop.surroundings.WEATHERS; "" = not known
    temperature_c: float | None = None
    trending: tuple[str, ...] = ()  # what people look for, as far as it is known


class ImpressionLog(Protocol):
    """Where shown lists are written, off the request's path."""

    def put(self, impression: Impression) -> None:
        """Never blocks and never raises; what cannot be kept is counted."""
        ...

    def note(self, event: "ShopperEvent") -> None:
        """The same for what a call itself has to tell of its shopper."""
        ...


@dataclass(frozen=True, slots=True)
class ShopperEvent:
    """One checked event from `LogEvents`, or of a search that found nothing."""

    idempotency_key: str
    type: EventType
    shopper: str
    session_id: str
    product_id: str  # "" for search
    time_ms: int
    quantity: int
    price_minor: int
    position: int
    value: float
    query: str
    placement: str
    device: str
    country: str
    request_id: str  # from the attribution token; "" = none
    dwell_ms: int = 0  # 0 = not told
    result_count: int | None = None  # of a search; None = not told
    discount: float | None = None  # share of the list price taken off then; None = not told


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What became of a batch of events."""

    accepted: int
    duplicates: int


class EventStore(Protocol):
    """Durable events; histories follow them at once."""

    async def record(self, events: Sequence[ShopperEvent], *, timeout_s: float) -> EventReceipt:
        """Returns once every event is on disk, and visible in `Histories` unless these are down."""
        ...


class SharedRankings(Protocol):
    """What replicas share of the rankings they found. Losing it costs work, never an answer."""

    async def read(self, key: bytes, *, timeout_s: float) -> bytes | None:
        """The record that some replica wrote under this key; None if it is not there any more."""
        ...

    async def write(self, key: bytes, record: bytes, *, ttl_ms: int) -> None:
        """Keeps it for `ttl_ms` at most."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseTables:
    """The tables of the active release that live in the gateway's memory."""

    release: str
    version: int
    catalogue: Catalogue
    schema: FeatureSchema
    neighbours: Neighbours
    popular_rows: NDArray[np.int64]  # [P] most popular first
    popularity: NDArray[np.float32]  # [R] purchases, smoothed, share of the most popular
    sources: SourceTables


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRelease:
    """One release, whole. A replica swaps this one reference, so no call ever meets a mix."""

    tables: ReleaseTables
    user_tower: UserTower
    ranker: Ranker
    index: VectorIndex
    search: "SearchParts | None" = None  # None: its products have no titles to search by


@dataclass(frozen=True, slots=True, eq=False)
class BusinessSystems:
    """The shop's own systems that know what a product costs and whether it can be had.

    A question may be asked twice and its answer thrown away: all of them only read.
    """

    inventory: InventorySystem
    pricing: PricingSystem
    promotions: PromotionSystem
    costs: CostSystem
    supply: SupplySystem
