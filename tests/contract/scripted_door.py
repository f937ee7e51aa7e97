"""A real gRPC server that answers storefronts as a test tells it to, and keeps what they asked."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.refusal import refusal_of, refuse

STALL = "stall"  # no answer until the client gives up


def a_list(first: int = 1, count: int = 12, **fields: Any) -> pb.RecommendResponse:
    """Products p1, p2, … in euros."""
    items = [
        pb.RecommendedProduct(
            product_id=f"p{n}", title=f"Lamp {n}", price_minor=1_000 + n, reason=pb.PERSONALISED
        )
        for n in range(first, first + count)
    ]
    reply: dict[str, Any] = {
        "items": items,
        "currency": "EUR",
        "request_id": "list-1",
        "attribution_token": "signed-token",
        "release": "release-1",
    }
    return pb.RecommendResponse(**(reply | fields))


@dataclass
class ScriptedDoor(rpc.RecommendationsServicer):
    """Takes one step of the script for each call; when it is over, every call succeeds."""

    address: str = ""
    script: deque[Exception | str | pb.RecommendResponse] = field(default_factory=deque)
    asked: list[pb.RecommendRequest] = field(default_factory=list)
    logged: list[pb.Event] = field(default_factory=list)
    calls: int = 0

    def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        self.asked.append(request)
        return self._step(context) or a_list()

    def RecommendMany(
        self, request: pb.RecommendManyRequest, context: Any
    ) -> Iterator[pb.RecommendManyResponse]:
        for index, each in enumerate(request.requests):
            yield pb.RecommendManyResponse(index=index, response=self.Recommend(each, context))

    def Rerank(self, request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        self._step(context)
        kept = [pb.RecommendedProduct(product_id=each) for each in request.product_ids]
        return pb.RerankResponse(items=kept)

    def LogEvents(self, request: pb.LogEventsRequest, context: Any) -> pb.LogEventsResponse:
        self._step(context)
        self.logged.extend(request.events)
        return pb.LogEventsResponse(accepted=len(request.events))

    def SuggestPrice(
        self, request: pb.SuggestPriceRequest, context: Any
    ) -> pb.SuggestPriceResponse:
        self._step(context)
        kept = [pb.PriceSuggestion(product_id=each) for each in request.product_ids]
        return pb.SuggestPriceResponse(suggestions=kept)

    def _step(self, context: Any) -> pb.RecommendResponse | None:
        self.calls += 1
        step = self.script.popleft() if self.script else None
        if isinstance(step, Exception):
            refusal = refusal_of(step)
            refuse(context, refusal, client_waits_ms=context.time_remaining() * 1_000)
            context.abort(refusal.code, refusal.message)
        if step == STALL:
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait(30)
        return step if isinstance(step, pb.RecommendResponse) else None


@contextmanager
def scripted_door(door: ScriptedDoor | None = None) -> Iterator[ScriptedDoor]:
    """Listening while the block runs."""
    door = door or ScriptedDoor()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    rpc.add_RecommendationsServicer_to_server(door, server)
    door.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield door
    finally:
        server.stop(None).wait()
