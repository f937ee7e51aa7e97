"""Shards as processes of their own: a service answers from them, loses one, and goes over."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from serving.adapters.shard_wire import (
    IndexName,
    PartWay,
    Question,
    encode_question,
    shard_token,
)
from serving.index_settings import IndexSettings
from serving.recommend.request import Degradation
from serving.recommend.settings import RecommendSettings, StageBudgets
from serving.reply import encode_answer
from serving.service import Service
from serving.stack.ports import free_port
from tests.contract.small_release import KEY, PRODUCT_COUNT, SCHEMA
from tests.contract.test_release_switch import (
    PickyTriton,
    a_whole_release,
    make_current,
    running,
)
from tests.unit.small_shop import an_ask

WAIT_S = 60.0
# A busy machine's: nothing here is about time.
PATIENT = RecommendSettings(
    budgets=StageBudgets(total_ms=9_000, history_ms=2_000, tower_ms=2_000, index_ms=2_000)
)
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TOKEN = f"Bearer {shard_token(KEY)}"


class Processes:
    """Two shards of a folder of releases."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.addresses = tuple(f"127.0.0.1:{free_port()}" for _ in range(2))
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *numbers: int) -> None:
        for number in numbers:
            ready = self.root / f"shard-{number}.json"
            ready.unlink(missing_ok=True)
            argv = (
                *(sys.executable, "-m", "serving.shard_app", "--number", str(number)),
                *("--listen", self.addresses[number], "--ready-file", str(ready)),
            )
            environment = {
                "VITRINE_STATE_DIR": str(self.root),
                "VITRINE_INDEX__SHARDS": str(len(self.addresses)),
            }
            self.running[number] = subprocess.Popen(argv, env=os.environ | environment)
        until = time.monotonic() + WAIT_S
        while not all((self.root / f"shard-{number}.json").exists() for number in numbers):
            assert time.monotonic() < until, "a shard did not become ready"
            time.sleep(0.02)

    def kill(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def ask(self, path: str, body: bytes | None = None, token: str = TOKEN) -> int:
        request = urllib.request.Request(f"http://{self.addresses[0]}{path}", data=body)
        request.add_header("Authorization", token)
        try:
            with OPENER.open(request, timeout=WAIT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@contextmanager
def shards_of(root: Path) -> Iterator[Processes]:
    keys = root / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "release.key").write_text(KEY.hex())
    (keys / "release.key").chmod(0o600)
    processes = Processes(root)
    try:
        processes.start(0, 1)
        yield processes
    finally:
        for number in list(processes.running):
            processes.kill(number)


async def until_searched(service: Service, share: float) -> None:
    """Returns once a list says that this share of the products was searched for it.

    Explained lists are not from the cache.
    """
    until = time.monotonic() + WAIT_S
    while True:
        answer = await service.recommend(
            an_ask(explain=True), start_s=time.monotonic(), total_s=9.0
        )
        assert len(answer.slate) == 10  # in every case
        lost = {reason for _, reason in answer.degraded}
        assert Degradation.FALLBACK_CANDIDATES not in lost
        reply = encode_answer(
            answer, service.tables.catalogue, service.token_key, attribution_ttl_ms=1_000
        )
        told = {each.reason: each.searched_share for each in reply.degraded}
        assert (told.get("PARTIAL_INDEX", 0.0) > 0.0) == (Degradation.PARTIAL_INDEX in lost)
        if told.get("PARTIAL_INDEX", 1.0) == pytest.approx(share):
            return
        assert time.monotonic() < until, told
        await asyncio.sleep(0.05)


def test_a_service_loses_a_shard_says_so_and_has_it_back(tmp_path: Path) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)

    async def use(processes: Processes) -> None:
        about = IndexSettings(2, processes.addresses)
        async with running(tmp_path, index=about, recommend=PATIENT) as (service, _):
            await until_searched(service, 1.0)
            processes.kill(1)
            # Rows 10 to 20 of 0 to 20, of which row 0 is no product.
            await until_searched(service, 1.0 - 11 / PRODUCT_COUNT)
            metrics = service.telemetry.registry
            assert metrics.get_sample_value("vitrine_index_coverage") == pytest.approx(9 / 20)
            await asyncio.to_thread(processes.start, 1)
            await until_searched(service, 1.0)
            assert metrics.get_sample_value("vitrine_index_coverage") == 1.0
            failures = metrics.get_sample_value("vitrine_shard_failures_total", {"shard": "1"})
            assert failures is not None
            assert failures > 0

    with shards_of(tmp_path) as processes:
        asyncio.run(use(processes))


