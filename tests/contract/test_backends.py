"""The simulated back-end systems, asked through real channels: right answers, and every fault."""

import asyncio
import json
import math
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.proto import business_pb2 as pb
from serving.proto import business_pb2_grpc as rpc
from shop.errors import DataRejected, DependencyUnavailable
from shop.question import ids_crc32
from simulator.backends import Backends, open_stock_room
from simulator.campaigns import percent_off, product_keys
from simulator.faults import CONTEXT_FEEDS, FEEDS, SYSTEMS
from simulator.stockroom import StockRoom
from simulator.supply import UNITS_PER_DAY
from simulator.tables import products_table
from simulator.world import WorldSettings, build_world

ROOT = Path(__file__).resolve().parents[2]
NOON_MS = 1_780_000_000_000
IDS = ["P000001", "nobody", "P000003"]
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A products table of a small world whose third product is not tracked."""
    folder = tmp_path_factory.mktemp("shop")
    settings = WorldSettings(product_count=300, shopper_count=50, days=2, sessions_per_shopper=1.0)
    table = products_table(build_world(settings).products)
    stock = table["stock"].to_pylist()
    stock[2] = None
    at = table.column_names.index("stock")
    table = table.set_column(at, "stock", pa.array(stock, pa.int64()))
    pq.write_table(table, folder / "products.parquet")
    (folder / "manifest.json").write_text('{"currency": "EUR"}')
    return folder / "products.parquet"


def against(products: Path, check: Callable[["Shop"], Awaitable[None]], **ports: int) -> None:
    """Run the systems, and a check against them."""

    async def run() -> None:
        room = open_stock_room(products, currency=None, seed=7)
        async with Backends(room, dict(ports), clock=lambda: NOON_MS) as backends:
            await asyncio.wait_for(check(Shop(backends.ports)), DEADLINE_S)

    asyncio.run(run())


class Shop:
    """A client of all the systems; each call has a channel of its own, so none is left open."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports

    async def stock(self, ids: list[str] = IDS, timeout_s: float = 5.0) -> pb.StockResponse:
        async with self._channel("inventory") as channel:
            return await rpc.InventoryStub(channel).GetStock(_asked(ids), timeout=timeout_s)

    async def prices(self, ids: list[str] = IDS) -> pb.PricesResponse:
        async with self._channel("pricing") as channel:
            return await rpc.PricingStub(channel).GetPrices(_asked(ids), timeout=5.0)

    async def promotions(self, ids: list[str] = IDS) -> pb.PromotionsResponse:
        async with self._channel("promotions") as channel:
            return await rpc.PromotionsStub(channel).GetPromotions(_asked(ids), timeout=5.0)

    async def costs(self, ids: list[str] = IDS) -> pb.CostsResponse:
        async with self._channel("costs") as channel:
            return await rpc.CostsStub(channel).GetCosts(_asked(ids), timeout=5.0)

    async def supply(self, ids: list[str] = IDS) -> pb.SupplyResponse:
        async with self._channel("supply") as channel:
            return await rpc.SupplyStub(channel).GetSupply(_asked(ids), timeout=5.0)

    async def ail(self, system: str, **faults: float) -> None:
        async with self._channel("control") as channel:
            settings = pb.FaultSettings(system=system, **faults)
            await rpc.FaultsStub(channel).SetFaults(settings, timeout=5.0)

    async def faults(self, system: str) -> pb.FaultSettings:
        async with self._channel("control") as channel:
            asked = pb.GetFaultsRequest(system=system)
            return await rpc.FaultsStub(channel).GetFaults(asked, timeout=5.0)

    async def set_stock(self, ids: list[str], stock: list[int]) -> list[str]:
        async with self._channel("control") as channel:
            request = pb.SetStockRequest(product_ids=ids, stock=stock)
            answer = await rpc.StockRoomStub(channel).SetStock(request, timeout=5.0)
            return list(answer.unknown_product_ids)

    async def set_prices(self, ids: list[str], price_minor: list[int]) -> list[str]:
        async with self._channel("control") as channel:
            request = pb.SetPricesRequest(product_ids=ids, price_minor=price_minor)
            answer = await rpc.StockRoomStub(channel).SetPrices(request, timeout=5.0)
            return list(answer.unknown_product_ids)

    def _channel(self, system: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[system]}")


def numbers(packed: bytes, kind: str = "<i8") -> list[float]:
    """What a packed column says."""
    return np.frombuffer(packed, kind).tolist()


