"""Arrival: what is done for a call before anything queues: noted, and let in or turned away.

Ray Serve hands a deployment neither: its context knows no remaining time, and a call may have
waited for its turn by then. The door's own server does know, so every handler is wrapped there.
Works where the replica serves gRPC itself (direct ingress), which is how we run it. For the same
reason a refusal leaves here, in the form in which clients may ask again by themselves, and
`serving.guard` is asked here, before Ray Serve has done anything for the call.
"""

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from serving import health
from serving.accepting import Accepted, accept_with
from serving.field_checks import MAX_DEADLINE_MS
from serving.guard import THIS_DOOR, Admitted
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc
from serving.refusal import refusal_of, refuse
from shop.errors import DependencyTimeout, InvalidRequest, VitrineError

Handler = Callable[..., Any]
_DEADLINE_KEY = "vitrine-deadline-ms"  # metadata, for callers that cannot set the field
# What this process's door speaks, beside health; another application's door puts its own here.
SERVES: list[Callable[[Any, Any], None]] = [
    recommendations_pb2_grpc.add_RecommendationsServicer_to_server
]
_ANSWERED = (None, 0, grpc.StatusCode.OK)  # None and 0: no code was set
_CANCELLED = grpc.StatusCode.CANCELLED
_OURS = "/vitrine.v1."


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a call came, on the monotonic clock, and what its client allowed then."""

    at_s: float
    client_allows_s: float | None  # None: the client set no deadline

    def client_waits_ms(self, now_s: float) -> float:
        """How much longer the client waits for an answer."""
        return (self.client_until_s - now_s) * 1000.0

    @property
    def client_until_s(self) -> float:
        """When the client gives up, on the monotonic clock."""
        return math.inf if self.client_allows_s is None else self.at_s + self.client_allows_s


_arrival: ContextVar[Arrival | None] = ContextVar("arrival", default=None)
_caller: ContextVar[str] = ContextVar("caller", default="")


def this_caller() -> str:
    """Whose token came with the call that is being handled; "" where none is asked for."""
    return _caller.get()


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
            return _noted_stream(service_method, handler)
        if streaming_type.name == "UNARY_UNARY":
            noted[service_method] = _noted(service_method, handler)
            return noted[service_method]
        return handler

    noted: dict[str, Handler] = {}

    server.service_handler_factory = noting_arrival
    override = server._override_method_handler

    def reading(name: str, handler: Any) -> Any:
        return override(
            name,
            handler._replace(request_deserializer=_reading(name, handler.request_deserializer)),
        )

    server._override_method_handler = reading
    for add_servicer in SERVES:
        add_servicer(servicer, server)
    accept_with(server, _accepted(noted), lambda: THIS_DOOR.acceptors)
    health.answer_health(server)


def _accepted(noted: Mapping[str, Handler]) -> list[Accepted]:
    """The methods of which many calls come at once, as Serve's server handles them."""
    service = pb.DESCRIPTOR.services_by_name["Recommendations"]
    accepted = []
    for method in service.methods:
        if method.server_streaming:
            continue
        name = f"/{service.full_name}/{method.name}"
        if name not in noted:  # the door of another application
            continue
        handler = grpc.unary_unary_rpc_method_handler(
            noted[name],
            request_deserializer=_reading(name, GetMessageClass(method.input_type).FromString),
        )
        accepted.append(Accepted(name, handler, _refusing(name), partial(THIS_DOOR.is_full, name)))
    return accepted


def _refusing(method: str) -> Handler:
    async def refuse_unread(messages: Any, context: Any) -> None:
        await _turn_away(method, THIS_DOOR.too_full(), context, _note(context))

    return refuse_unread


def _noted(method: str, handler: Handler) -> Handler:
    if not method.startswith(_OURS):
        return handler  # Serve's own, for its health

    async def call(request: Any, context: Any) -> Any:
        arrival = _note(context)
        try:
            admitted = _admit(method, request, context, arrival)
        except VitrineError as error:
            return await _turn_away(method, error, context, arrival)
        code = _CANCELLED
        try:
            reply = await handler(request, context)
            code = context.code()
        finally:
            THIS_DOOR.leave(admitted, _name_of(code), answered=code in _ANSWERED)
        if code not in _ANSWERED:
            await _send_status_alone(context)
        return reply

    return call


def _noted_stream(method: str, handler: Handler) -> Handler:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        arrival = _note(context)
        try:
            admitted = _admit(method, request, context, arrival)
        except VitrineError as error:
            await _turn_away(method, error, context, arrival)
            return
        try:
            async for message in handler(request, context):
                yield message
        finally:
            THIS_DOOR.leave(admitted, _name_of(context.code()), answered=False)

    return call


def _admit(method: str, request: Any, context: Any, arrival: Arrival) -> Admitted:
    if isinstance(request, _Unread):
        raise InvalidRequest("request", request.why)
    admitted = THIS_DOOR.admit(method, request, context, arrival.at_s)
    if admitted.caller is not None:
        _caller.set(admitted.caller.name)
    return admitted


@dataclass(frozen=True, slots=True)
class _Unread:
    """What came in place of a message, or is too large to be read as one."""

    why: str


def _reading(method: str, parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """`parse`, but for what is no message: by itself gRPC would answer UNKNOWN."""

    def read(raw: bytes) -> Any:
        why = THIS_DOOR.too_large(method, raw)
        if why:
            return _Unread(why)
        try:
            return parse(raw)
        except DecodeError:
            return _Unread("is no message of this method")

    return read


def _name_of(code: Any) -> str:
    return grpc.StatusCode.OK.name if code in _ANSWERED else getattr(code, "name", str(code))


async def _turn_away(method: str, error: VitrineError, context: Any, arrival: Arrival) -> None:
    """Ends a call that was not let in, with what its client may act upon."""
    refusal = refusal_of(error)
    refuse(context, refusal, client_waits_ms=arrival.client_waits_ms(time.monotonic()))
    THIS_DOOR.refused(method, error, refusal.code.name, arrival.at_s)
    await _send_status_alone(context)


async def _send_status_alone(context: Any) -> None:
    """Ends a refused call without response headers.

    gRPC's own retries stop at the first header that a client has seen, and a handler that returns
    after `set_code` sends some. Details and trailers that were set are kept.
    """
    await context.abort(context.code())


def _note(context: Any) -> Arrival:
    arrival = Arrival(time.monotonic(), context.time_remaining())
    _arrival.set(arrival)
    return arrival
