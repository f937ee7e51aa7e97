"""gRPC calls to the systems behind us: channels that come back quickly, our errors for gRPC's."""

from typing import TypeVar

import grpc
import grpc.aio

from shop.errors import DependencyError, DependencyTimeout, DependencyUnavailable

Request = TypeVar("Request")
Reply = TypeVar("Reply")

_MEGABYTE = 1 << 20
_OPTIONS = (
    # After an outage the next attempt comes within half a second, instead of gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),  # a retry would spend a budget that the pipeline has planned
    ("grpc.enable_http_proxy", 0),  # these systems are ours; a machine's proxy must not see them
    ("grpc.max_receive_message_length", 64 * _MEGABYTE),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`. Connects with the first call; whoever opens it closes it."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def answered(
    dependency: str, call: grpc.aio.UnaryUnaryCall[Request, Reply], timeout_s: float
) -> Reply:
    """The reply to a call that was made with `timeout_s`. Raises a DependencyError."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise translated(dependency, error, timeout_s) from error


def translated(dependency: str, error: grpc.aio.AioRpcError, timeout_s: float) -> DependencyError:
    """Our error for a failed call that was given `timeout_s`."""
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DependencyTimeout(dependency, f"no answer within {timeout_s * 1000.0:.0f} ms")
    details = (error.details() or "").splitlines()
    return DependencyUnavailable(
        dependency, f"{error.code().name}: {details[0] if details else ''}"[:500]
    )
