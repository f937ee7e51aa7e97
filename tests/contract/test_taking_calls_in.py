"""A real gRPC server in this process: calls taken in at once, refused unread, new certificates."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc

from serving.accepting import Accepted, accept_with
from serving.async_client import AsyncVitrineClient
from serving.client import ClientTls
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.settings import DoorSettings
from serving.tls import server_credentials
from shop.errors import DependencyUnavailable, Overloaded
from tests.contract.certificates import Authority

NAME = "/vitrine.v1.Recommendations/Recommend"


@dataclass
class Servicer(rpc.RecommendationsServicer):
    """Answers when it is told to, and has room for so many."""

    room: int = 1_000
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    unread: int = 0

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        if self.under_way >= self.room:  # taken in by gRPC's own loop, which reads first
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        self.under_way += 1
        try:
            await self.may_answer.wait()
        finally:
            self.under_way -= 1
        return pb.RecommendResponse(request_id=request.request_id)

    async def refuse(self, messages: Any, context: Any) -> None:
        self.unread += 1
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")


@asynccontextmanager
async def served(
    servicer: Servicer, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    server = grpc.aio.server()
    rpc.add_RecommendationsServicer_to_server(servicer, server)
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.Recommend,
        pb.RecommendRequest.FromString,
        pb.RecommendResponse.SerializeToString,
    )
    accepted = Accepted(NAME, handler, servicer.refuse, lambda: servicer.under_way >= servicer.room)
    accept_with(server, [accepted], lambda: 8)
    address = "127.0.0.1:0"
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not holds():  # noqa: ASYNC110 - gRPC tells nobody
            await asyncio.sleep(0.01)


def test_more_calls_than_are_taken_in_at_once_are_all_answered() -> None:
    async def ask_many() -> list[str]:
        servicer = Servicer()
        servicer.may_answer.set()
        async with served(servicer) as address, AsyncVitrineClient(address) as client:
            asked = (client.recommend(request_id=str(number)) for number in range(200))
            return [reply.request_id for reply in await asyncio.gather(*asked)]

    assert asyncio.run(ask_many()) == [str(number) for number in range(200)]


def test_calls_without_room_are_refused_while_those_with_room_are_worked_on() -> None:
    async def ask_too_many() -> tuple[int, int, int]:
        servicer = Servicer(room=5)
        async with (
            served(servicer) as address,
            AsyncVitrineClient(address, retries=False) as client,
        ):
            early = [asyncio.create_task(client.recommend()) for _ in range(5)]
            await eventually(lambda: servicer.under_way == 5)
            late = (client.recommend() for _ in range(95))
            found = await asyncio.gather(*late, return_exceptions=True)
            servicer.may_answer.set()
            await asyncio.gather(*early)
            shed = sum(isinstance(each, Overloaded) for each in found)
            return shed, servicer.unread, servicer.under_way

    shed, unread, under_way = asyncio.run(ask_too_many())
    assert (shed, under_way) == (95, 0)
    assert unread > 50


def test_a_caller_who_leaves_is_not_worked_for_any_more() -> None:
    async def leave() -> int:
        servicer = Servicer()
        async with served(servicer) as address, AsyncVitrineClient(address) as client:
            asked = asyncio.create_task(client.recommend())
            await eventually(lambda: servicer.under_way == 1)
            asked.cancel()
            await eventually(lambda: servicer.under_way == 0)
        return servicer.under_way

    assert asyncio.run(leave()) == 0


def test_replaced_certificates_hold_without_a_restart_and_broken_ones_do_not(
    tmp_path: Path,
) -> None:
    old, new, used = (tmp_path / name for name in ("old", "new", "used"))
    for folder in (old, new):
        folder.mkdir()
        authority = Authority(folder)
        authority.sign("door")
        authority.sign("shop")
    shutil.copytree(old, used)
    door = DoorSettings(
        tls_certificate=f"{used}/door.pem",
        tls_key=f"{used}/door.key",
        tls_client_ca=f"{used}/ca.pem",
    )

    def shown(folder: Path) -> ClientTls:
        files = (folder / "ca.pem", folder / "shop.pem", folder / "shop.key")
        return ClientTls.of_files(*files)

    async def is_heard(address: str, tls: ClientTls) -> bool:
        client = AsyncVitrineClient(address, tls=tls, timeout_s=10.0, retries=False)
        async with client:
            try:
                await client.recommend()
            except DependencyUnavailable:
                return False
        return True

    async def replace_them() -> list[bool]:
        servicer = Servicer()
        servicer.may_answer.set()
        heard = []
        async with served(servicer, server_credentials(door, look_every_s=0.0)) as address:
            heard.append(await is_heard(address, shown(old)))
            heard.append(await is_heard(address, shown(new)))
            (used / "door.pem").write_text("no certificate")
            heard.append(await is_heard(address, shown(old)))
            for file in new.iterdir():
                shutil.copy(file, used / file.name)
            heard.append(await is_heard(address, shown(new)))
            heard.append(await is_heard(address, shown(old)))
            heard.append(await is_heard(address, replace(shown(new), certificate=None, key=None)))
        return heard

    assert asyncio.run(replace_them()) == [True, False, True, True, False, False]
