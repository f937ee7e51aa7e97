"""Feeds: what the shop's price suggestions are made from, as real gRPC servers.

Competitor prices and the price calendar come from `simulator.market`, the demand forecast from
`simulator.sales_log`; what ails a feed, and how that shows, is as with `simulator.backends`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.proto import business_pb2 as business
from serving.proto import feeds_pb2 as pb
from serving.proto import feeds_pb2_grpc as rpc
from shop.question import ids_crc32
from simulator.faults import Ailment, is_nonsensical, nonsense
from simulator.forecast import Forecast, no_forecast
from simulator.market import Market

Clock = Callable[[], int]
"""Unix milliseconds now."""

_Answer = TypeVar(
    "_Answer", pb.CompetitorPricesResponse, pb.DemandForecastResponse, pb.PriceCalendarResponse
)
# The column that goes wrong, and an absurd value.
_ABSURD: dict[type, tuple[str, float]] = {
    pb.CompetitorPricesResponse: ("price_minor", -5),
    pb.DemandForecastResponse: ("units_per_day", float("nan")),
    pb.PriceCalendarResponse: ("lowest_minor", -5),
}


@dataclass(slots=True, eq=False)
class World:
    """What the feeds know. The forecast is made while the others answer already."""

    market: Market
    clock: Clock
    forecast: Forecast = field(init=False)
    made_ms: int = field(init=False)
    is_made: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.forecast = no_forecast(self.market.room.price_minor.size)
        self.made_ms = self.clock()

    async def make_forecast(self, make: Callable[[], Forecast]) -> None:
        """Answers wait for it. The shop lives on where its data ends, so it is fresh when made."""
        self.forecast = await asyncio.to_thread(make)
        self.made_ms = self.clock()
        self.is_made.set()


class CompetitorFeed(rpc.CompetitorPricesServicer):
    """Answers what others ask."""

    def __init__(self, world: World, ailment: Ailment) -> None:
        self._world, self._ailment = world, ailment

    async def GetCompetitorPrices(
        self, request: pb.FeedRequest, context: grpc.aio.ServicerContext
    ) -> pb.CompetitorPricesResponse:
        await self._ailment.endure(context)
        ids = self._ailment.confused(request.product_ids)
        room = self._world.market.room
        offers = self._world.market.offers(room.rows_of(ids), self._world.clock())
        return _garbled(
            pb.CompetitorPricesResponse(
                counts=offers.sells.sum(axis=1).tolist(),
                price_minor=offers.price_minor[offers.sells].tolist(),
                age_ms=offers.age_ms[offers.sells].tolist(),
                currency=room.currency,
                ids_crc32=ids_crc32(ids),
            ),
            self._ailment,
        )


class DemandFeed(rpc.DemandForecastServicer):
    """Answers what will be sold."""

    def __init__(self, world: World, ailment: Ailment) -> None:
        self._world, self._ailment = world, ailment

    async def GetDemandForecast(
        self, request: pb.FeedRequest, context: grpc.aio.ServicerContext
    ) -> pb.DemandForecastResponse:
        await self._ailment.endure(context)
        await self._world.is_made.wait()
        ids = self._ailment.confused(request.product_ids)
        rows, forecast = self._world.market.room.rows_of(ids), self._world.forecast
        return _garbled(
            pb.DemandForecastResponse(
                units_per_day=forecast.units_per_day[rows].tolist(),
                elasticity=forecast.elasticity[rows].tolist(),
                found=forecast.found[rows].tolist(),
                age_ms=self._world.clock() - self._world.made_ms,
                ids_crc32=ids_crc32(ids),
            ),
            self._ailment,
        )


class CalendarFeed(rpc.PriceCalendarServicer):
    """Answers what was and what is planned."""

    def __init__(self, world: World, ailment: Ailment) -> None:
        self._world, self._ailment = world, ailment

    async def GetPriceCalendar(
        self, request: pb.FeedRequest, context: grpc.aio.ServicerContext
    ) -> pb.PriceCalendarResponse:
        await self._ailment.endure(context)
        ids = self._ailment.confused(request.product_ids)
        room = self._world.market.room
        rows: NDArray[np.int64] = room.rows_of(ids)
        calendar = self._world.market.calendar(rows, self._world.clock())
        return _garbled(
            pb.PriceCalendarResponse(
                promotion_runs=calendar.runs.tolist(),
                promotion_planned=calendar.planned.tolist(),
                promotion_in_ms=calendar.in_ms.tolist(),
                lowest_minor=calendar.lowest_minor.tolist(),
                highest_minor=calendar.highest_minor.tolist(),
                found=(rows > 0).tolist(),
                currency=room.currency,
                ids_crc32=ids_crc32(ids),
            ),
            self._ailment,
        )


class MarketSwitch(rpc.MarketRoomServicer):
    """Changes competitors' prices while the feeds run."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def SetCompetitorPrices(
        self, request: pb.SetCompetitorPricesRequest, context: grpc.aio.ServicerContext
    ) -> pb.SetCompetitorPricesResponse:
        try:
            unknown = self._world.market.set_offers(
                request.product_ids, request.price_minor, request.age_ms, self._world.clock()
            )
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return pb.SetCompetitorPricesResponse(unknown_product_ids=unknown)


def add_feed(name: str, server: grpc.aio.Server, world: World, ailment: Ailment) -> None:
    """Let `server` answer as the feed of this name, one of `simulator.faults.FEEDS`."""
    if name == "competitors":
        rpc.add_CompetitorPricesServicer_to_server(CompetitorFeed(world, ailment), server)
    elif name == "demand":
        rpc.add_DemandForecastServicer_to_server(DemandFeed(world, ailment), server)
    elif name == "calendar":
        rpc.add_PriceCalendarServicer_to_server(CalendarFeed(world, ailment), server)
    else:
        raise ValueError(f"{name!r} is no feed")


def _garbled(answer: _Answer, ailment: Ailment) -> _Answer:
    """The answer made wrong in place, or left right."""
    name, absurd = _ABSURD[type(answer)]
    column, wrong_values = getattr(answer, name), ailment.settings.wrong_values
    values = list(column)
    if is_nonsensical(wrong_values):
        column[:] = [nonsense(wrong_values, absurd)] * len(values)
    elif wrong_values == business.WRONG_VALUES_MISREAD:
        column[:] = values[::-1]
    elif wrong_values == business.WRONG_VALUES_SHORT:
        del column[-1:]
    return answer
