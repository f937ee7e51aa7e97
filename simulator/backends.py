"""Back-ends: the shop's own systems, and the feeds of its surroundings, as real gRPC servers.

    python -m simulator.backends --products DIR/products.parquet --ports-file ports.json

Each system on a port of its own and their switches (faults, stock, prices) on another, one process,
loopback only. Each system can be made slow, flaky, silent, wrong or dead while it runs. What they
answer is in `simulator.systems`, `simulator.feeds` and `simulator.context_feeds`, what the faults
mean in `simulator.faults`.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import grpc
import numpy as np

from serving.proto import business_pb2 as pb
from serving.proto import business_pb2_grpc as rpc
from serving.proto import feeds_pb2_grpc as feeds_rpc
from shop.errors import DataRejected, DependencyUnavailable
from simulator.context_feeds import Outside, add_context_feed
from simulator.faults import CONTEXT_FEEDS, FEEDS, SYSTEMS, Ailment, checked_faults
from simulator.feeds import MarketSwitch, World, add_feed
from simulator.forecast import Forecast, no_forecast
from simulator.market import Market
from simulator.process import die_with_parent, tell_ports, until_told_to_end
from simulator.sales_log import forecast_beside
from simulator.settings import WorldSettings
from simulator.stockroom import StockRoom
from simulator.systems import Clock, add_system
from simulator.trends import search_terms_of

_NAMES = (*SYSTEMS, *FEEDS, *CONTEXT_FEEDS, "control")

# A second process on the same port must fail to start, not share the calls.
_SERVER_OPTIONS = (("grpc.so_reuseport", 0),)


def wall_clock_ms() -> int:
    """Unix milliseconds of this machine."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Backends:
    """The systems and their switches. `async with Backends(room) as backends: …`

    Ports of 0 are chosen free; `ports` tells which, by system name and "control". Start raises
    DependencyUnavailable if a wished port is taken.
    """

    room: StockRoom
    ports: dict[str, int] = field(default_factory=dict)
    clock: Clock = wall_clock_ms
    seed: int = 0  # of the faults' chance
    make_forecast: Callable[[], Forecast] | None = None  # None: nothing is known of demand
    search_terms: tuple[str, ...] = ()  # what people may look for
    host: str = "127.0.0.1"  # who may ask; 0.0.0.0 in a cluster's own network
    world: World = field(init=False)
    outside: Outside = field(init=False)
    _forecasting: asyncio.Task[None] = field(init=False)
    _ailments: dict[str, Ailment] = field(init=False)
    _servers: dict[str, grpc.aio.Server] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._ailments = {
            system: Ailment(np.random.default_rng([self.seed, at]))
            for at, system in enumerate((*SYSTEMS, *FEEDS, *CONTEXT_FEEDS))
        }
        self.outside = Outside(self.clock, self.room.seed, self.search_terms)
        self.world = World(Market(self.room), self.clock)

    async def __aenter__(self) -> "Backends":
        try:
            for name in _NAMES:
                await self._open(name)
        except DependencyUnavailable:
            await self._close_all()
            raise
        make = self.make_forecast or (lambda: no_forecast(self.room.price_minor.size))
        self._forecasting = asyncio.create_task(self.world.make_forecast(make))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forecasting.cancel()
        await asyncio.gather(self._forecasting, return_exceptions=True)
        await self._close_all()

    def faults(self, system: str) -> pb.FaultSettings:
        """What ails the system now. Raises ValueError for a name that is no system."""
        if system not in self._ailments:
            raise ValueError(f"system {system!r}: must be one of {', '.join(self._ailments)}")
        return self._ailments[system].settings_of(system)

    async def set_faults(self, faults: pb.FaultSettings) -> None:
        """Let a system ail from now on. Raises ValueError where a setting means nothing."""
        ailment = self._ailments[checked_faults(faults).system]
        ailment.settings = faults
        if faults.dead:
            await self._close(faults.system)
        elif faults.system not in self._servers:
            await self._open(faults.system)

    async def _open(self, name: str) -> None:
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        self._add_services(name, server)
        wished = self.ports.get(name, 0)
        try:
            self.ports[name] = server.add_insecure_port(f"{self.host}:{wished}")
        except RuntimeError as error:
            await server.stop(grace=None)
            raise DependencyUnavailable(name, f"cannot listen on {self.host}:{wished}") from error
        await server.start()
        self._servers[name] = server

    async def _close_all(self) -> None:
        for name in list(self._servers):
            await self._close(name)

    async def _close(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            await server.stop(grace=None)

    def _add_services(self, name: str, server: grpc.aio.Server) -> None:
        if name in SYSTEMS:
            add_system(name, server, self.room, self._ailments[name], self.clock)
        elif name in FEEDS:
            add_feed(name, server, self.world, self._ailments[name])
        elif name in CONTEXT_FEEDS:
            add_context_feed(name, server, self.outside, self._ailments[name])
        else:
            feeds_rpc.add_MarketRoomServicer_to_server(MarketSwitch(self.world), server)
            switches = Switches(self)
            rpc.add_FaultsServicer_to_server(switches, server)
            rpc.add_StockRoomServicer_to_server(switches, server)


class Switches(rpc.FaultsServicer, rpc.StockRoomServicer):
    """Changes faults, stock and prices while the systems run."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    async def SetFaults(
        self, request: pb.FaultSettings, context: grpc.aio.ServicerContext
    ) -> pb.FaultSettings:
        try:
            await self._backends.set_faults(request)
        except ValueError as error:
            await _refuse(context, error)
        except DependencyUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return request

    async def GetFaults(
        self, request: pb.GetFaultsRequest, context: grpc.aio.ServicerContext
    ) -> pb.FaultSettings:
        try:
            return self._backends.faults(request.system)
        except ValueError as error:
            await _refuse(context, error)

    async def SetStock(
        self, request: pb.SetStockRequest, context: grpc.aio.ServicerContext
    ) -> pb.SetStockResponse:
        try:
            unknown = self._backends.room.set_stock(request.product_ids, request.stock)
        except ValueError as error:
            await _refuse(context, error)
        return pb.SetStockResponse(unknown_product_ids=unknown)

    async def SetPrices(
        self, request: pb.SetPricesRequest, context: grpc.aio.ServicerContext
    ) -> pb.SetPricesResponse:
        backends = self._backends
        try:
            backends.world.market.note_changes(request.product_ids, backends.clock())
            unknown = backends.room.set_prices(request.product_ids, request.price_minor)
        except ValueError as error:
            await _refuse(context, error)
        return pb.SetPricesResponse(unknown_product_ids=unknown)


async def _refuse(context: grpc.aio.ServicerContext, error: ValueError) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    raise AssertionError("abort does not return")  # for the type checker


def open_stock_room(products: Path, *, currency: str | None, seed: int) -> StockRoom:
    """The stock room of a products table; the currency is looked up beside it unless given.

    Raises DataRejected if the table cannot be used or nothing tells its currency.
    """
    if currency is None:
        currency = _currency_beside(products)
    return StockRoom.from_products(products, currency=currency, seed=seed)


def _currency_beside(products: Path) -> str:
    for name in ("manifest.json", "world.json"):  # a snapshot's or a world's
        try:
            return str(json.loads((products.parent / name).read_text())["currency"])
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise DataRejected(f"{products.parent / name} names no currency: {error}") from error
    raise DataRejected(f"nothing beside {products} tells the currency; name it with --currency")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.backends",
        description="The shop's own systems and feeds, until SIGTERM.",
    )
    parser.add_argument("--products", type=Path, required=True, help="products.parquet")
    parser.add_argument("--ports-file", type=Path, help="where to write the ports as JSON")
    for name in _NAMES:
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0 = any free one")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (the loopback)")
    parser.add_argument("--currency", help="ISO 4217; default: what lies beside the products")
    parser.add_argument(
        "--seed", type=int, default=WorldSettings().seed, help="of campaigns and faults"
    )
    parser.add_argument(
        "--die-with-parent", action="store_true", help="end when the starting process ends"
    )
    return parser


async def _serve(
    room: StockRoom, ports: dict[str, int], ports_file: Path | None, products: Path, host: str
) -> None:
    forecast = partial(_forecast_or_none, products, room)
    terms = search_terms_of(products)
    async with Backends(
        room, ports, seed=room.seed, make_forecast=forecast, search_terms=terms, host=host
    ) as backends:
        tell_ports(backends.ports, ports_file)
        await until_told_to_end()


def _forecast_or_none(products: Path, room: StockRoom) -> Forecast:
    """Without a readable log the other systems still answer, and nothing is known of demand."""
    try:
        return forecast_beside(products, room.row_of)
    except DataRejected as error:
        sys.stderr.write(f"no demand forecast: {error}\n")
        return no_forecast(room.price_minor.size)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    if chosen.die_with_parent:
        die_with_parent()
    ports = {name: getattr(chosen, f"{name}_port") for name in _NAMES}
    try:
        room = open_stock_room(chosen.products, currency=chosen.currency, seed=chosen.seed)
        asyncio.run(_serve(room, ports, chosen.ports_file, chosen.products, chosen.host))
    except (DataRejected, DependencyUnavailable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
