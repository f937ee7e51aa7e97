"""`Ask` through a real gRPC server, with the gateway behind it and writers over gRPC, too."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from serving.adapters.memory import MemoryEventStore
from serving.adapters.writer_service import WriterService
from serving.admission import Priority
from serving.assist.pipeline import Assistant
from serving.assist.settings import AssistSettings
from serving.assistants import open_assistant
from serving.async_client import AsyncVitrineClient
from serving.client import VitrineClient
from serving.describe.ports import Writer
from serving.gateway import Gateway
from serving.guard import THIS_DOOR
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.service import Service
from serving.settings import DoorSettings, Settings
from serving.telemetry import Telemetry
from shop.errors import DependencyTimeout, DependencyUnavailable, InvalidRequest, Overloaded
from tests.contract.described_shop import a_writer
from tests.unit.asked_shop import TRUE_4, StallingWriter, an_answer, deps_of
from tests.unit.searchable_shop import a_searchable_shop

NOBODY = "127.0.0.1:1"
PATIENCE_S = 30.0


class _Gateway(Gateway):
    def __del__(self) -> None:  # type: ignore[override]  # nobody awaits it here
        pass


@asynccontextmanager
async def _door(assistant: Assistant | None, telemetry: Telemetry) -> AsyncIterator[str]:
    searchable = a_searchable_shop()
    store = MemoryEventStore(histories=searchable.shop.histories)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        yield Service(
            deps_of(searchable),
            store,
            bytes(32),
            telemetry,
            is_sound=lambda: True,
            assistant=assistant,
        )

    gateway = _Gateway.__new__(_Gateway)
    await gateway.__init__(opened, DoorSettings())  # type: ignore[misc]  # as Serve does
    server = grpc.aio.server()
    rpc.add_RecommendationsServicer_to_server(gateway, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
        await Gateway.__del__(gateway)


def _asked(
    work: Callable[[AsyncVitrineClient], Awaitable[None]],
    writer: Writer | None,
    settings: AssistSettings | None = None,
) -> Telemetry:
    """Runs `work` with a client of a door whose questions this writer answers."""
    telemetry = Telemetry()

    async def run() -> None:
        assistant = None if writer is None else Assistant(writer, settings or AssistSettings())
        async with _door(assistant, telemetry) as address, AsyncVitrineClient(address) as client:
            await work(client)

    asyncio.run(run())
    return telemetry


def _count(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_products_sentences_and_the_end_come_from_a_writer_over_grpc() -> None:
    answer = an_answer((1, TRUE_4), (2, "It is of silk."), (2, "It is priced at 18.00 EUR."))

    async def work(client: AsyncVitrineClient) -> None:
        steps = [step async for step in client.ask("red lamps", user_id="ada", seed=5)]
        assert [step.WhichOneof("step") for step in steps] == [
            *("products", "sentence", "sentence", "finished")
        ]
        shown = [item.product_id for item in steps[0].products.items]
        assert shown[:2] == ["p4", "p8"]
        said = [(s.sentence.text, list(s.sentence.product_ids)) for s in steps[1:-1]]
        assert said == [(TRUE_4, ["p4"]), ("It is priced at 18.00 EUR.", ["p8"])]
        assert (steps[-1].finished.outcome, steps[-1].finished.left_out) == (pb.ANSWERED, 1)
        assert steps[-1].finished.model_version == "scripted-1"

    with a_writer(answer) as address:
        telemetry = _asked_of_service(address, work)
    assert _count(telemetry, "vitrine_asked_total", outcome="ANSWERED") == 1
    assert _count(telemetry, "vitrine_sentences_left_out_total", reason="invented") == 1
    assert _count(telemetry, "vitrine_requests_total", method="Ask", code="OK") == 1
    assert _count(telemetry, "vitrine_answer_seconds_count", until="first_sentence") == 1


def _asked_of_service(
    address: str, work: Callable[[AsyncVitrineClient], Awaitable[None]]
) -> Telemetry:
    telemetry = Telemetry()

    async def run() -> None:
        writer = WriterService(address, PATIENCE_S)
        try:
            async with (
                _door(Assistant(writer), telemetry) as door,
                AsyncVitrineClient(door) as client,
            ):
                await work(client)
        finally:
            await writer.close()

    asyncio.run(run())
    return telemetry


def test_without_a_model_the_products_come_and_then_unavailable() -> None:
    async def work(client: AsyncVitrineClient) -> None:
        steps = client.ask("red lamps")
        first = await anext(steps)
        assert first.products.items
        with pytest.raises(DependencyUnavailable, match="no language model answers"):
            await anext(steps)
        refused = [step async for step in client.ask("red lamps under 5")]
        assert refused[-1].finished.outcome == pb.NO_PRODUCTS  # which takes no model

    telemetry = _asked_of_service(NOBODY, work)
    assert _count(telemetry, "vitrine_requests_total", method="Ask", code="UNAVAILABLE") == 1


def test_a_house_style_that_cannot_be_read_costs_answers_and_no_lists(tmp_path: Path) -> None:
    style = tmp_path / "style.toml"
    style.write_text("banned = 3")

    async def run() -> tuple[bool, bool]:
        opened = []
        for name in ("", str(style)):
            settings = Settings(describe=replace(Settings().describe, style=name))
            async with open_assistant(settings) as assistant:
                opened.append(assistant is not None)
        return opened[0], opened[1]

    assert asyncio.run(run()) == (True, False)


def test_a_door_without_an_assistant_says_so() -> None:
    async def work(client: AsyncVitrineClient) -> None:
        with pytest.raises(DependencyUnavailable, match="answers no questions"):
            await anext(client.ask("red lamps"))

    _asked(work, None)


def test_a_wrong_question_is_refused_by_field() -> None:
    async def work(client: AsyncVitrineClient) -> None:
        with pytest.raises(InvalidRequest, match="question: is required"):
            await anext(client.ask(""))
        with pytest.raises(InvalidRequest, match="context_product_ids"):
            await anext(client.ask("lamps", context_product_ids=["p1"] * 5))

    _asked(work, StallingWriter())


def test_leaving_stops_the_writing() -> None:
    writer = StallingWriter()

    async def work(client: AsyncVitrineClient) -> None:
        steps = client.ask("red lamps", timeout_s=PATIENCE_S)
        await anext(steps)
        assert (await anext(steps)).sentence.text == TRUE_4
        await steps.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(writer.left.wait(), PATIENCE_S)

    _asked(work, writer)


def test_a_model_that_stalls_ends_with_the_time_that_the_caller_named() -> None:
    writer = StallingWriter()

    async def work(client: AsyncVitrineClient) -> None:
        steps = client.ask("red lamps", deadline_ms=500, timeout_s=PATIENCE_S)
        assert (await anext(steps)).products.items
        with pytest.raises(DependencyTimeout):
            async for _ in steps:
                pass
        assert writer.left.is_set()

    telemetry = _asked(work, writer)
    assert _count(telemetry, "vitrine_requests_total", method="Ask", code="DEADLINE_EXCEEDED") == 1


def test_questions_beyond_those_that_may_wait_are_shed_and_lists_are_not() -> None:
    writer = StallingWriter()

    async def work(client: AsyncVitrineClient) -> None:
        async def ask() -> None:
            async for _ in client.ask("red lamps", timeout_s=PATIENCE_S):
                pass

        asking = {asyncio.create_task(ask()) for _ in range(4)}  # one is written, one waits
        shed: set[asyncio.Task[None]] = set()
        while len(shed) < 2:
            done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            shed |= done
        for task in shed:
            with pytest.raises(Overloaded):
                task.result()
        assert (await client.recommend(placement="home", user_id="ada")).items
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    _asked(work, writer, AssistSettings(at_once=1, queued=1))


def test_threads_ask_as_well() -> None:
    async def work(client: AsyncVitrineClient) -> None:
        def ask() -> list[str | None]:
            with VitrineClient(client.address) as shop:
                return [step.WhichOneof("step") for step in shop.ask("xyzzy qwopzx")]

        assert await asyncio.to_thread(ask) == ["products", "finished"]

    _asked(work, StallingWriter())


def test_a_question_waits_for_nobody_at_a_peak_of_lists() -> None:
    async def work(client: AsyncVitrineClient) -> None:
        limit, taken = THIS_DOOR.limit, 0
        while limit.has_room(Priority.BATCH):
            limit.enter()
            taken += 1
        try:
            with pytest.raises(Overloaded):
                await anext(client.ask("red lamps"))
        finally:
            for _ in range(taken):
                limit.leave(time.monotonic(), None)

    _asked(work, StallingWriter())
