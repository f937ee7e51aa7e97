"""Ailing: each of the shop's back-ends in turn slow, wrong or dead, while calls go on."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from loadtest.audience import audience_of
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.benchmarks.warmth import warm_up
from loadtest.traffic import SCENARIOS, make_calls
from serving.client import VitrineClient
from serving.proto import business_pb2 as business
from serving.proto import business_pb2_grpc as business_rpc
from serving.proto import recommendations_pb2 as pb
from serving.recommend.settings import OfferSettings
from serving.stack.folder import StackState
from shop.errors import VitrineError

RATE_PER_S = 20.0
_SETTLED_CALLS = 40  # that must name the loss, once nothing is current any more
_SETTLES_S = 1.0  # after the time to live: questions that were under way, and some to spare
_CHANCE_SHARE = 0.1
_PATIENCE_S = 30.0  # until a loss shows: the longest time to live is ten seconds
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
    "wrong (absurd)": {"wrong_values": business.WRONG_VALUES_ABSURD},
    "wrong (swapped)": {"wrong_values": business.WRONG_VALUES_SWAPPED},
    "dead": {"dead": True},
}
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
    def is_named_rightly(self) -> bool:
        """Whether all replies name the right loss once settled, and hardly any another.

        A busy machine now and then answers too late for the healthy ones too.
        """
        return (
            self.settled_calls > 0
            and self.named == self.settled_calls
            and self.named_others <= _CHANCE_SHARE * self.settled_calls
        )


def ailing_stack(state_dir: Path, stack: StackState) -> tuple[Cell, ...]:
    """One cell for each back-end and ailment. Raises BenchmarkFailed if the stack is not whole."""
    warm_up(state_dir, stack.door)
    with (
        VitrineClient(stack.door) as client,
        grpc.insecure_channel(stack.addresses["control"], _NO_PROXY) as control,
        grpc.insecure_channel(stack.addresses["inventory"], _NO_PROXY) as inventory,
    ):
        caller = _Caller(client, _requests(state_dir))
        faults = business_rpc.FaultsStub(control)
        room = business_rpc.StockRoomStub(control)
        often_shown = caller.often_shown(_SOLD_OUT)
        with _sold_out(often_shown, room, business_rpc.InventoryStub(inventory)):
            caller.wait_until(lambda reply: not _shown(reply, often_shown), "sold out")
            return tuple(
                _cell(caller, faults, system, ailment, often_shown)
                for system in REASON_OF
                for ailment in AILMENTS
            )


def _cell(
    caller: "_Caller",
    faults: business_rpc.FaultsStub,
    system: str,
    ailment: str,
    sold_out: frozenset[str],
) -> Cell:
    caller.wait_until(lambda reply: not reply.degraded, f"whole, before {system} {ailment}")
    cell = Cell(system, ailment)
    settings = business.FaultSettings(system=system, **AILMENTS[ailment])
    faults.SetFaults(settings, timeout=5.0)
    try:
        began = time.monotonic()
        while cell.settled_calls < _SETTLED_CALLS and time.monotonic() - began < _PATIENCE_S:
            sent_s = time.monotonic() - began
            note(cell, caller.next(), sold_out, after_s=sent_s)
    finally:
        faults.SetFaults(business.FaultSettings(system=system), timeout=5.0)
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
    is_named = REASON_OF[cell.system] in reasons
    if is_named and math.isnan(cell.named_after_s):
        cell.named_after_s = after_s
    if after_s >= _TTL_S[cell.system] + _SETTLES_S:
        cell.settled_calls += 1
        cell.named += is_named
        cell.named_others += bool(reasons - {REASON_OF[cell.system]})


class _Caller:
    """Sends the next call when it is due; one in flight."""

    def __init__(self, client: VitrineClient, requests: Iterator[pb.RecommendRequest]) -> None:
        self._client = client
        self._requests = requests
        self._due_s = time.monotonic()

    def next(self) -> pb.RecommendResponse | None:
        """The reply; None if the call failed."""
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._due_s = max(self._due_s + 1.0 / RATE_PER_S, time.monotonic())
        try:
            return self._client.recommend(next(self._requests))
        except VitrineError:
            return None

    def often_shown(self, count: int) -> frozenset[str]:
        """The products that lists show most."""
        replies = [self.next() for _ in range(40)]
        shown = Counter(item.product_id for reply in replies if reply for item in reply.items)
        return frozenset(name for name, _ in shown.most_common(count))

    def wait_until(self, holds: Callable[[pb.RecommendResponse], bool], what: str) -> None:
        """Returns after ten replies in a row that hold."""
        until, in_a_row = time.monotonic() + _PATIENCE_S, 0
        while in_a_row < 10:
            reply = self.next()
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


@contextmanager
def _sold_out(
    products: frozenset[str],
    room: business_rpc.StockRoomStub,
    inventory: business_rpc.InventoryStub,
) -> Iterator[None]:
    """None of these are left inside the block; as many as before beyond it."""
    names = sorted(products)
    answer = inventory.GetStock(business.ProductsRequest(product_ids=names), timeout=5.0)
    # Shown and yet 0: the shop did not count it before, so that any number will do.
    before = [units or 50 for units in np.frombuffer(answer.packed_stock, "<i8").tolist()]
    none = [0] * len(names)
    room.SetStock(business.SetStockRequest(product_ids=names, stock=none), timeout=5.0)
    try:
        yield
    finally:
        room.SetStock(business.SetStockRequest(product_ids=names, stock=before), timeout=5.0)
