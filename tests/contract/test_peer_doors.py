"""Peers answer by HTTP or gRPC; who answers otherwise than the truth is no peer."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from loadtest.call_log import OK
from loadtest.doors import Call, Reply
from loadtest.peers.contest import Contestant, equal_to_truth
from loadtest.peers.contestants import PEERS
from loadtest.peers.core import TASK_FILE, Found, Task
from loadtest.peers.doors import HttpDoor

TRUTH = [Found(["p3", "p1"], [2.0, 1.0], 500), Found(["p2", "p9"], [2.0, 1.0], 500)]
SHOPPERS = ["S00000", "S00001"]
FASTAPI = PEERS["fastapi"]


@asynccontextmanager
async def answering(lists: dict[str, Found], *, status: int = 200) -> AsyncIterator[str]:
    """A server on /recommend that answers so; its address."""

    async def recommend(request: web.Request) -> web.Response:
        wanted = await request.json()
        return web.json_response(lists[wanted["user_id"]].to_json(), status=status)

    app = web.Application()
    app.router.add_post("/recommend", recommend)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def judged(lists: dict[str, Found]) -> str:
    calls = [FASTAPI.call(shopper) for shopper in SHOPPERS]
    async with answering(lists) as address:
        peer = Contestant("peer", address, FASTAPI.door, calls, [])
        return await equal_to_truth(peer, SHOPPERS, calls, TRUTH)


def test_a_peer_that_answers_as_the_truth_is_one() -> None:
    assert asyncio.run(judged(dict(zip(SHOPPERS, TRUTH, strict=True)))) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        Found(["p9", "p2"], [2.0, 1.0], 500),
        Found(["p2"], [2.0], 500),
        Found(["p2", "p9"], [2.0, 1.0], 400),
    ],
    ids=["order", "length", "scored"],
)
def test_a_peer_that_differs_in_one_list_is_none(wrong: Found) -> None:
    lists = dict(zip(SHOPPERS, [TRUTH[0], wrong], strict=True))
    assert "S00001" in asyncio.run(judged(lists))


async def asked(address: str, timeout_s: float = 5.0) -> Reply:
    door = HttpDoor(address, 1, path="/recommend", read=lambda answer: answer)
    async with door:
        return await door.ask(0, Call(json.dumps({"user_id": "S00000"}).encode()), timeout_s)


def test_what_goes_wrong_is_a_reply_with_a_code() -> None:
    async def codes() -> list[str]:
        async with answering({"S00000": TRUTH[0]}, status=503) as address:
            failed = (await asked(address)).code
        return [failed, (await asked(address)).code]

    assert asyncio.run(codes()) == ["HTTP 503", "UNAVAILABLE"]


def test_a_good_reply_says_what_is_in_it() -> None:
    async def reply() -> Reply:
        async with answering({"S00000": TRUTH[0]}) as address:
            return await asked(address)

    found = asyncio.run(reply())
    assert (found.code, found.products, found.scored) == (OK, ("p3", "p1"), 500)


def test_a_peer_with_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"a model")
    digests = {str(file): hashlib.sha256(b"a model").hexdigest()}
    task = {"tower": "", "ranker": "", "index": "", "heads": [], "candidates": 1}
    (tmp_path / TASK_FILE).write_text(json.dumps(task | {"digests": digests}))
    assert Task.read(tmp_path).candidates == 1
    file.write_bytes(b"another")
    with pytest.raises(ValueError, match="not the file"):
        Task.read(tmp_path)


def test_every_peer_serves_from_a_file_of_its_own() -> None:
    assert len({peer.module for peer in PEERS.values()}) == len(PEERS)
    assert isinstance(PEERS["kserve"].door, partial)
