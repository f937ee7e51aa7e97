"""Business systems: the shop's own back-ends over gRPC, one bulk call each.

Shapes: N products asked for. An answer that is not aligned with the question, or about other
products or another order of them, is refused whole: a price that stands one place off would be
worse than none. Figures are passed on as they came: whether they make sense, and what to do if not,
is for `serving.recommend.figures` to say.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from serving.adapters.grpc_calls import answered, open_channel
from serving.proto import business_pb2 as pb
from serving.recommend.ports import (
    BusinessSystems,
    Costs,
    Discounts,
    Prices,
    Stock,
    SupplyRisks,
)
from shop.errors import DependencyUnavailable
from shop.question import ids_crc32

_SERVICE = "/vitrine.business.v1"
_INT64, _FLOAT32, _BYTE = np.dtype("<i8"), np.dtype("<f4"), np.dtype("u1")
_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class _Question:
    """One bulk question, ready to send."""

    product_ids: Sequence[str]  # [N]
    wire: bytes
    ids_crc32: int

    @staticmethod
    def about(product_ids: Sequence[str]) -> "_Question":
        wire = pb.ProductsRequest(product_ids=product_ids).SerializeToString()
        return _Question(product_ids, wire, ids_crc32(product_ids))


class Questions:
    """Makes questions. It keeps the last one: all systems are asked about the same products."""

    def __init__(self) -> None:
        self._last = _Question.about(())

    def about(self, product_ids: Sequence[str]) -> _Question:
        """The question about these products."""
        if product_ids is not self._last.product_ids:
            self._last = _Question.about(product_ids)
        return self._last


class _Reply:
    """One answer whose columns are read one by one, each checked for its length."""

    def __init__(self, system: str, message: Any, count: int) -> None:
        self._system, self.message, self._count = system, message, count

    def int64(self, name: str) -> NDArray[np.int64]:
        """[N] a column of whole numbers."""
        return self._column(name, _INT64)

    def float32(self, name: str) -> NDArray[np.float32]:
        """[N] a column of numbers."""
        return self._column(name, _FLOAT32)

    def bools(self, name: str) -> NDArray[np.bool_]:
        """[N] a column of yes and no."""
        return np.asarray(self._column(name, _BYTE) != 0, dtype=np.bool_)

    def _column(self, name: str, dtype: "np.dtype[_Number]") -> NDArray[_Number]:
        packed: bytes = getattr(self.message, f"packed_{name}")
        if packed:
            self._check_length(name, len(packed) / dtype.itemsize)
            return np.frombuffer(packed, dtype)
        values = getattr(self.message, name)
        self._check_length(name, len(values))
        return _read_one_by_one(values, dtype, self._count)

    def _check_length(self, name: str, length: float) -> None:
        if length != self._count:
            raise DependencyUnavailable(
                self._system, f"asked for {self._count} products, {name} has {length:g}"
            )


def _read_one_by_one(
    values: Iterable[float], dtype: "np.dtype[_Number]", count: int
) -> NDArray[_Number]:
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and that is for others to judge
        return np.fromiter(values, dtype, count)


class _System:
    """One system behind one channel."""

    def __init__(
        self,
        name: str,
        address: str,
        method: str,
        read: Callable[[bytes], Any],
        questions: Questions | None,
    ) -> None:
        self._name = name
        self._questions = questions or Questions()
        self._channel = open_channel(address)
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, Any] = self._channel.unary_unary(
            f"{_SERVICE}.{method}", request_serializer=bytes, response_deserializer=read
        )

    async def close(self) -> None:
        """The system cannot be asked any more."""
        await self._channel.close(None)

    async def _ask(self, product_ids: Sequence[str], timeout_s: float) -> _Reply:
        question = self._questions.about(product_ids)
        call = self._call(question.wire, timeout=timeout_s)
        message = await answered(self._name, call, timeout_s)
        if message.ids_crc32 != question.ids_crc32:
            raise DependencyUnavailable(
                self._name, "ids_crc32 is missing, or of other products or another order of them"
            )
        return _Reply(self._name, message, len(product_ids))

    def _check_currency(self, answers: str, wanted: str) -> None:
        if answers != wanted:
            raise DependencyUnavailable(
                self._name, f"answers in {answers!r}, the shop sells in {wanted!r}"
            )


class GrpcInventory(_System):
    """Stock figures from `vitrine.business.v1.Inventory`."""

    def __init__(self, address: str, *, questions: Questions | None = None) -> None:
        read = pb.StockResponse.FromString
        super().__init__("stock", address, "Inventory/GetStock", read, questions)

    async def stock(self, product_ids: Sequence[str], *, timeout_s: float) -> Stock:
        """One bulk call."""
        reply = await self._ask(product_ids, timeout_s)
        return Stock(
            units=reply.int64("stock"), tracked=reply.bools("tracked"), found=reply.bools("found")
        )


class GrpcPricing(_System):
    """List prices from `vitrine.business.v1.Pricing`, in the shop's currency."""

    def __init__(self, address: str, *, currency: str, questions: Questions | None = None) -> None:
        read = pb.PricesResponse.FromString
        super().__init__("price", address, "Pricing/GetPrices", read, questions)
        self._currency = currency

    async def prices(self, product_ids: Sequence[str], *, timeout_s: float) -> Prices:
        """One bulk call. Refused whole in another currency."""
        reply = await self._ask(product_ids, timeout_s)
        self._check_currency(reply.message.currency, self._currency)
        return Prices(price_minor=reply.int64("price_minor"), found=reply.bools("found"))


