"""Replica: one process of the door. Several listen on one port; the kernel spreads connections.

    python -m export.gpu.door.replica FOLDER NUMBER PORT PLAN_JSON

`vitrine.v1.Recommendations/Recommend` as the product's door has it: request to history (drawn, as
a store would have it), history to features by the code that training uses, list by the engine,
reply. Ends when its standard input closes.
"""

import asyncio
import gc
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from export.gpu.door.engine_client import EngineClient
from export.gpu.door.plan import REPLICA_READY, DoorPlan, schema_told_in, socket_in
from export.gpu.door.processes import ends_with_parent, tell
from serving.accepting import Accepted, accept_with
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODE_COUNT, History
from shop.features import Context, FeatureSchema, shopper_features

METHOD = "/vitrine.v1.Recommendations/Recommend"
RELEASE = "drawn"
_LOOPBACK = "127.0.0.1"
_AT_ONCE = 32  # calls asked for at once, as the product's door does
_MOST_UNDER_WAY = 1_024
_HISTORIES = 256  # distinct ones; shoppers share them
_DAY_MS = 86_400_000


class DrawnHistories:
    """Histories as a store would return them, of shoppers who are told apart by name."""

    def __init__(self, plan: DoorPlan, now_ms: int) -> None:
        rng = np.random.default_rng(plan.seed)
        self._kept = [_drawn_history(rng, plan.rows, now_ms) for _ in range(_HISTORIES)]

    def of(self, shopper: str) -> History:
        """Always the same for a name."""
        return self._kept[zlib.crc32(shopper.encode()) % len(self._kept)]


def _drawn_history(rng: np.random.Generator, row_count: int, now_ms: int) -> History:
    length = int(rng.integers(0, 60))
    return History(
        product_rows=rng.integers(1, row_count, length),
        event_codes=rng.integers(1, EVENT_CODE_COUNT, length),
        times_ms=np.sort(now_ms - rng.integers(0, 60 * _DAY_MS, length)),
        session_mask=np.zeros(length, np.bool_),
    )


class Door(rpc.RecommendationsServicer):
    """The one method."""

    def __init__(
        self,
        engine: EngineClient,
        histories: DrawnHistories,
        schema: FeatureSchema,
        plan: DoorPlan,
        clock_ms: Callable[[], int],
    ) -> None:
        self._engine, self._histories, self._schema = engine, histories, schema
        self._plan, self._clock_ms = plan, clock_ms
        self.under_way = 0

    @property
    def is_full(self) -> bool:
        """Whether a call would only make the queue longer."""
        return self.under_way >= _MOST_UNDER_WAY

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:  # noqa: N802
        """The best `page_size` of what the engine lists."""
        self.under_way += 1
        try:
            rows, values = await self._engine.ask(self._features(request))
        except DependencyUnavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self.under_way -= 1
        count = min(request.page_size or self._plan.listed, self._plan.listed)
        items = [
            pb.RecommendedProduct(product_id=f"P{row}", score=value, sources=["two_tower"])
            for row, value in zip(rows[:count].tolist(), values[:count].tolist(), strict=True)
            if row
        ]
        return pb.RecommendResponse(
            items=items,
            release=RELEASE,
            request_id=request.request_id,
            scored_count=self._plan.candidates,
        )

    async def refuse(self, messages: Any, context: Any) -> None:
        """What finds no room, unread."""
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much is under way")

    def _features(self, request: pb.RecommendRequest) -> Any:
        circumstances = Context(
            self._clock_ms(),
            request.utc_offset_minutes,
            request.placement,
            request.device,
            request.country,
            request.segment,
        )
        history = self._histories.of(request.user_id or request.visitor_id)
        return shopper_features(history, circumstances, self._schema)


async def serve(folder: Path, number: int, port: int, plan: DoorPlan) -> None:
    """Until the process ends."""
    schema = schema_told_in(folder)
    client = EngineClient(socket_in(folder), schema, listed=plan.listed, most=max(plan.batches))
    async with client as engine:
        histories = DrawnHistories(plan, _now_ms())
        door = Door(engine, histories, schema, plan, _now_ms)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
        rpc.add_RecommendationsServicer_to_server(door, server)
        handler = grpc.unary_unary_rpc_method_handler(
            door.Recommend, pb.RecommendRequest.FromString, pb.RecommendResponse.SerializeToString
        )
        accepted = Accepted(METHOD, handler, door.refuse, lambda: door.is_full)
        accept_with(server, [accepted], lambda: _AT_ONCE)
        if server.add_insecure_port(f"{_LOOPBACK}:{port}") != port:
            raise OSError(f"port {port} is not to be had")
        await server.start()
        gc.collect()
        gc.freeze()  # as the product's door does
        tell(folder / REPLICA_READY.format(number), "")
        await server.wait_for_termination()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """The command line."""
    ends_with_parent()
    folder, number, port, plan = sys.argv[1:]
    asyncio.run(serve(Path(folder), int(number), int(port), DoorPlan.from_json(plan)))


if __name__ == "__main__":
    main()
