"""Ailing: each of the shop's back-ends in turn slow, wrong or dead, while calls go on.

Calls are open loop: each is sent when it is due, whatever became of those before.
"""

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from loadtest.audience import audience_of
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.benchmarks.warmth import warm_up
from loadtest.traffic import SCENARIOS, make_calls
from serving.async_client import AsyncVitrineClient
from serving.proto import business_pb2 as business
from serving.proto import business_pb2_grpc as business_rpc
from serving.proto import recommendations_pb2 as pb
from serving.recommend.settings import OfferSettings
from serving.stack.folder import StackState
from shop.errors import VitrineError

RATE_PER_S = 30.0
SETTLED_S = 3.0  # of calls that must name the loss, once nothing is current any more
_SETTLES_S = 1.0  # after the time to live: questions that were under way, and some to spare
_TIMEOUT_S = 5.0
_PATIENCE_S = 30.0  # until lists are whole again
_SOLD_OUT = 10  # products that are sold out before anything ails
_PAGE = 50
_LOOKUPS = "lookups"
REASON_OF = {
    "inventory": "STALE_STOCK",
    "pricing": "STALE_PRICE",
    "promotions": "DEFAULT_OFFER",
    "costs": "DEFAULT_OFFER",
    "supply": "DEFAULT_OFFER",
}
_OFFERS = OfferSettings()
_TTL_S = {
    "inventory": _OFFERS.stock.ttl_ms / 1e3,
    "pricing": _OFFERS.price.ttl_ms / 1e3,
    "promotions": _OFFERS.promotion.ttl_ms / 1e3,
    "costs": _OFFERS.cost.ttl_ms / 1e3,
    "supply": _OFFERS.supply.ttl_ms / 1e3,
}
AILMENTS: Mapping[str, Mapping[str, Any]] = {
    "slow (500 ms)": {"latency_ms": 500.0},
    "no numbers": {"wrong_values": business.WRONG_VALUES_NAN},
    "ids swapped": {"wrong_values": business.WRONG_VALUES_SWAPPED},
    "negative": {"wrong_values": business.WRONG_VALUES_NEGATIVE},
    "dead": {"dead": True},
}
# Sensible values of other products, under a check that says they are right: nothing tells of it.
UNSEEN: Mapping[str, Mapping[str, Any]] = {
    "misread": {"wrong_values": business.WRONG_VALUES_MISREAD},
}
# Nothing ails: how often a busy machine's back-ends answer too late all the same.
HEALTHY = "healthy"
_SETTINGS: Mapping[str, Mapping[str, Any]] = {**AILMENTS, **UNSEEN, HEALTHY: {}}
_NO_PROXY = (("grpc.enable_http_proxy", 0),)


@dataclass(slots=True)
class Cell:
    """What became of the calls while one back-end ailed in one way."""

    system: str
    ailment: str
    calls: int = 0
    failed: int = 0
    sold_out_shown: int = 0
    named_after_s: float = float("nan")  # from the fault to the first reply that names it
    settled_calls: int = 0  # after the time to live, when no answer is current any more
    named: int = 0  # of those
    named_others: int = 0  # of those, with a back-end that does not ail

    @property
    def is_named(self) -> bool:
        """Whether all replies name the right loss once settled."""
        return self.named == self.settled_calls > 0


def ailing_stack(
    state_dir: Path,
    stack: StackState,
    cells: Sequence[tuple[str, str]],
    *,
    settled_s: float = SETTLED_S,
) -> tuple[Cell, ...]:
    """One cell for each (system, ailment). Raises BenchmarkFailed if the stack is not whole."""
    warm_up(state_dir, stack.door)
    with (
        grpc.insecure_channel(stack.addresses["control"], _NO_PROXY) as control,
        grpc.insecure_channel(stack.addresses["inventory"], _NO_PROXY) as inventory,
    ):
        room = _Room(business_rpc.StockRoomStub(control), business_rpc.InventoryStub(inventory))
        faults = business_rpc.FaultsStub(control)
        return asyncio.run(
            ailing_door(stack.door, _requests(state_dir), room.sold_out, faults, cells, settled_s)
        )


async def ailing_door(
    address: str,
    requests: Iterator[pb.RecommendRequest],
    sold_out: Callable[[frozenset[str]], AbstractContextManager[None]],
    faults: business_rpc.FaultsStub,
    cells: Sequence[tuple[str, str]],
    settled_s: float,
) -> tuple[Cell, ...]:
    """The same of any door, all over one connection.

    A connection is one replica's, and each replica knows the stock that it has asked for: what is
    known to be sold out is what the one asked knows.
    """
    async with AsyncVitrineClient(address, timeout_s=_TIMEOUT_S, retries=False) as client:
        caller = _Caller(client, requests)
        often_shown = await caller.often_shown(_SOLD_OUT)
        with sold_out(often_shown):
            await caller.wait_until(lambda reply: not _shown(reply, often_shown), "sold out")
            return tuple(
                [
                    await _cell(caller, faults, system, ailment, often_shown, settled_s)
                    for system, ailment in cells
                ]
            )