def yes_and_no(packed: bytes) -> list[bool]:
    """What a packed column of bytes says."""
    return [byte != 0 for byte in packed]


def _asked(ids: list[str]) -> pb.ProductsRequest:
    return pb.ProductsRequest(product_ids=ids)


async def status_of(call: Coroutine[None, None, object]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_answers_are_those_of_the_products_table(products: Path) -> None:
    table = pq.read_table(products)

    async def check(shop: Shop) -> None:
        stock, prices = await shop.stock(), await shop.prices()
        assert yes_and_no(stock.packed_found) == [True, False, True]
        assert yes_and_no(stock.packed_tracked) == [True, False, False]
        assert numbers(stock.packed_stock)[0] == table["stock"][0].as_py()
        assert yes_and_no(prices.packed_found) == [True, False, True]
        assert numbers(prices.packed_price_minor)[2] == table["price_minor"][2].as_py()
        assert prices.currency == "EUR"
        costs, supply = await shop.costs(), await shop.supply()
        assert yes_and_no(costs.packed_found) == [True, False, True]
        assert numbers(costs.packed_cost_minor)[0] == table["cost_minor"][0].as_py()
        assert yes_and_no(supply.packed_found) == [True, False, True]
        days = numbers(supply.packed_days_to_restock, "<f4")
        assert days[0] == table["supply_days"][0].as_py()
        for answer in (stock, prices, costs, supply):
            assert answer.ids_crc32 == ids_crc32(IDS)

    against(products, check)


def test_promotions_are_the_campaigns_of_id_and_time(products: Path) -> None:
    ids = pq.read_table(products)["product_id"].to_pylist()

    async def check(shop: Shop) -> None:
        answer = await shop.promotions([*ids, "nobody"])
        true = percent_off(product_keys(ids), NOON_MS, seed=7).tolist()
        percents = numbers(answer.packed_percent_off, "<f4")
        assert percents == [*true, 0.0]
        assert 0.02 < sum(percent > 0 for percent in true) / len(true) < 0.2
        for percent, campaign in zip(percents, answer.campaign, strict=True):
            assert (percent > 0) == (campaign != "")

    against(products, check)


def test_back_order_risk_follows_stock_and_the_days_until_more_comes(products: Path) -> None:
    table = pq.read_table(products)
    ids, days = (table[name].to_pylist() for name in ("product_id", "supply_days"))

    async def check(shop: Shop) -> None:
        units = [0, 0, 5, *[3] * (len(ids) - 3)]
        await shop.set_stock(ids, units)
        answer = await shop.supply(ids)
        risks = numbers(answer.packed_backorder_risk, "<f4")
        assert all(yes_and_no(answer.packed_found))
        assert risks[:2] == [1.0, 1.0]  # who orders what is gone has to wait
        draws = np.random.default_rng(1).poisson(UNITS_PER_DAY * np.array(days), (20_000, len(ids)))
        np.testing.assert_allclose(risks, (draws >= units).mean(axis=0), atol=0.02)

    against(products, check)


def test_what_is_not_counted_never_runs_out_and_an_unknown_supply_is_not_found(
    products: Path, tmp_path: Path
) -> None:
    table = pq.read_table(products)
    days = [None, *table["supply_days"].to_pylist()[1:]]
    at = table.column_names.index("supply_days")
    pq.write_table(
        table.set_column(at, "supply_days", pa.array(days, pa.int32())),
        tmp_path / "products.parquet",
    )
    (tmp_path / "manifest.json").write_text('{"currency": "EUR"}')

    async def check(shop: Shop) -> None:
        answer = await shop.supply()
        assert yes_and_no(answer.packed_found) == [False, False, True]
        assert numbers(answer.packed_backorder_risk, "<f4")[2] == 0.0  # the third is not tracked

    against(tmp_path / "products.parquet", check)


def test_no_products_get_an_empty_answer(products: Path) -> None:
    async def check(shop: Shop) -> None:
        assert (await shop.stock([])).packed_stock == b""
        assert (await shop.promotions([])).packed_percent_off == b""

    against(products, check)


def test_added_latency_is_waited_for(products: Path) -> None:
    async def check(shop: Shop) -> None:
        await shop.ail("inventory", latency_ms=80, jitter_ms=10)
        started = time.perf_counter()
        await shop.stock()
        assert time.perf_counter() - started >= 0.08

    against(products, check)


def test_an_error_rate_of_one_fails_every_call_of_that_system_only(products: Path) -> None:
    async def check(shop: Shop) -> None:
        await shop.ail("pricing", error_rate=1.0)
        assert await status_of(shop.prices()) == grpc.StatusCode.UNAVAILABLE
        assert await status_of(shop.stock()) == grpc.StatusCode.OK
        await shop.ail("pricing")
        assert await status_of(shop.prices()) == grpc.StatusCode.OK

    against(products, check)


def test_an_error_rate_between_fails_some_calls(products: Path) -> None:
    async def check(shop: Shop) -> None:
        await shop.ail("inventory", error_rate=0.5)
        seen = {await status_of(shop.stock()) for _ in range(40)}
        assert seen == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}

    against(products, check)


