"""A running service follows CURRENT to the next release, and only to one that is whole and good."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import grpc.aio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from serving.adapters.release_files import CURRENT
from serving.proto import business_pb2 as pb
from serving.proto import business_pb2_grpc as rpc
from serving.service import Service, open_service
from serving.settings import BusinessSettings, Settings, TritonSettings
from serving.stack.ports import free_port
from shop.errors import NotFound, ReleaseRejected
from shop.release import HISTORIES_FILE, INDEX_FILE, VECTORS_FILE
from tests.contract.small_release import KEY, a_release, sign
from tests.contract.test_triton_adapter import Twin
from tests.unit.small_shop import an_ask

LOOK_S = 15.0


class Shop(rpc.InventoryServicer, rpc.PricingServicer, rpc.PromotionsServicer):
    """Has plenty of everything, at 12.00."""

    async def GetStock(self, request: pb.ProductsRequest, context: Any) -> pb.StockResponse:
        count = len(request.product_ids)
        return pb.StockResponse(stock=[9] * count, tracked=[True] * count, found=[True] * count)

    async def GetPrices(self, request: pb.ProductsRequest, context: Any) -> pb.PricesResponse:
        count = len(request.product_ids)
        return pb.PricesResponse(price_minor=[1_200] * count, found=[True] * count, currency="EUR")

    async def GetPromotions(
        self, request: pb.ProductsRequest, context: Any
    ) -> pb.PromotionsResponse:
        count = len(request.product_ids)
        return pb.PromotionsResponse(percent_off=[0.0] * count, campaign=[""] * count)


class PickyTriton(Twin):
    """Serves some versions only."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = {"1", "2"}

    async def infer(self, request: web.Request) -> web.Response:
        if request.match_info["version"] not in self.versions:
            return web.json_response({"error": "no such version"}, status=404)
        return await super().infer(request)


def a_whole_release(root: Path, version: int) -> Path:
    folder, manifest = a_release(root / "releases", version=version, seed=version)
    vectors = np.load(folder / VECTORS_FILE)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / INDEX_FILE))
    lists: dict[str, Any] = {"product_ids": ["p1"], "event_codes": [2], "times_ms": [1]}
    shopper = {"user_id": f"of-{version}", "segment": "", "country": "", "device": ""}
    row = shopper | lists | {"session_ids": ["s"]}
    pq.write_table(pa.Table.from_pylist([row]), folder / HISTORIES_FILE)
    sign(folder, manifest.release, version)
    return folder


def make_current(root: Path, release: str) -> None:
    (root / "releases" / CURRENT).write_text(f"{release}\n")


@asynccontextmanager
async def running(root: Path) -> AsyncIterator[tuple[Service, PickyTriton]]:
    server, triton, port = grpc.aio.server(), PickyTriton(), free_port()
    triton_port = free_port()
    shop = Shop()
    for add in (
        rpc.add_InventoryServicer_to_server,
        rpc.add_PricingServicer_to_server,
        rpc.add_PromotionsServicer_to_server,
    ):
        add(shop, server)
    address = f"127.0.0.1:{port}"
    server.add_insecure_port(address)
    await server.start()
    keys = root / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "release.key").write_text(KEY.hex())
    (keys / "release.key").chmod(0o600)
    settings = Settings(
        state_dir=root,
        triton=TritonSettings(f"127.0.0.1:{triton_port}"),
        business=BusinessSettings(address, address, address),
    )
    try:
        async with triton.listening(triton_port), open_service(settings) as service:
            await service.warm_up()
            yield service, triton
    finally:
        await server.stop(None)


def run(root: Path, use: Callable[[Service, PickyTriton], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with running(root) as (service, triton):
            await use(service, triton)

    asyncio.run(inside())


async def release_of_a_list(service: Service) -> str:
    answer = await service.recommend(an_ask(), start_s=time.monotonic(), total_s=5.0)
    assert len(answer.slate) == 10
    return answer.release


def test_the_next_release_takes_over_whole_and_the_one_before_still_answers(
    tmp_path: Path,
) -> None:
    first, second = (a_whole_release(tmp_path, version).name for version in (1, 2))
    make_current(tmp_path, first)

    async def use(service: Service, triton: PickyTriton) -> None:
        assert await release_of_a_list(service) == first
        following = asyncio.create_task(service.of_next_release())
        make_current(tmp_path, second)
        successor = await asyncio.wait_for(following, LOOK_S)
        assert await release_of_a_list(successor) == second
        assert await release_of_a_list(service) == first  # for a call that began before
        assert await successor.deps.histories.of("of-1", timeout_s=1.0) is not None
        back = asyncio.create_task(successor.of_next_release())
        make_current(tmp_path, first)
        again = await asyncio.wait_for(back, LOOK_S)
        assert await release_of_a_list(again) == first

    run(tmp_path, use)


def test_a_damaged_release_never_takes_over(tmp_path: Path) -> None:
    first, second, third = (a_whole_release(tmp_path, version) for version in (1, 2, 3))
    make_current(tmp_path, first.name)
    raw = bytearray((second / "ranker.onnx").read_bytes())
    raw[100] ^= 1
    (second / "ranker.onnx").write_bytes(raw)

    async def use(service: Service, triton: PickyTriton) -> None:
        triton.versions.add("3")
        following = asyncio.create_task(service.of_next_release())
        make_current(tmp_path, second.name)
        done, _ = await asyncio.wait([following], timeout=3.0)
        assert not done
        make_current(tmp_path, third.name)
        successor = await asyncio.wait_for(following, LOOK_S)
        assert await release_of_a_list(successor) == third.name

    run(tmp_path, use)


def test_a_release_that_triton_does_not_serve_never_takes_over(tmp_path: Path) -> None:
    first, second, third = (a_whole_release(tmp_path, version).name for version in (1, 2, 3))
    make_current(tmp_path, first)

    async def use(service: Service, triton: PickyTriton) -> None:
        impatient = replace(service, succeed_within_s=1.0)
        following = asyncio.create_task(impatient.of_next_release())
        make_current(tmp_path, third)
        done, _ = await asyncio.wait([following], timeout=4.0)
        assert not done
        make_current(tmp_path, second)
        successor = await asyncio.wait_for(following, LOOK_S)
        assert await release_of_a_list(successor) == second

    run(tmp_path, use)


def test_service_does_not_open_without_a_release_that_can_be_served(tmp_path: Path) -> None:
    async def use(service: Service, triton: PickyTriton) -> None:
        raise AssertionError("it opened")

    with pytest.raises(NotFound):
        run(tmp_path, use)
    folder = a_whole_release(tmp_path, 1)
    make_current(tmp_path, folder.name)
    (folder / INDEX_FILE).write_bytes(b"")
    with pytest.raises(ReleaseRejected):
        run(tmp_path, use)
