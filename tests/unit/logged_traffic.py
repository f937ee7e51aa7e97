"""Logged traffic: shoppers at a gateway, and a tower that keeps what it was sent.

Calls and events come as a storefront sends them, protobuf through the gateway's own methods, some
of them at the same time. Whoever uses it says where histories and the log are.
"""

import asyncio
import contextvars
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.adapters.memory import MemoryRanker, MemoryUserTower
from serving.gateway import Gateway
from serving.proto import recommendations_pb2 as pb
from serving.recommend.ports import ReleaseTables
from shop.events import EventType, History
from shop.features import (
    FeatureSchema,
    ShopperFeatures,
    candidate_values,
    mean_log_price,
)
from shop.neighbours import score_neighbours
from training.logged import Log, LoggedEvent
from training.replay import Replay, replay

_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")
_KINDS = [kind.value for kind in EventType]
_AT_ONCE = 8


@dataclass
class Caller:
    """What of a gRPC context the gateway uses."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailers: list[tuple[str, bytes]]) -> None:
        pass


@dataclass(slots=True, eq=False)
class KeepingTower(MemoryUserTower):
    """Keeps the tensors of every call, by request."""

    sent: dict[str, ShopperFeatures] = field(default_factory=dict)

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        self.sent[_request.get()] = features
        return await MemoryUserTower.user_vector(self, features, timeout_s=timeout_s)


@dataclass(slots=True, eq=False)
class KeepingRanker(MemoryRanker):
    """Keeps rows and values of every call's candidates, by request."""

    sent: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = field(default_factory=dict)

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        self.sent[_request.get()] = (candidate_rows, candidate_values)
        return await MemoryRanker.probabilities(
            self, features, user_vector, candidate_rows, candidate_values, timeout_s=timeout_s
        )


class UnwatchedGateway(Gateway):
    """Serve awaits `__del__`; nobody does here, when it is collected."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


async def shop_around(gateway: Gateway, *, calls: int, now_ms: int, seed: int = 0) -> None:
    """So many calls, and about as many batches of events, some of them at once."""
    random = np.random.default_rng(seed)
    for start in range(0, calls, _AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for at in range(start, min(start + _AT_ONCE, calls)):
                group.create_task(_recommend(gateway, _a_request(at, now_ms, random)))
                if random.random() < 0.8:
                    group.create_task(_log(gateway, _some_events(at, now_ms, random)))


async def _recommend(gateway: Gateway, request: pb.RecommendRequest) -> None:
    _request.set(request.request_id)
    caller = Caller()
    reply = await gateway.Recommend(request, caller)
    assert caller.code is grpc.StatusCode.OK, caller.details
    assert reply.items


async def _log(gateway: Gateway, events: pb.LogEventsRequest) -> None:
    caller = Caller()
    await gateway.LogEvents(events, caller)
    assert caller.code is grpc.StatusCode.OK, caller.details


def _a_request(at: int, now_ms: int, random: np.random.Generator) -> pb.RecommendRequest:
    shopper = int(random.integers(40))
    request = pb.RecommendRequest(
        request_id=f"request-{at}",
        placement=str(random.choice(["home", "product", "cart", "category", "email"])),
        user_id=f"u{shopper}" if shopper else "",
        session_id=f"s{int(random.integers(3))}" if random.random() < 0.9 else "",
        device=str(random.choice(["", "desktop", "mobile", "fridge"])),
        country=str(random.choice(["", "DE", "AQ"])),
        page_size=5,
        deadline_ms=20_000,
        context_product_ids=[_a_product(random) for _ in range(int(random.integers(3)))],
        cart=[pb.CartItem(product_id=_a_product(random)) for _ in range(int(random.integers(3)))],
    )
    if random.random() < 0.4:
        request.utc_offset_minutes = int(random.integers(-840, 841))
    for _ in range(int(random.integers(3))):
        event = request.recent_events.add()
        _fill(event, str(random.choice(_KINDS[1:])), now_ms, random)
    return request


def _some_events(at: int, now_ms: int, random: np.random.Generator) -> pb.LogEventsRequest:
    request, shopper = pb.LogEventsRequest(), int(random.integers(1, 40))
    for number in range(int(random.integers(1, 6))):
        event = request.events.add(
            idempotency_key=f"{at}-{number}" if random.random() < 0.95 else "again",
            user_id=f"u{shopper}",
            session_id=f"s{int(random.integers(3))}",
            country=str(random.choice(["", "FR"])),
        )
        _fill(event, str(random.choice(_KINDS)), now_ms, random)
    return request


def _fill(
    event: pb.Event | pb.RecentEvent, kind: str, now_ms: int, random: np.random.Generator
) -> None:
    """Type, product, time and signals; times of minutes ago, of days ago, and ahead of us."""
    event.type = kind
    ago_ms = int(random.choice([0, 60_000, 90_000_000, 2_000_000_000]) * random.random())
    event.time_ms = int(random.choice([0, now_ms - ago_ms, now_ms + 3_600_000], p=[0.3, 0.6, 0.1]))
    if kind != "search":
        event.product_id = _a_product(random)
    elif random.random() < 0.8:
        event.result_count = int(random.choice([0, 0, 3, 1_000_000]))
    if kind == "dwell" and random.random() < 0.8:
        event.dwell_ms = int(random.integers(1, 4_000_000))
    if random.random() < 0.5:
        event.discount = float(random.choice([0.0, 0.15]))


def _a_product(random: np.random.Generator) -> str:
    return f"p{int(random.integers(1, 66))}"  # the last five are unknown to the shop


def assert_replayed(
    log: Log,
    tables: ReleaseTables,
    tower: KeepingTower,
    ranker: KeepingRanker,
    *,
    calls: int,
    imported: Mapping[str, list[LoggedEvent]] = MappingProxyType({}),
) -> Replay:
    """Every call's tensors, computed again from the log, are those that the models were sent."""
    schema: FeatureSchema = tables.schema
    ids: list[str] = tables.catalogue.product_ids.tolist()
    done = replay(log, schema, ids, release=tables.release, imported=imported)
    assert len(done.request_ids) == calls
    assert done.is_judged.all()
    assert done.unequal == ()
    shown: Mapping[str, dict] = {call["request_id"]: call for call in log.calls}
    for request, history, ours in zip(done.request_ids, done.histories, done.features, strict=True):
        sent = tower.sent[request]
        for name in ShopperFeatures.__slots__:
            theirs = getattr(sent, name)
            assert getattr(ours, name).dtype == theirs.dtype
            assert getattr(ours, name).tobytes() == theirs.tobytes(), (request, name)
        _assert_same_values(shown[request], history, tables, *ranker.sent[request])
    return done


def _assert_same_values(
    call: dict,
    history: History,
    tables: ReleaseTables,
    sent_rows: NDArray[np.int64],
    sent_values: NDArray[np.float32],
) -> None:
    """What the ranker was told of the products that were shown."""
    rows = tables.catalogue.rows_of(call["product_ids"])
    ours = candidate_values(
        price_minor=np.array(call["price_minor"], dtype=np.int64),
        discount=np.array(call["discounts"], dtype=np.float32),
        item_item=score_neighbours(history, tables.neighbours).of(rows),
        taste_log_price=mean_log_price(history, tables.catalogue.list_price_minor),
    )
    at = [int(np.flatnonzero(sent_rows == row)[0]) for row in rows]
    assert ours.tobytes() == sent_values[at].tobytes(), call["request_id"]
