"""Business systems: the shop's own stock, prices and promotions over gRPC, one bulk call each.

Shapes: N products asked for. An answer that is not aligned with the question is refused whole: a
price that stands one place off would be worse than none. Figures are passed on as they came:
whether they make sense, and what to do if not, is for `serving.recommend.lookups` to say.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from serving.adapters.grpc_calls import answered, open_channel
from serving.proto import business_pb2 as pb
from serving.recommend.ports import Discounts, Prices, Stock
from shop.errors import DependencyUnavailable

_SERVICE = "/vitrine.business.v1"


class _System:
    """One system behind one channel."""

    def __init__(self, name: str, address: str, method: str, read: Callable[[bytes], Any]) -> None:
        self._name = name
        self._channel = open_channel(address)
        self._call: grpc.aio.UnaryUnaryMultiCallable[pb.ProductsRequest, Any] = (
            self._channel.unary_unary(
                f"{_SERVICE}.{method}",
                request_serializer=pb.ProductsRequest.SerializeToString,
                response_deserializer=read,
            )
        )

    async def close(self) -> None:
        """The system cannot be asked any more."""
        await self._channel.close(None)

    async def _ask(self, product_ids: Sequence[str], timeout_s: float) -> Any:
        request = pb.ProductsRequest(product_ids=product_ids)
        return await answered(self._name, self._call(request, timeout=timeout_s), timeout_s)

    def _check_lengths(self, count: int, **columns: Collection[object]) -> None:
        for name, column in columns.items():
            if len(column) != count:
                raise DependencyUnavailable(
                    self._name, f"asked for {count} products, {name} has {len(column)}"
                )


class GrpcInventory(_System):
    """Stock figures from `vitrine.business.v1.Inventory`."""

    def __init__(self, address: str) -> None:
        super().__init__("stock", address, "Inventory/GetStock", pb.StockResponse.FromString)

    async def stock(self, product_ids: Sequence[str], *, timeout_s: float) -> Stock:
        """One bulk call."""
        reply: pb.StockResponse = await self._ask(product_ids, timeout_s)
        count = len(product_ids)
        self._check_lengths(count, stock=reply.stock, tracked=reply.tracked, found=reply.found)
        return Stock(
            units=_int64(reply.stock, count),
            tracked=_bools(reply.tracked, count),
            found=_bools(reply.found, count),
        )


class GrpcPricing(_System):
    """List prices from `vitrine.business.v1.Pricing`, in the shop's currency."""

    def __init__(self, address: str, *, currency: str) -> None:
        super().__init__("price", address, "Pricing/GetPrices", pb.PricesResponse.FromString)
        self._currency = currency

    async def prices(self, product_ids: Sequence[str], *, timeout_s: float) -> Prices:
        """One bulk call. Refused whole in another currency."""
        reply: pb.PricesResponse = await self._ask(product_ids, timeout_s)
        count = len(product_ids)
        self._check_lengths(count, price_minor=reply.price_minor, found=reply.found)
        if reply.currency != self._currency:
            raise DependencyUnavailable(
                self._name, f"answers in {reply.currency!r}, the shop sells in {self._currency!r}"
            )
        return Prices(
            price_minor=_int64(reply.price_minor, count), found=_bools(reply.found, count)
        )


class GrpcPromotions(_System):
    """Running promotions from `vitrine.business.v1.Promotions`."""

    def __init__(self, address: str) -> None:
        super().__init__(
            "promotion", address, "Promotions/GetPromotions", pb.PromotionsResponse.FromString
        )

    async def promotions(self, product_ids: Sequence[str], *, timeout_s: float) -> Discounts:
        """One bulk call."""
        reply: pb.PromotionsResponse = await self._ask(product_ids, timeout_s)
        count = len(product_ids)
        self._check_lengths(count, percent_off=reply.percent_off)
        return Discounts(percent_off=np.fromiter(reply.percent_off, np.float32, count))


def _int64(values: Iterable[int], count: int) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64, count)


def _bools(values: Iterable[bool], count: int) -> NDArray[np.bool_]:
    return np.fromiter(values, np.bool_, count)
