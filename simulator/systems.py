"""Systems: what each back-end answers, column by column, from the stock room.

The values are `simulator.stockroom`'s; what ails a system, and how that shows, is
`simulator.faults`'.
"""

from collections.abc import Callable

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.proto import business_pb2 as pb
from serving.proto import business_pb2_grpc as rpc
from shop.question import ids_crc32
from simulator.faults import Ailment
from simulator.stockroom import StockRoom

Clock = Callable[[], int]
"""Unix milliseconds now."""


class _System:
    """One system: it endures what ails it, then looks up what it is asked."""

    def __init__(self, room: StockRoom, ailment: Ailment) -> None:
        self._room, self._ailment = room, ailment

    async def _read(
        self, request: pb.ProductsRequest, context: grpc.aio.ServicerContext
    ) -> tuple[NDArray[np.int64], int]:
        """[N] rows in the order of the answer, and the check that belongs to them."""
        await self._ailment.endure(context)
        product_ids = self._ailment.confused(request.product_ids)
        return self._room.rows_of(product_ids), ids_crc32(product_ids)


class InventorySystem(_System, rpc.InventoryServicer):
    """Answers stock figures."""

    async def GetStock(
        self, request: pb.ProductsRequest, context: grpc.aio.ServicerContext
    ) -> pb.StockResponse:
        rows, check = await self._read(request, context)
        columns = self._ailment.packed(
            packed_stock=self._room.stock[rows],
            packed_tracked=self._room.tracked[rows],
            packed_found=rows > 0,
        )
        return pb.StockResponse(**columns, ids_crc32=check)


class PricingSystem(_System, rpc.PricingServicer):
    """Answers list prices."""

    async def GetPrices(
        self, request: pb.ProductsRequest, context: grpc.aio.ServicerContext
    ) -> pb.PricesResponse:
        rows, check = await self._read(request, context)
        columns = self._ailment.packed(
            packed_price_minor=self._room.price_minor[rows], packed_found=rows > 0
        )
        return pb.PricesResponse(**columns, currency=self._room.currency, ids_crc32=check)


class PromotionSystem(_System, rpc.PromotionsServicer):
    """Answers running campaigns."""

    def __init__(self, room: StockRoom, ailment: Ailment, clock: Clock) -> None:
        super().__init__(room, ailment)
        self._clock = clock

    async def GetPromotions(
        self, request: pb.ProductsRequest, context: grpc.aio.ServicerContext
    ) -> pb.PromotionsResponse:
        rows, check = await self._read(request, context)
        percent, campaigns = self._room.promotions(rows, self._clock())
        columns = self._ailment.packed(packed_percent_off=percent.astype(np.float32))
        return pb.PromotionsResponse(**columns, campaign=campaigns, ids_crc32=check)


class CostSystem(_System, rpc.CostsServicer):
    """Answers what the shop pays itself."""

    async def GetCosts(
        self, request: pb.ProductsRequest, context: grpc.aio.ServicerContext
    ) -> pb.CostsResponse:
        rows, check = await self._read(request, context)
        columns = self._ailment.packed(
            packed_cost_minor=self._room.cost_minor[rows],
            packed_found=self._room.cost_known[rows],
        )
        return pb.CostsResponse(**columns, currency=self._room.currency, ids_crc32=check)


class SupplySystem(_System, rpc.SupplyServicer):
    """Answers who will have to wait, and how long."""

    async def GetSupply(
        self, request: pb.ProductsRequest, context: grpc.aio.ServicerContext
    ) -> pb.SupplyResponse:
        rows, check = await self._read(request, context)
        risk, known = self._room.supply(rows)
        columns = self._ailment.packed(
            packed_backorder_risk=risk,
            packed_days_to_restock=self._room.supply_days[rows].astype(np.float32),
            packed_found=known,
        )
        return pb.SupplyResponse(**columns, ids_crc32=check)


def add_system(
    name: str, server: grpc.aio.Server, room: StockRoom, ailment: Ailment, clock: Clock
) -> None:
    """Let `server` answer as the system of this name, one of `simulator.faults.SYSTEMS`."""
    if name == "inventory":
        rpc.add_InventoryServicer_to_server(InventorySystem(room, ailment), server)
    elif name == "pricing":
        rpc.add_PricingServicer_to_server(PricingSystem(room, ailment), server)
    elif name == "promotions":
        rpc.add_PromotionsServicer_to_server(PromotionSystem(room, ailment, clock), server)
    elif name == "costs":
        rpc.add_CostsServicer_to_server(CostSystem(room, ailment), server)
    elif name == "supply":
        rpc.add_SupplyServicer_to_server(SupplySystem(room, ailment), server)
    else:
        raise ValueError(f"{name!r} is no system")