class GrpcPromotions(_System):
    """Running promotions from `vitrine.business.v1.Promotions`."""

    def __init__(self, address: str, *, questions: Questions | None = None) -> None:
        read = pb.PromotionsResponse.FromString
        super().__init__("promotion", address, "Promotions/GetPromotions", read, questions)

    async def promotions(self, product_ids: Sequence[str], *, timeout_s: float) -> Discounts:
        """One bulk call."""
        reply = await self._ask(product_ids, timeout_s)
        return Discounts(percent_off=reply.float32("percent_off"))


class GrpcCosts(_System):
    """What the shop pays itself, from `vitrine.business.v1.Costs`, in the shop's currency."""

    def __init__(self, address: str, *, currency: str, questions: Questions | None = None) -> None:
        super().__init__("cost", address, "Costs/GetCosts", pb.CostsResponse.FromString, questions)
        self._currency = currency

    async def costs(self, product_ids: Sequence[str], *, timeout_s: float) -> Costs:
        """One bulk call. Refused whole in another currency."""
        reply = await self._ask(product_ids, timeout_s)
        self._check_currency(reply.message.currency, self._currency)
        return Costs(cost_minor=reply.int64("cost_minor"), found=reply.bools("found"))


class GrpcSupply(_System):
    """Back-order risks from `vitrine.business.v1.Supply`."""

    def __init__(self, address: str, *, questions: Questions | None = None) -> None:
        read = pb.SupplyResponse.FromString
        super().__init__("supply", address, "Supply/GetSupply", read, questions)

    async def supply_risks(self, product_ids: Sequence[str], *, timeout_s: float) -> SupplyRisks:
        """One bulk call."""
        reply = await self._ask(product_ids, timeout_s)
        return SupplyRisks(
            backorder_risk=reply.float32("backorder_risk"),
            days_to_restock=reply.float32("days_to_restock"),
            found=reply.bools("found"),
        )


def open_business_systems(
    stack: AsyncExitStack, addresses: Mapping[str, str], *, currency: str
) -> BusinessSystems:
    """All five at `host:port` by name, closed by `stack`. They connect with the first call."""
    questions = Questions()
    inventory = GrpcInventory(addresses["inventory"], questions=questions)
    pricing = GrpcPricing(addresses["pricing"], currency=currency, questions=questions)
    promotions = GrpcPromotions(addresses["promotions"], questions=questions)
    costs = GrpcCosts(addresses["costs"], currency=currency, questions=questions)
    supply = GrpcSupply(addresses["supply"], questions=questions)
    for system in (inventory, pricing, promotions, costs, supply):
        stack.push_async_callback(system.close)
    return BusinessSystems(inventory, pricing, promotions, costs, supply)