def test_a_stalled_system_never_answers(products: Path) -> None:
    async def check(shop: Shop) -> None:
        await shop.ail("inventory", stall=True)
        status = await status_of(shop.stock(timeout_s=0.2))
        assert status == grpc.StatusCode.DEADLINE_EXCEEDED
        await shop.ail("inventory")
        assert await status_of(shop.stock()) == grpc.StatusCode.OK

    against(products, check)


def test_a_dead_system_s_port_is_closed_and_comes_back_the_same(products: Path) -> None:
    async def check(shop: Shop) -> None:
        await shop.ail("pricing", dead=True)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", shop.ports["pricing"])
        assert await status_of(shop.prices()) == grpc.StatusCode.UNAVAILABLE
        await shop.ail("pricing")
        assert await status_of(shop.prices()) == grpc.StatusCode.OK

    against(products, check)


def test_wrong_values_are_absurd_short_or_swapped_as_told(products: Path) -> None:
    ids = [f"P{row:06d}" for row in range(1, 101)]

    async def check(shop: Shop) -> None:
        right = numbers((await shop.prices(ids)).packed_price_minor)
        await shop.ail("pricing", wrong_values=pb.WRONG_VALUES_SWAPPED)
        swapped = await shop.prices(ids)
        assert numbers(swapped.packed_price_minor) == right[::-1]
        assert swapped.ids_crc32 == ids_crc32(ids[::-1])
        await shop.ail("pricing", wrong_values=pb.WRONG_VALUES_SHORT)
        assert numbers((await shop.prices(ids)).packed_price_minor) == right[:-1]
        for system in ("inventory", "promotions", "costs", "supply"):
            await shop.ail(system, wrong_values=pb.WRONG_VALUES_ABSURD)
        assert set(numbers((await shop.stock(ids)).packed_stock)) == {-5}
        assert set(numbers((await shop.costs(ids)).packed_cost_minor)) == {-5}
        percents = numbers((await shop.promotions(ids)).packed_percent_off, "<f4")
        assert all(percent != percent for percent in percents)
        risks = numbers((await shop.supply(ids)).packed_backorder_risk, "<f4")
        assert all(risk != risk for risk in risks)

    against(products, check)


def test_wrong_values_are_no_numbers_negative_or_another_s_as_told(products: Path) -> None:
    ids = [f"P{row:06d}" for row in range(1, 101)]

    async def check(shop: Shop) -> None:
        right = numbers((await shop.prices(ids)).packed_price_minor)
        await shop.ail("pricing", wrong_values=pb.WRONG_VALUES_MISREAD)
        misread = await shop.prices(ids)
        assert numbers(misread.packed_price_minor) == right[::-1]
        assert misread.ids_crc32 == ids_crc32(ids)  # which is why nobody can tell
        for kind, whole, share in (
            (pb.WRONG_VALUES_NAN, -(2**63), math.nan),
            (pb.WRONG_VALUES_NEGATIVE, -5, -5.0),
        ):
            for system in ("pricing", "inventory", "promotions", "costs", "supply"):
                await shop.ail(system, wrong_values=kind)
            for raw in (
                (await shop.prices(ids)).packed_price_minor,
                (await shop.stock(ids)).packed_stock,
                (await shop.costs(ids)).packed_cost_minor,
            ):
                assert numbers(raw) == [whole] * len(ids)
            for raw in (
                (await shop.promotions(ids)).packed_percent_off,
                (await shop.supply(ids)).packed_backorder_risk,
            ):
                np.testing.assert_equal(np.array(numbers(raw, "<f4")), np.full(len(ids), share))

    against(products, check)


