"""The shop's systems over real gRPC: aligned answers are taken, all others refused whole."""

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from serving.adapters.business import (
    GrpcCosts,
    GrpcInventory,
    GrpcPricing,
    GrpcPromotions,
    GrpcSupply,
)
from serving.proto import business_pb2 as pb
from serving.proto import business_pb2_grpc as rpc
from serving.stack.ports import free_port
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.question import ids_crc32

IDS = ("lamp", "chair", "desk")
_SERVICES = (
    rpc.add_InventoryServicer_to_server,
    rpc.add_PricingServicer_to_server,
    rpc.add_PromotionsServicer_to_server,
    rpc.add_CostsServicer_to_server,
    rpc.add_SupplyServicer_to_server,
)


class Shop(
    rpc.InventoryServicer,
    rpc.PricingServicer,
    rpc.PromotionsServicer,
    rpc.CostsServicer,
    rpc.SupplyServicer,
):
    """All systems in one, answering what they are told; `answers_about` None: what was asked."""

    def __init__(self) -> None:
        self.answers_about: tuple[str, ...] | None = None
        self.stock = pb.StockResponse(
            stock=[5, -2, 0], tracked=[True, True, False], found=[True, True, False]
        )
        self.prices = pb.PricesResponse(
            price_minor=[990, 0, -5], found=[True, True, True], currency="EUR"
        )
        self.promotions = pb.PromotionsResponse(
            percent_off=[0.0, 12.5, 100.0], campaign=["", "spring", "clearance"]
        )
        self.costs = pb.CostsResponse(
            cost_minor=[400, 0, -5], found=[True, False, True], currency="EUR"
        )
        self.supply = pb.SupplyResponse(
            backorder_risk=[0.25, float("nan"), 1e300],
            days_to_restock=[14.0, 0.0, -1.0],
            found=[True, False, True],
        )
        self.asked: list[str] = []
        self.hangs = False

    async def _answer(self, request: pb.ProductsRequest, answer: Any) -> Any:
        self.asked = list(request.product_ids)
        if self.hangs:
            await asyncio.Event().wait()
        about = self.asked if self.answers_about is None else self.answers_about
        answer.ids_crc32 = ids_crc32(about)
        return answer

    async def GetStock(self, request: pb.ProductsRequest, context: Any) -> pb.StockResponse:
        return await self._answer(request, self.stock)

    async def GetPrices(self, request: pb.ProductsRequest, context: Any) -> pb.PricesResponse:
        return await self._answer(request, self.prices)

    async def GetPromotions(
        self, request: pb.ProductsRequest, context: Any
    ) -> pb.PromotionsResponse:
        return await self._answer(request, self.promotions)

    async def GetCosts(self, request: pb.ProductsRequest, context: Any) -> pb.CostsResponse:
        return await self._answer(request, self.costs)

    async def GetSupply(self, request: pb.ProductsRequest, context: Any) -> pb.SupplyResponse:
        return await self._answer(request, self.supply)


