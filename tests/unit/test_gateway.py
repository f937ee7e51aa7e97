"""The gateway's methods, called as Ray Serve calls them, with twins behind and a bare context."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from serving.adapters.memory import MemoryEventStore
from serving.gateway import Gateway
from serving.health import THIS_PROCESS
from serving.proto import recommendations_pb2 as pb
from serving.service import Service
from serving.settings import DoorSettings
from serving.telemetry import Telemetry
from serving.turns import Turns
from shop.errors import Overloaded
from tests.unit.small_shop import SmallShop, a_shop

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Context:
    """What of a gRPC context the gateway uses."""

    metadata: dict[str, str] = field(default_factory=dict)
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    trailers: list[tuple[str, bytes]] = field(default_factory=list)

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return list(self.metadata.items())

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailers: list[tuple[str, bytes]]) -> None:
        self.trailers = trailers


class _Gateway(Gateway):
    def __del__(self) -> None:  # type: ignore[override]  # nobody awaits it here
        pass


def with_gateway(
    use: Callable[[Gateway], Awaitable[None]],
    *,
    shop: SmallShop | None = None,
    is_sound: Callable[[], bool] = lambda: True,
) -> None:
    shop = shop or a_shop()
    deps = replace(shop.deps, clock=time.monotonic)
    store = MemoryEventStore(histories=shop.histories)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        yield Service(deps, store, bytes(32), Telemetry(), is_sound=is_sound)

    async def run() -> None:
        gateway = _Gateway.__new__(_Gateway)
        await gateway.__init__(opened, DoorSettings())  # type: ignore[misc]  # as Serve does
        warming: Any = gateway._warming
        await asyncio.wait([warming], timeout=5.0)
        await use(gateway)
        await Gateway.__del__(gateway)

    asyncio.run(run())


async def health(gateway: Gateway) -> int:
    reply = await THIS_PROCESS.Check(health_pb2.HealthCheckRequest(), Context())
    return int(reply.status)


@pytest.mark.parametrize("value", ["0", "-5", "12.5", "600001", "9" * 5_000, "soon", ""])
def test_deadline_in_the_metadata_that_is_none_is_named(value: str) -> None:
    async def use(gateway: Gateway) -> None:
        context = Context({"vitrine-deadline-ms": value})
        await gateway.Recommend(pb.RecommendRequest(placement="home"), context)
        assert context.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "vitrine-deadline-ms" in context.details

    with_gateway(use)


def test_many_events_hold_up_nobody() -> None:
    async def use(gateway: Gateway) -> None:
        events = [
            pb.Event(idempotency_key=str(n), type="click", user_id="u1", product_id="p1")
            for n in range(1_000)
        ]
        logging = asyncio.create_task(
            gateway.LogEvents(pb.LogEventsRequest(events=events), Context())
        )
        turns = 0
        while not logging.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await logging).accepted == 1_000
        assert turns > 20  # a few would be enough if it had all been done in one go

    between_threads_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # a thread may keep the others waiting for 5 ms by default
    try:
        with_gateway(use)
    finally:
        sys.setswitchinterval(between_threads_s)


def test_health_is_serving_once_warm() -> None:
    async def use(gateway: Gateway) -> None:
        assert await health(gateway) == SERVING

    with_gateway(use)


def test_health_is_not_serving_when_warming_up_failed() -> None:
    async def use(gateway: Gateway) -> None:
        assert await health(gateway) == NOT_SERVING

    shop = a_shop()

    def broken(rows: Any, values: Any) -> Any:
        raise KeyError("a bug")

    shop.ranker.judge = broken
    with_gateway(use, shop=shop)


def test_health_is_not_serving_when_events_cannot_be_kept() -> None:
    async def use(gateway: Gateway) -> None:
        assert await health(gateway) == NOT_SERVING

    with_gateway(use, is_sound=lambda: False)


def test_batches_beyond_those_allowed_are_shed_until_one_ends_or_is_left() -> None:
    async def use(gateway: Gateway) -> None:
        requests = [pb.RecommendRequest(placement="home")] * 5
        many = pb.RecommendManyRequest(requests=requests)
        streams = [gateway.RecommendMany(many, Context()) for _ in range(DoorSettings().streams)]
        assert [(await anext(stream)).index for stream in streams] == [0] * len(streams)
        shed = Context()
        assert [each async for each in gateway.RecommendMany(many, shed)] == []
        assert shed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await streams[0].aclose()  # the client went away
        assert [each.index async for each in streams[1]] == [1, 2, 3, 4]
        again = [gateway.RecommendMany(many, Context()) for _ in range(2)]
        assert [len([each async for each in stream]) for stream in again] == [5, 5]
        for stream in streams[2:]:
            await stream.aclose()

    with_gateway(use)


class Crowded(Turns):
    """Sheds so many calls before there is room."""

    def __init__(self, sheds: int) -> None:
        super().__init__(at_once=8, waiting=64)
        self.sheds = sheds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        self.sheds -= 1
        if self.sheds >= 0:
            raise Overloaded("crowded", 1)
        async with super().turn():
            yield


@pytest.mark.parametrize(("sheds", "failures"), [(7, 0), (10_000, 3)])
def test_a_batch_waits_for_room_at_a_peak_but_not_for_ever(sheds: int, failures: int) -> None:
    async def use(gateway: Gateway) -> None:
        gateway._turns = Crowded(sheds)
        many = pb.RecommendManyRequest(requests=[pb.RecommendRequest(placement="home")] * 3)
        replies = [each async for each in gateway.RecommendMany(many, Context())]
        codes = [each.failure.code for each in replies if each.HasField("failure")]
        assert codes == ["RESOURCE_EXHAUSTED"] * failures
        assert len(replies) == 3
        alone = Context()
        gateway._turns = Crowded(1)
        await gateway.Recommend(pb.RecommendRequest(placement="home"), alone)
        assert alone.code is grpc.StatusCode.RESOURCE_EXHAUSTED  # who looks at a page asks again

    with_gateway(use)
