"""The door of the GPU benchmark, on the CPU: frames, the engine's queue, and all of it by gRPC."""

import asyncio
import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.gpu.door.drive import run_door
from export.gpu.door.engine import Batcher
from export.gpu.door.engine_client import EngineClient
from export.gpu.door.frames import HEAD, lists_layout, shoppers_layout
from export.gpu.door.plan import DoorPlan
from export.gpu.door.shortlist import ShortlistEngine
from export.gpu.door.step import door_plan, why_no_door
from export.gpu.drawn import a_schema
from export.gpu.plan import cpu_plan
from shop.errors import DependencyUnavailable
from shop.events import History
from shop.features import Context, ShopperFeatures, shopper_features

pytestmark = pytest.mark.usefixtures("one_torch_thread")
SCHEMA = a_schema()
SHOPPERS, LISTS = shoppers_layout(SCHEMA), lists_layout(3)
PLAN = dataclasses.replace(door_plan(cpu_plan(seed=5)), rows=400, candidates=40)
WAIT_S = 30.0


def a_shopper(row: int) -> ShopperFeatures:
    """Told apart by the last product seen."""
    history = History(
        np.array([row]), np.array([1]), np.array([1_000]), np.zeros(1, dtype=np.bool_)
    )
    return shopper_features(history, Context(2_000, 0, "home"), SCHEMA)


class LastProduct:
    """An engine that lists the last product of each shopper and the two after it."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, columns: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], NDArray[Any]]:
        self.go.wait(WAIT_S)
        last = columns[0][:, -1:]
        self.batches.append(len(last))
        return last + np.arange(3), np.tile(np.float32([3, 2, 1]), (len(last), 1))


async def asked(folder: Path, engine: LastProduct, clients: int, each: int) -> list[list[int]]:
    """Every client asks `each` at once; what each shopper was told, in order."""
    batcher = Batcher(engine, 8, SHOPPERS, LISTS)
    server = await asyncio.start_unix_server(batcher.listen, folder / "socket")
    working = asyncio.create_task(batcher.work())
    try:
        async with server, asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            told = [
                group.create_task(_asks(folder / "socket", range(at * each, (at + 1) * each)))
                for at in range(clients)
            ]
        return [rows for task in told for rows in task.result()]
    finally:
        working.cancel()


async def _asks(socket: Path, rows: range) -> list[list[int]]:
    async with EngineClient(socket, SCHEMA, listed=3, most=8) as client:
        answers = await asyncio.gather(*(client.ask(a_shopper(row + 1)) for row in rows))
    return [found.tolist() for found, _ in answers]


def test_columns_come_out_of_a_frame_as_they_went_in() -> None:
    shoppers = [a_shopper(4), a_shopper(9)]
    columns = tuple(
        np.stack([getattr(each, field.name) for each in shoppers])
        for field in dataclasses.fields(ShopperFeatures)
    )
    raw = SHOPPERS.pack(7, columns)
    assert HEAD.unpack(raw[: HEAD.size]) == (7, 2)
    back = SHOPPERS.unpack(2, raw[HEAD.size :])
    for before, after in zip(columns, back, strict=True):
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)


def test_frames_of_another_length_or_type_are_refused() -> None:
    rows = np.zeros((2, 3), np.int64)
    with pytest.raises(ValueError, match="float64"):
        LISTS.pack(1, (rows, np.zeros((2, 3))))
    with pytest.raises(ValueError, match="int64"):
        LISTS.pack(1, (rows[:, :2], np.zeros((2, 3), np.float32)))
    with pytest.raises(ValueError, match="bytes for 2 members"):
        LISTS.unpack(2, bytes(LISTS.member_bytes))
    with pytest.raises(ValueError, match="members"):
        LISTS.unpack(1 << 30, b"")


def test_everybody_is_told_about_their_own_shopper(tmp_path: Path) -> None:
    engine = LastProduct()
    told = asyncio.run(asked(tmp_path, engine, clients=3, each=20))
    assert told == [[row, row + 1, row + 2] for row in range(1, 61)]
    assert sum(engine.batches) == 60
    assert max(engine.batches) <= 8
    assert len(engine.batches) < 60, "who waits beside others is answered with them"


def test_whoever_asks_an_engine_that_is_gone_is_told(tmp_path: Path) -> None:
    async def ask() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(HEAD.size)
            writer.close()

        server = await asyncio.start_unix_server(hang_up, tmp_path / "socket")
        client = EngineClient(tmp_path / "socket", SCHEMA, listed=3, most=8)
        async with server, asyncio.timeout(WAIT_S), client:
            with pytest.raises(DependencyUnavailable, match="gone"):
                await client.ask(a_shopper(1))
            with pytest.raises(DependencyUnavailable, match="closed"):
                await client.ask(a_shopper(1))

    asyncio.run(ask())


def test_an_engine_lists_the_best_of_what_its_chain_ranks_in_every_size() -> None:
    engine = ShortlistEngine(PLAN)
    checked = engine.check()
    assert checked.holds, checked.measured
    columns = tuple(
        np.stack([getattr(a_shopper(row), field.name) for row in (3, 8, 11)])
        for field in dataclasses.fields(ShopperFeatures)
    )
    together = engine(columns)  # three in the size of four
    assert together[0].shape == (3, PLAN.listed)
    assert (np.diff(together[1], axis=1) <= 0).all()
    for at in range(3):
        alone = engine(tuple(column[at : at + 1] for column in columns))
        assert alone[1][0] == pytest.approx(together[1][at], rel=1e-3)
        assert np.isin(alone[0][0], together[0][at]).mean() > 0.9


def test_calls_through_real_grpc_come_back_with_whole_lists() -> None:
    plan = dataclasses.replace(PLAN, rates_per_s=(10.0,), duration_s=2.0)
    (result,) = run_door(plan)
    assert result.failed == 0
    assert result.shortest == plan.listed
    assert 0 < result.p50_ms <= result.p99_ms


def test_a_door_that_does_not_come_up_says_why() -> None:
    plan = dataclasses.replace(PLAN, precision="fp3")
    with pytest.raises(RuntimeError, match="fp3"):
        list(run_door(plan))


def test_here_nothing_is_missing_and_a_gpus_plan_asks_what_is_asked_of_the_product() -> None:
    assert why_no_door() == ""
    on_gpu = dataclasses.replace(cpu_plan(seed=1), device=torch.device("cuda"))
    asked_of = door_plan(on_gpu)
    assert isinstance(asked_of, DoorPlan)
    assert asked_of.rates_per_s[0] == 5_000.0
    assert DoorPlan.from_json(asked_of.to_json()) == asked_of