def test_gateway_and_shards_go_over_to_the_next_release_together(tmp_path: Path) -> None:
    first, second = (a_whole_release(tmp_path, version).name for version in (1, 2))
    make_current(tmp_path, first)

    async def use(processes: Processes) -> None:
        about = IndexSettings(2, processes.addresses)
        async with running(tmp_path, index=about, recommend=PATIENT) as (service, triton):
            assert isinstance(triton, PickyTriton)
            following = asyncio.create_task(service.of_next_release())
            make_current(tmp_path, second)
            successor = await asyncio.wait_for(following, WAIT_S)
            assert successor.release == second
            await until_searched(successor, 1.0)
            await until_searched(service, 1.0)  # for a call that began before
            # A shard that starts now holds the second; asked about the first, it takes it up.
            processes.kill(0)
            await asyncio.to_thread(processes.start, 0)
            await until_searched(successor, 1.0)
            await until_searched(service, 1.0)

    with shards_of(tmp_path) as processes:
        asyncio.run(use(processes))


def test_a_release_that_a_shard_cannot_hold_is_waited_for(tmp_path: Path) -> None:
    """The gateway can read what the shard beside it cannot: as if on another machine."""
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):
        root.mkdir()
        make_current_of = a_whole_release(root, 1).name
        make_current(root, make_current_of)
    second = a_whole_release(here, 2).name

    async def use(processes: Processes) -> None:
        about = IndexSettings(2, processes.addresses)
        async with running(here, index=about, recommend=PATIENT) as (service, _):
            await until_searched(service, 1.0)
            following = asyncio.create_task(service.of_next_release())
            make_current(here, second)
            done, _ = await asyncio.wait([following], timeout=3.0)
            assert not done
            await until_searched(service, 1.0)
            assert a_whole_release(there, 2).name == second  # now it is there, too
            successor = await asyncio.wait_for(following, WAIT_S)
            assert successor.release == second
            await until_searched(successor, 1.0)

    with shards_of(there) as processes:
        asyncio.run(use(processes))


def test_a_shard_answers_only_who_has_the_token_and_only_what_it_holds(tmp_path: Path) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)
    vector = np.eye(1, SCHEMA.vector_size, dtype=np.float32)[0]

    def question(release: str, index: IndexName = IndexName.PRODUCTS) -> bytes:
        return encode_question(Question(release, index, PartWay.NEAREST, 3, vector))

    with shards_of(tmp_path) as processes:
        good = question("r0001-seed1")
        assert processes.ask("/search", good) == 200
        assert processes.ask("/state") == 200
        for path, body in (("/search", good), ("/hold", b"r0001-seed1"), ("/state", None)):
            assert processes.ask(path, body, token="Bearer nonsense") == 401
        assert processes.ask("/elsewhere") == 404
        assert processes.ask("/search", question("r0009-unknown")) == 409
        assert processes.ask("/search", question("r0001-seed1", IndexName.TEXTS)) == 400
        assert processes.ask("/search", question("../../etc")) == 400
        assert processes.ask("/hold", b"../r0001-seed1") == 400
        assert processes.ask("/search", b"\xff" * 300) == 400
        assert processes.ask("/search", good) == 200  # and goes on
