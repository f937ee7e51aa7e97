"""Arrival: when a call came in and how long its client will wait, noted before anything queues.

Ray Serve hands a deployment neither: its context knows no remaining time, and a call may have
waited for its turn by then. The door's own server does know, so every handler is wrapped there.
Works where the replica serves gRPC itself (direct ingress), which is how we run it. For the same
reason a refusal leaves here, in the form in which clients may ask again by themselves.
"""

import math
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from serving import health
from serving.field_checks import MAX_DEADLINE_MS
from serving.proto import recommendations_pb2_grpc
from shop.errors import DependencyTimeout, InvalidRequest

Handler = Callable[..., Any]
_DEADLINE_KEY = "vitrine-deadline-ms"  # metadata, for callers that cannot set the field
# What this process's door speaks, beside health; another application's door puts its own here.
SERVES: list[Callable[[Any, Any], None]] = [
    recommendations_pb2_grpc.add_RecommendationsServicer_to_server
]
_ANSWERED = (None, 0, grpc.StatusCode.OK)  # None and 0: no code was set


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a call came, on the monotonic clock, and what its client allowed then."""

    at_s: float
    client_allows_s: float | None  # None: the client set no deadline

    def client_waits_ms(self, now_s: float) -> float:
        """How much longer the client waits for an answer."""
        if self.client_allows_s is None:
            return math.inf
        return (self.at_s + self.client_allows_s - now_s) * 1000.0


_arrival: ContextVar[Arrival | None] = ContextVar("arrival", default=None)


def this_arrival() -> Arrival:
    """Of the call that is being handled; now, where nothing was noted."""
    return _arrival.get() or Arrival(time.monotonic(), None)


def allowed_s(asked_ms: int, arrival: Arrival, *, default_ms: float) -> float:
    """What the caller names, else the settings' default; never more than its client waits.

    A client's own deadline only shortens: most are generous (5 s), and a call that has waited its
    100 ms in a queue is to be answered cheaply, or the queue would never get shorter. Raises
    DependencyTimeout if nobody waits any more.
    """
    total_s = (asked_ms or default_ms) / 1000.0
    if arrival.client_allows_s is not None:
        total_s = min(total_s, arrival.client_allows_s)
    if total_s <= 0.0:
        raise DependencyTimeout("door", "the deadline had passed when the call arrived")
    return total_s


def asked_in_metadata_ms(grpc_context: Any) -> int:
    """`vitrine-deadline-ms` of the call's metadata; 0 if there is none. Raises InvalidRequest."""
    for key, value in grpc_context.invocation_metadata():
        if key == _DEADLINE_KEY:
            is_number = len(value) <= 6 and value.isascii() and value.isdigit()
            if not (is_number and 0 < int(value) <= MAX_DEADLINE_MS):
                raise InvalidRequest(
                    _DEADLINE_KEY, f"is {value[:20]!r}, must be 1 to {MAX_DEADLINE_MS}"
                )
            return int(value)
    return 0


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
    for add_servicer in SERVES:
        add_servicer(servicer, server)
    server.add_passthrough_service(health.SERVICE_NAME)  # not a call that waits its turn
    health_pb2_grpc.add_HealthServicer_to_server(health.THIS_PROCESS, server)


def _noted(handler: Handler) -> Handler:
    async def call(request: Any, context: Any) -> Any:
        _note(context)
        reply = await handler(request, context)
        if context.code() not in _ANSWERED:
            await _send_status_alone(context)
        return reply

    return call


def _noted_stream(handler: Handler) -> Handler:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        _note(context)
        async for message in handler(request, context):
            yield message

    return call


async def _send_status_alone(context: Any) -> None:
    """Ends a refused call without response headers.

    gRPC's own retries stop at the first header that a client has seen, and a handler that returns
    after `set_code` sends some. Details and trailers that were set are kept.
    """
    await context.abort(context.code())


def _note(context: Any) -> None:
    _arrival.set(Arrival(time.monotonic(), context.time_remaining()))
