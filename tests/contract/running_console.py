"""A console in a process of its own, before a Descriptions service on SQLite and a scripted door.

What people decide in the browser is decided in the store; recommendations are what a test says.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from serving.adapters.memory_descriptions import (
    FixedMeasures,
    FixedSpamScorer,
    MemoryProducts,
)
from serving.adapters.photo_sql import SqlPhotos
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.version_sql import SqlVersions
from serving.console.invitation import token_of
from serving.describe.call import Deps, WritingSettings
from serving.describe.judging import PhotoJudge
from serving.describe.ports import Piece, Product, WritingRequest
from serving.describe.versions import Action, Decision, Impact, Scores, Version
from serving.descriptions_door import Descriptions
from serving.descriptions_service import DescriptionsService
from serving.proto import descriptions_pb2_grpc, recommendations_pb2_grpc
from serving.proto import recommendations_pb2 as pb
from serving.stack.ports import free_port
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.faults import Fault
from shop.descriptions.style import StyleGuide
from shop.errors import DependencyUnavailable
from tests.contract.scripted_door import ScriptedDoor
from tests.unit.describing import a_brand

READY_WITHIN_S = 60.0


def facts_of_a_jacket(product_id: str = "P1", title: str = "Vesper rain jacket") -> Facts:
    return Facts(
        product_id,
        title,
        "jackets",
        "Vesper",
        (
            Attribute("material", "recycled polyester"),
            Attribute("colour", "navy"),
            Attribute("weight", "420", "g"),
            Attribute("features", "waterproof zip, hood"),
        ),
    )


def a_draft(opening: str = "A light jacket for rainy days, made of recycled polyester.") -> Draft:
    return Draft(
        opening,
        ("Weighs 420 g", "Comes in navy", "With a hood and a waterproof zip"),
        "It goes with the rest of your wardrobe.",
    )


@dataclass
class Texts:
    """The store behind the service, filled as a test likes."""

    store: SqlVersions
    known: dict[str, Product]
    loop: asyncio.AbstractEventLoop
    made: int = 0
    answers: list[str] = field(default_factory=list)  # what a model would write; none: none runs
    model_version: str = "scripted-1"
    deps: Deps | None = None

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        if not self.answers:
            raise DependencyUnavailable("writer", "no language model runs here")
        yield Piece(self.answers.pop(0), done=True, tokens=100)

    def add(
        self,
        action: Action,
        *,
        facts: Facts | None = None,
        draft: Draft | None = None,
        impact: Impact | None = None,
        faults: Sequence[Fault] = (),
        actor: str = "nightly",
        model: str = "writer-1",
        at_ms: int | None = None,
    ) -> Version:
        self.made += 1
        facts = facts or facts_of_a_jacket()
        self.known[facts.product_id] = Product(facts, 10.0, 0.1, 5.0)
        version = Version(
            version_id=f"{facts.product_id[:20]}-v{self.made}",
            product_id=facts.product_id,
            text=draft or a_draft(),
            facts=facts,
            prompt="Write a product page.",
            prompt_version="page-1",
            model=model,
            adapter="",
            seed=7,
            attempts=1,
            scores=Scores(0.91, 0.75, 6.2, 0.78),
            faults=tuple(faults),
            impact=impact or Impact(100.0, 12.5, 0.3),
            actor=actor,
            created_ms=at_ms or 1_780_000_000_000 + self.made * 3_600_000,
        )
        reason = {Action.QUEUED: "a busy product"}.get(action, "")
        decision = Decision(
            version.version_id, version.product_id, action, actor, reason, version.created_ms
        )
        self.wait_for(self.store.add(version, decision))
        return version

    def shown(self, product_id: str = "P1") -> Draft:
        kept = self.wait_for(self.store.published(product_id))
        assert kept is not None
        draft: Draft = kept.version.text
        return draft

    def waiting(self) -> int:
        _, waiting = self.wait_for(self.store.waiting(limit=1, after=None))
        return int(waiting)

    def decisions(self, product_id: str = "P1") -> list[tuple[str, str, str]]:
        _, decisions = self.wait_for(self.store.history(product_id))
        return [(each.action.value, each.actor, each.reason) for each in decisions]

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@dataclass
class RunningConsole:
    """One that can be asked."""

    address: str
    token: str
    texts: Texts
    door: ScriptedDoor
    health: HealthServicer
    process: subprocess.Popen[bytes]


@contextmanager
def texts_service(file: Path) -> Iterator[tuple[Texts, str]]:
    """The service of the product itself, on gRPC's own server; yields its address too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    database = SqliteDatabase(file)
    texts = Texts(SqlVersions(database), {}, loop)
    shelf = SqliteDatabase(file)
    photos = SqlPhotos(shelf)
    deps = Deps(
        products=MemoryProducts(texts.known),
        writer=texts,
        versions=texts.store,
        measures=FixedMeasures(),
        brand=a_brand(),
        style=StyleGuide(),
        styles={},
        spam=FixedSpamScorer(),
        photos=PhotoJudge(),
        seen=photos,
        writing=WritingSettings(),
        now_ms=lambda: time.time_ns() // 1_000_000,
        new_id=lambda: os.urandom(16).hex(),
    )
    texts.deps = deps

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        service = DescriptionsService(deps, texts.store, photos, asyncio.Semaphore(1))
        descriptions_pb2_grpc.add_DescriptionsServicer_to_server(Descriptions(service), server)
        health = HealthServicer()
        health.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = texts.wait_for(start())
    try:
        yield texts, f"127.0.0.1:{port}"
    finally:
        texts.wait_for(server.stop(None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        database.close()
        shelf.close()


@contextmanager
def door_with_health() -> Iterator[tuple[ScriptedDoor, HealthServicer]]:
    """A scripted door that tells its health."""
    door, health = ScriptedDoor(), HealthServicer()
    health.set("", health_pb2.HealthCheckResponse.SERVING)
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    recommendations_pb2_grpc.add_RecommendationsServicer_to_server(door, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    door.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield door, health
    finally:
        server.stop(None).wait()


@contextmanager
def running_console(folder: Path) -> Iterator[RunningConsole]:
    """All of it, until the block ends."""
    state_dir, port = folder / "state", free_port()
    ready_file = folder / "ready.json"
    with texts_service(folder / "versions.sqlite") as (texts, address), door_with_health() as found:
        door, health = found
        environment = {
            **os.environ,
            "VITRINE_STATE_DIR": str(state_dir),
            "VITRINE_CONSOLE__PORT": str(port),
            "VITRINE_CONSOLE__RECOMMENDATIONS": door.address,
            "VITRINE_CONSOLE__DESCRIPTIONS": address,
        }
        argv = (sys.executable, "-m", "serving.console", "--ready-file", str(ready_file))
        example = ("--example-shopper", "U0000042")
        with (folder / "console.log").open("wb") as log:
            process = subprocess.Popen((*argv, *example), env=environment, stderr=log)
        try:
            _wait_until_ready(process, ready_file, folder / "console.log")
            token = token_of(state_dir)
            base = f"http://127.0.0.1:{port}"
            yield RunningConsole(base, token, texts, door, health, process)
        finally:
            process.terminate()
            assert process.wait(30) == 0


def explained(count: int = 6) -> pb.RecommendResponse:
    """A list as the door explains one."""
    items = [
        pb.RecommendedProduct(
            product_id=f"P{n:06d}",
            title=f"Lamp {n}",
            price_minor=1_990 + 250 * n,
            list_price_minor=2_490 + 250 * n,
            stock=3 * n,
            reason=pb.PERSONALISED if n % 3 else pb.EXPLORATION,
            sources=["two_tower", "item_item"],
            explanation=pb.Explanation(
                click=0.11 / n,
                cart=0.04 / n,
                purchase=0.02 / n,
                return_risk=0.08,
                expected_value_minor=31.25 / n,
                propensity=1.0 if n % 3 else 0.05,
                source_scores={"two_tower": 0.81, "item_item": 0.42},
                rules=["boost:spring"] if n == 2 else [],
            ),
        )
        for n in range(1, count + 1)
    ]
    stage_ms = {
        "history": 0.4, "features": 0.2, "tower": 1.1, "candidates": 1.9, "lookups": 1.2,
        "ranking": 2.3, "slate": 0.6, "total": 6.6,
    }  # fmt: skip
    return pb.RecommendResponse(
        items=items,
        currency="EUR",
        release="r-20260701",
        scored_count=500,
        stage_ms=stage_ms,
        degraded=[pb.Degradation(stage="lookups", reason="STALE_PRICE")],
        cache_status="BYPASS",
    )


def _wait_until_ready(process: subprocess.Popen[bytes], file: Path, log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while not file.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)
    assert json.loads(file.read_text())["pid"] == process.pid