async def _cell(
    caller: "_Caller",
    faults: business_rpc.FaultsStub,
    system: str,
    ailment: str,
    sold_out: frozenset[str],
    settled_s: float,
) -> Cell:
    await caller.wait_until(lambda reply: not reply.degraded, f"whole, before {system} {ailment}")
    cell = Cell(system, ailment)
    settings = business.FaultSettings(system=system, **_SETTINGS[ailment])
    await asyncio.to_thread(faults.SetFaults, settings, timeout=5.0)
    try:
        lasts_s = _TTL_S[system] + _SETTLES_S + settled_s
        for after_s, reply in await caller.open_loop(lasts_s):
            note(cell, reply, sold_out, after_s=after_s)
    finally:
        healthy = business.FaultSettings(system=system)
        await asyncio.to_thread(faults.SetFaults, healthy, timeout=5.0)
    return cell


def note(
    cell: Cell, reply: pb.RecommendResponse | None, sold_out: frozenset[str], *, after_s: float
) -> None:
    """Count one call, sent so long after the fault, into its cell; None: it failed."""
    cell.calls += 1
    if reply is None:
        cell.failed += 1
        return
    cell.sold_out_shown += len(_shown(reply, sold_out))
    reasons = {lost.reason for lost in reply.degraded if lost.stage == _LOOKUPS}
    right = set() if cell.ailment == HEALTHY else {REASON_OF[cell.system]}
    is_named = bool(reasons & right)
    if is_named and math.isnan(cell.named_after_s):
        cell.named_after_s = after_s
    if after_s >= _TTL_S[cell.system] + _SETTLES_S:
        cell.settled_calls += 1
        cell.named += is_named
        cell.named_others += bool(reasons - right)


_Replied = tuple[float, pb.RecommendResponse | None]
"""Seconds from the fault to when the call was due, and the reply; None if it failed."""


class _Caller:
    """Calls like a shop's, one after the other or each when it is due."""

    def __init__(self, client: AsyncVitrineClient, requests: Iterator[pb.RecommendRequest]) -> None:
        self._client = client
        self._requests = requests

    async def open_loop(self, lasts_s: float) -> list[_Replied]:
        """Calls from now on, in the order in which they were due."""
        loop = asyncio.get_running_loop()
        began_s, calls = loop.time(), []
        for number in range(round(lasts_s * RATE_PER_S)):
            due_s = number / RATE_PER_S
            await asyncio.sleep(max(0.0, began_s + due_s - loop.time()))
            calls.append(asyncio.create_task(self._due(due_s)))
        return await asyncio.gather(*calls)

    async def _due(self, due_s: float) -> _Replied:
        return due_s, await self.next()

    async def next(self) -> pb.RecommendResponse | None:
        """The reply; None if the call failed."""
        try:
            return await self._client.recommend(next(self._requests))
        except VitrineError:
            return None

    async def often_shown(self, count: int) -> frozenset[str]:
        """The products that lists show most."""
        replies = [await self.next() for _ in range(40)]
        shown = Counter(item.product_id for reply in replies if reply for item in reply.items)
        return frozenset(name for name, _ in shown.most_common(count))

    async def wait_until(self, holds: Callable[[pb.RecommendResponse], bool], what: str) -> None:
        """Returns after ten replies in a row that hold."""
        until, in_a_row = time.monotonic() + _PATIENCE_S, 0
        while in_a_row < 10:
            reply = await self.next()
            in_a_row = in_a_row + 1 if reply is not None and holds(reply) else 0
            if time.monotonic() > until:
                raise BenchmarkFailed(f"the stack's lists are not {what}")


def _requests(state_dir: Path) -> Iterator[pb.RecommendRequest]:
    calls = make_calls(SCENARIOS["browse"], audience_of(state_dir), 2_000, np.random.default_rng(8))
    for call in itertools.cycle(calls):
        request = pb.RecommendRequest.FromString(call.body)
        request.page_size = _PAGE
        yield request


def _shown(reply: pb.RecommendResponse, products: frozenset[str]) -> frozenset[str]:
    return products & {item.product_id for item in reply.items}


@dataclass(frozen=True, slots=True)
class _Room:
    """The stockroom behind the inventory."""

    switches: business_rpc.StockRoomStub
    inventory: business_rpc.InventoryStub

    @contextmanager
    def sold_out(self, products: frozenset[str]) -> Iterator[None]:
        """None of these are left inside the block; as many as before beyond it."""
        names = sorted(products)
        answer = self.inventory.GetStock(business.ProductsRequest(product_ids=names), timeout=5.0)
        # Shown and yet 0: the shop did not count it before, so that any number will do.
        before = [units or 50 for units in np.frombuffer(answer.packed_stock, "<i8").tolist()]
        self._set(names, [0] * len(names))
        try:
            yield
        finally:
            self._set(names, before)

    def _set(self, names: Sequence[str], units: Sequence[int]) -> None:
        request = business.SetStockRequest(product_ids=names, stock=units)
        self.switches.SetStock(request, timeout=5.0)
