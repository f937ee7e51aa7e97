"""Refusal: an error as gRPC status, with google.rpc details that clients can act upon."""

import math
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from serving.field_checks import MAX_LISTED, InvalidFields
from shop.errors import (
    DependencyTimeout,
    DependencyUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    ReleaseRejected,
    Unauthenticated,
)

_DETAILS_KEY = "grpc-status-details-bin"
# What gRPC's own retries obey in every language (gRFC A6); people and other code read RetryInfo.
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
# Both travel in trailers, which hold 8 kB: the message percent-encoded (thrice its length at
# worst), the details in base64 (four thirds of it).
_MAX_MESSAGE_BYTES = 600
_MAX_DETAILS_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call gets no answer."""

    code: grpc.StatusCode
    message: str
    details: Message | None = None
    retry_after_ms: int | None = None


def refusal_of(error: Exception) -> Refusal:
    """What the caller is told of an error. Of a bug, only that there is one."""
    match error:
        case InvalidRequest():
            return Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error), _violations(error))
        case NotFound():
            return Refusal(grpc.StatusCode.NOT_FOUND, str(error))
        case Overloaded():
            return _shed(error)
        case Unauthenticated():
            return Refusal(grpc.StatusCode.UNAUTHENTICATED, str(error))
        case Forbidden():
            return Refusal(grpc.StatusCode.PERMISSION_DENIED, str(error))
        case DependencyTimeout():
            return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, str(error))
        case DependencyUnavailable():
            return Refusal(grpc.StatusCode.UNAVAILABLE, str(error))
        case ReleaseRejected():
            return Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        case _:
            return Refusal(grpc.StatusCode.INTERNAL, "internal error; the trace is in our log")


def refuse(grpc_context: Any, refusal: Refusal, *, client_waits_ms: float = math.inf) -> None:
    """Sets status, details and trailers; what the method returns is then not sent.

    A client that waits for less than the refusal tells it to is told not to ask again at all, so
    that it has its refusal now and not a deadline exceeded later.
    """
    message = _cut(refusal.message)
    grpc_context.set_code(refusal.code)
    grpc_context.set_details(message)
    if refusal.details is None:
        return
    attached = any_pb2.Any()
    attached.Pack(refusal.details)
    status = status_pb2.Status(code=refusal.code.value[0], message=message, details=[attached])
    trailers: list[tuple[str, str | bytes]] = [(_DETAILS_KEY, status.SerializeToString())]
    if refusal.retry_after_ms is not None:
        comes_back = refusal.retry_after_ms < client_waits_ms
        trailers.append((_PUSHBACK_KEY, str(refusal.retry_after_ms) if comes_back else "-1"))
    grpc_context.set_trailing_metadata(trailers)


def _shed(error: Overloaded) -> Refusal:
    code, wait_ms = grpc.StatusCode.RESOURCE_EXHAUSTED, error.retry_after_ms
    if wait_ms is None:
        return Refusal(code, error.reason)
    wait = duration_pb2.Duration()
    wait.FromMilliseconds(wait_ms)
    return Refusal(code, error.reason, error_details_pb2.RetryInfo(retry_delay=wait), wait_ms)


def _violations(error: InvalidRequest) -> error_details_pb2.BadRequest:
    violations = (
        error.violations if isinstance(error, InvalidFields) else ((error.field, error.reason),)
    )
    found = error_details_pb2.BadRequest()
    for field, reason in violations[:MAX_LISTED]:
        found.field_violations.add(field=field, description=reason)
        if found.ByteSize() > _MAX_DETAILS_BYTES:
            del found.field_violations[-1]
            break
    return found


def _cut(message: str) -> str:
    raw = message.encode()
    if len(raw) <= _MAX_MESSAGE_BYTES:
        return message
    return raw[:_MAX_MESSAGE_BYTES].decode(errors="ignore") + "…"
