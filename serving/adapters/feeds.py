"""Feeds: competitors' prices, demand forecast and price calendar over gRPC, one bulk call each.

Shapes: N products asked for, M competitors' prices. An answer that is not aligned with the
question, or belongs to another one, is refused whole. Figures are passed on as they came: what they
are worth is for `serving.recommend.feeds` and `shop.price_drivers` to say.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from serving.adapters.grpc_calls import answered, open_channel
from serving.proto import feeds_pb2 as pb
from serving.recommend.feed_ports import CompetitorPrices, Demand, Plans
from shop.errors import DependencyUnavailable
from shop.question import ids_crc32

_SERVICE = "/vitrine.feeds.v1"
_MAX_COMPETITORS = 50  # of one product: more are no market but a fault, and each is kept


class _Feed:
    """One feed behind one channel."""

    def __init__(self, name: str, address: str, method: str, read: Callable[[bytes], Any]) -> None:
        self._name = name
        self._channel = open_channel(address)
        self._call: grpc.aio.UnaryUnaryMultiCallable[pb.FeedRequest, Any] = (
            self._channel.unary_unary(
                f"{_SERVICE}.{method}",
                request_serializer=pb.FeedRequest.SerializeToString,
                response_deserializer=read,
            )
        )

    async def close(self) -> None:
        """The feed cannot be asked any more."""
        await self._channel.close(None)

    async def _ask(self, product_ids: Sequence[str], timeout_s: float) -> Any:
        request = pb.FeedRequest(product_ids=product_ids)
        reply = await answered(self._name, self._call(request, timeout=timeout_s), timeout_s)
        if reply.ids_crc32 != ids_crc32(product_ids):
            raise DependencyUnavailable(
                self._name, "ids_crc32 is missing, or of other products or another order of them"
            )
        return reply

    def _check_lengths(self, count: int, **columns: Collection[object]) -> None:
        for name, column in columns.items():
            if len(column) != count:
                raise DependencyUnavailable(
                    self._name, f"asked for {count} products, {name} has {len(column)}"
                )

    def _check_currency(self, answers: str, wanted: str) -> None:
        if answers != wanted:
            raise DependencyUnavailable(
                self._name, f"answers in {answers!r}, the shop sells in {wanted!r}"
            )


class GrpcCompetitors(_Feed):
    """Competitors' prices from `vitrine.feeds.v1.CompetitorPrices`, in the shop's currency."""

    def __init__(self, address: str, *, currency: str) -> None:
        method, read = (
            "CompetitorPrices/GetCompetitorPrices",
            pb.CompetitorPricesResponse.FromString,
        )
        super().__init__("competitors", address, method, read)
        self._currency = currency

    async def competitor_prices(
        self, product_ids: Sequence[str], *, timeout_s: float
    ) -> CompetitorPrices:
        """One bulk call. Refused whole in another currency."""
        reply: pb.CompetitorPricesResponse = await self._ask(product_ids, timeout_s)
        self._check_currency(reply.currency, self._currency)
        self._check_lengths(len(product_ids), counts=reply.counts)
        if any(not 0 <= count <= _MAX_COMPETITORS for count in reply.counts):
            raise DependencyUnavailable(
                self._name, f"counts must be 0 to {_MAX_COMPETITORS} competitors of a product"
            )
        total = sum(reply.counts)
        if not len(reply.price_minor) == len(reply.age_ms) == total:
            raise DependencyUnavailable(
                self._name,
                f"counts {total} prices, price_minor has {len(reply.price_minor)}"
                f" and age_ms {len(reply.age_ms)}",
            )
        return CompetitorPrices(
            counts=np.array(reply.counts, dtype=np.int64),
            price_minor=_numbers(reply.price_minor),
            age_ms=_numbers(reply.age_ms),
        )


class GrpcDemand(_Feed):
    """Forecasts from `vitrine.feeds.v1.DemandForecast`."""

    def __init__(self, address: str) -> None:
        method, read = "DemandForecast/GetDemandForecast", pb.DemandForecastResponse.FromString
        super().__init__("demand", address, method, read)

    async def demand(self, product_ids: Sequence[str], *, timeout_s: float) -> Demand:
        """One bulk call."""
        reply: pb.DemandForecastResponse = await self._ask(product_ids, timeout_s)
        self._check_lengths(
            len(product_ids),
            units_per_day=reply.units_per_day,
            elasticity=reply.elasticity,
            found=reply.found,
        )
        return Demand(
            units_per_day=_numbers(reply.units_per_day),
            elasticity=_numbers(reply.elasticity),
            found=np.array(reply.found, dtype=np.bool_),
            age_ms=float(reply.age_ms),
        )


class GrpcCalendar(_Feed):
    """Promotions to come and recent list prices from `vitrine.feeds.v1.PriceCalendar`."""

    def __init__(self, address: str, *, currency: str) -> None:
        method, read = "PriceCalendar/GetPriceCalendar", pb.PriceCalendarResponse.FromString
        super().__init__("calendar", address, method, read)
        self._currency = currency

    async def plans(self, product_ids: Sequence[str], *, timeout_s: float) -> Plans:
        """One bulk call. Refused whole in another currency."""
        reply: pb.PriceCalendarResponse = await self._ask(product_ids, timeout_s)
        self._check_currency(reply.currency, self._currency)
        self._check_lengths(
            len(product_ids),
            promotion_runs=reply.promotion_runs,
            promotion_planned=reply.promotion_planned,
            promotion_in_ms=reply.promotion_in_ms,
            lowest_minor=reply.lowest_minor,
            highest_minor=reply.highest_minor,
            found=reply.found,
        )
        planned = np.array(reply.promotion_planned, dtype=np.bool_)
        return Plans(
            promotion_runs=np.array(reply.promotion_runs, dtype=np.bool_),
            promotion_in_ms=np.where(planned, _numbers(reply.promotion_in_ms), np.inf),
            lowest_minor=_numbers(reply.lowest_minor),
            highest_minor=_numbers(reply.highest_minor),
            found=np.array(reply.found, dtype=np.bool_),
        )


def _numbers(values: Sequence[float]) -> NDArray[np.float64]:
    return np.fromiter(values, np.float64, len(values))