def test_faults_can_be_read_back(products: Path) -> None:
    async def check(shop: Shop) -> None:
        await shop.ail("promotions", latency_ms=3.0)
        now = await shop.faults("promotions")
        assert (now.system, now.latency_ms, now.stall) == ("promotions", 3.0, False)
        assert (await shop.faults("inventory")).latency_ms == 0.0

    against(products, check)


def test_faults_that_mean_nothing_are_refused(products: Path) -> None:
    async def check(shop: Shop) -> None:
        for system, faults in (
            ("plumbing", {}),
            ("pricing", {"error_rate": 1.5}),
            ("pricing", {"latency_ms": -1.0}),
            ("pricing", {"wrong_values": 99}),
        ):
            status = await status_of(shop.ail(system, **faults))
            assert status == grpc.StatusCode.INVALID_ARGUMENT, (system, faults)
        assert await status_of(shop.faults("plumbing")) == grpc.StatusCode.INVALID_ARGUMENT

    against(products, check)


def test_stock_and_prices_can_be_changed(products: Path) -> None:
    async def check(shop: Shop) -> None:
        assert await shop.set_stock(["P000003", "nobody"], [0, 5]) == ["nobody"]
        assert await shop.set_prices(["P000001"], [1_234]) == []
        stock, prices = await shop.stock(), await shop.prices()
        assert (numbers(stock.packed_stock)[2], stock.packed_tracked[2]) == (0, True)
        assert numbers(prices.packed_price_minor)[0] == 1_234
        status = await status_of(shop.set_prices(["P000001"], []))
        assert status == grpc.StatusCode.INVALID_ARGUMENT

    against(products, check)


def test_a_port_that_is_taken_is_said_so(products: Path) -> None:
    async def check(shop: Shop) -> None:
        room = open_stock_room(products, currency=None, seed=7)
        with pytest.raises(DependencyUnavailable, match="pricing: cannot listen"):
            async with Backends(room, {"pricing": shop.ports["inventory"]}):
                pass

    against(products, check)


def test_a_process_that_finds_a_port_taken_says_that_and_nothing_else(products: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--products", str(products), "--calendar-port", str(port))
        ran = subprocess.run(
            [sys.executable, "-m", "simulator.backends", *words],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert ran.returncode == 1
    ours = [line for line in ran.stderr.splitlines() if "add_port.cc" not in line]  # gRPC's own
    assert ours == [f"calendar: cannot listen on 127.0.0.1:{port}"]


def test_a_table_without_prices_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"product_id": ["a"]}), tmp_path / "products.parquet")
    with pytest.raises(DataRejected, match="price_minor"):
        StockRoom.from_products(tmp_path / "products.parquet", currency="EUR", seed=7)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="no products table"):
        StockRoom.from_products(tmp_path / "products.parquet", currency="EUR", seed=7)


def test_a_currency_that_nothing_tells_must_be_named(products: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "products.parquet"
    lonely.write_bytes(products.read_bytes())
    with pytest.raises(DataRejected, match="--currency"):
        open_stock_room(lonely, currency=None, seed=7)
    assert open_stock_room(lonely, currency="GBP", seed=7).currency == "GBP"


def command(products: Path, ports_file: Path) -> list[str]:
    name = [sys.executable, "-m", "simulator.backends"]
    return [*name, "--products", str(products), "--ports-file", str(ports_file)]


def test_the_command_tells_its_ports_and_ends_on_sigterm(products: Path, tmp_path: Path) -> None:
    ports_file = tmp_path / "run" / "ports.json"
    with subprocess.Popen(
        command(products, ports_file), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            assert json.loads(ports_file.read_text()) == ports
            assert set(ports) == {*SYSTEMS, *FEEDS, *CONTEXT_FEEDS, "control"}
            assert asyncio.run(status_of(Shop(ports).stock())) == grpc.StatusCode.OK
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_the_command_ends_with_a_parent_that_is_killed(products: Path, tmp_path: Path) -> None:
    ports_file = tmp_path / "ports.json"
    parent_code = (
        "import subprocess, sys; child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr);"
        " print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_code, *command(products, ports_file), "--die-with-parent"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            wait_until(ports_file.exists)
        finally:
            parent.kill()
        wait_until(lambda: has_ended(child))


def wait_until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.01)


def has_ended(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rsplit(")", 1)[1].split()[0] == "Z"  # dead, waiting to be collected