def with_shop(use: Callable[[Shop, str], Awaitable[None]]) -> None:
    async def run() -> None:
        server, shop, port = grpc.aio.server(), Shop(), free_port()
        for add in _SERVICES:
            add(shop, server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        try:
            await use(shop, f"127.0.0.1:{port}")
        finally:
            await server.stop(None)

    asyncio.run(run())


def test_stock_is_aligned_and_passed_on_as_it_came() -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcInventory(address)
        stock = await system.stock(IDS, timeout_s=2.0)
        assert shop.asked == list(IDS)
        assert stock.units.tolist() == [5, -2, 0]
        assert stock.tracked.tolist() == [True, True, False]
        assert stock.found.tolist() == [True, True, False]
        assert (stock.units.dtype, stock.found.dtype) == (np.int64, np.bool_)
        await system.close()

    with_shop(use)


def test_price_that_is_no_price_is_not_taken_for_a_product_that_is_gone() -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcPricing(address, currency="EUR")
        prices = await system.prices(IDS, timeout_s=2.0)
        assert prices.found.tolist() == [True, True, True]
        assert prices.price_minor.tolist() == [990, 0, -5]
        await system.close()

    with_shop(use)


def test_prices_in_another_currency_are_refused() -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcPricing(address, currency="GBP")
        with pytest.raises(DependencyUnavailable, match="'EUR', the shop sells in 'GBP'"):
            await system.prices(IDS, timeout_s=2.0)
        await system.close()

    with_shop(use)


def test_one_senseless_percentage_does_not_cost_the_others() -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcPromotions(address)
        for nonsense in (12.5, 101.0, -0.5, float("nan")):
            shop.promotions.percent_off[1] = nonsense
            discounts = await system.promotions(IDS, timeout_s=2.0)
            np.testing.assert_array_equal(discounts.percent_off, np.float32([0, nonsense, 100]))
        await system.close()

    with_shop(use)


def test_answer_that_is_not_aligned_is_refused_whole() -> None:
    async def use(shop: Shop, address: str) -> None:
        inventory, pricing = GrpcInventory(address), GrpcPricing(address, currency="EUR")
        promotions = GrpcPromotions(address)
        del shop.stock.tracked[-1]
        shop.prices.found.append(True)
        del shop.promotions.percent_off[:]
        with pytest.raises(DependencyUnavailable, match="asked for 3 products, tracked has 2"):
            await inventory.stock(IDS, timeout_s=2.0)
        with pytest.raises(DependencyUnavailable, match="asked for 3 products, found has 4"):
            await pricing.prices(IDS, timeout_s=2.0)
        with pytest.raises(DependencyUnavailable, match="asked for 3 products, percent_off has 0"):
            await promotions.promotions(IDS, timeout_s=2.0)
        for system in (inventory, pricing, promotions):
            await system.close()

    with_shop(use)


def test_silence_is_a_timeout_and_absence_is_not() -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcInventory(address)
        await system.stock(IDS, timeout_s=2.0)
        shop.hangs = True
        with pytest.raises(DependencyTimeout, match="stock: no answer within 30 ms"):
            await system.stock(IDS, timeout_s=0.03)
        await system.close()
        nobody = GrpcInventory(f"127.0.0.1:{free_port()}")
        with pytest.raises(DependencyUnavailable, match="stock"):
            await nobody.stock(IDS, timeout_s=2.0)
        await nobody.close()

    with_shop(use)


def test_asking_for_nothing_is_answered() -> None:
    async def use(shop: Shop, address: str) -> None:
        shop.promotions = pb.PromotionsResponse()
        system = GrpcPromotions(address)
        assert (await system.promotions((), timeout_s=2.0)).percent_off.size == 0
        await system.close()

    with_shop(use)


def test_costs_and_supply_are_passed_on_as_they_came() -> None:
    async def use(shop: Shop, address: str) -> None:
        costs = GrpcCosts(address, currency="EUR")
        cost = await costs.costs(IDS, timeout_s=2.0)
        assert cost.cost_minor.tolist() == [400, 0, -5]
        assert cost.found.tolist() == [True, False, True]
        supply = GrpcSupply(address)
        risks = await supply.supply_risks(IDS, timeout_s=2.0)
        np.testing.assert_array_equal(
            risks.backorder_risk, np.array([0.25, np.nan, np.inf], dtype=np.float32)
        )
        assert risks.days_to_restock.tolist() == [14.0, 0.0, -1.0]
        assert risks.found.tolist() == [True, False, True]
        await costs.close()
        await supply.close()

    with_shop(use)


def test_costs_in_another_currency_are_refused() -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcCosts(address, currency="GBP")
        with pytest.raises(DependencyUnavailable, match="cost: answers in 'EUR'"):
            await system.costs(IDS, timeout_s=2.0)
        await system.close()

    with_shop(use)


@pytest.mark.parametrize(
    "answered",
    [("desk", "chair", "lamp"), ("lamp", "chair", "stool"), ("lamp", "chair"), ()],
    ids=["swapped", "another product", "fewer", "no check"],
)
def test_answer_about_other_products_or_another_order_of_them_is_refused_whole(
    answered: tuple[str, ...],
) -> None:
    async def use(shop: Shop, address: str) -> None:
        shop.answers_about = answered
        inventory, pricing = GrpcInventory(address), GrpcPricing(address, currency="EUR")
        costs, supply = GrpcCosts(address, currency="EUR"), GrpcSupply(address)
        promotions = GrpcPromotions(address)
        for ask in (
            inventory.stock,
            pricing.prices,
            promotions.promotions,
            costs.costs,
            supply.supply_risks,
        ):
            with pytest.raises(DependencyUnavailable, match="ids_crc32"):
                await ask(IDS, timeout_s=2.0)
        for system in (inventory, pricing, promotions, costs, supply):
            await system.close()

    with_shop(use)


def test_packed_columns_say_the_same_as_the_others_and_count_before_them() -> None:
    async def use(shop: Shop, address: str) -> None:
        inventory, supply = GrpcInventory(address), GrpcSupply(address)
        shop.stock = pb.StockResponse(
            stock=[1],
            packed_stock=struct.pack("<3q", 5, -2, 2**62),
            packed_tracked=bytes([1, 1, 0]),
            found=[True, False, True],
        )
        stock = await inventory.stock(IDS, timeout_s=2.0)
        assert stock.units.tolist() == [5, -2, 2**62]
        assert stock.tracked.tolist() == [True, True, False]
        assert stock.found.tolist() == [True, False, True]
        shop.supply = pb.SupplyResponse(
            packed_backorder_risk=struct.pack("<3f", 0.5, 0.25, 1.0),
            packed_days_to_restock=struct.pack("<3f", 1.0, 2.0, 3.0),
            packed_found=bytes([1, 0, 2]),
        )
        risks = await supply.supply_risks(IDS, timeout_s=2.0)
        assert risks.backorder_risk.tolist() == [0.5, 0.25, 1.0]
        assert risks.found.tolist() == [True, False, True]
        await inventory.close()
        await supply.close()

    with_shop(use)


@pytest.mark.parametrize("size", [16, 23, 32])
def test_packed_column_of_another_length_is_refused_whole(size: int) -> None:
    async def use(shop: Shop, address: str) -> None:
        system = GrpcPricing(address, currency="EUR")
        shop.prices.packed_price_minor = bytes(size)
        with pytest.raises(DependencyUnavailable, match="asked for 3 products, price_minor has"):
            await system.prices(IDS, timeout_s=2.0)
        await system.close()

    with_shop(use)


def test_the_check_is_the_one_that_the_proto_describes() -> None:
    assert ids_crc32(["123", "456", "789"]) == zlib.crc32(b"123\n456\n789")
    assert ids_crc32(["stühle"]) == zlib.crc32("stühle".encode())
    assert ids_crc32(["lamp", "chair"]) != ids_crc32(["chair", "lamp"])
