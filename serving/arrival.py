"""Arrival: when a call came in and how long its client will wait, noted before anything queues.

Ray Serve hands a deployment neither: its context knows no remaining time, and a call may have
waited for its turn by then. The door's own server does know, so every handler is wrapped there.
Works where the replica serves gRPC itself (direct ingress), which is how we run it.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from grpc_health.v1 import health_pb2_grpc

from serving import health
from serving.proto import recommendations_pb2_grpc

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a call came, on the monotonic clock, and what its client allowed then."""

    at_s: float
    client_allows_s: float | None  # None: the client set no deadline


_arrival: ContextVar[Arrival | None] = ContextVar("arrival", default=None)


def this_arrival() -> Arrival:
    """Of the call that is being handled; now, where nothing was noted."""
    return _arrival.get() or Arrival(time.monotonic(), None)


def add_services(servicer: Any, server: Any) -> None:
    """Adds our services to a gRPC server of Ray Serve; named in its `grpc_servicer_functions`."""
    serve_handler_for: Callable[..., Handler] = server.service_handler_factory

    def noting_arrival(*, service_method: str, streaming_type: Any) -> Handler:
        handler = serve_handler_for(service_method=service_method, streaming_type=streaming_type)
        if streaming_type.name == "UNARY_STREAM":
            return _noted_stream(handler)
        if streaming_type.name == "UNARY_UNARY":
            return _noted(handler)
        return handler

    server.service_handler_factory = noting_arrival
    recommendations_pb2_grpc.add_RecommendationsServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    server.add_passthrough_service(health.SERVICE_NAME)  # not a call that waits its turn
    health_pb2_grpc.add_HealthServicer_to_server(health.THIS_PROCESS, server)


def _noted(handler: Handler) -> Handler:
    async def call(request: Any, context: Any) -> Any:
        _note(context)
        return await handler(request, context)

    return call


def _noted_stream(handler: Handler) -> Handler:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        _note(context)
        async for message in handler(request, context):
            yield message

    return call


def _note(context: Any) -> None:
    _arrival.set(Arrival(time.monotonic(), context.time_remaining()))
