"""Health: `grpc.health.v1`, answered by the door's own server, beside the queue that calls wait in.

A door with too much to do is alive: a probe that had to wait its turn would have it killed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE_NAME: str = health.SERVICE_NAME
KNOWN = (
    *("", "vitrine.v1.Recommendations", "vitrine.v1.Descriptions"),
    "vitrine.writer.v1.Writer",
)
_MAX_WATCHERS = 64
_WATCH_STEP_S = 0.5
_Status: Any = health_pb2.HealthCheckResponse


def answer_health(server: Any) -> None:
    """Adds this process's health to a gRPC server of Ray Serve, beside its queue of calls."""
    server.add_passthrough_service(SERVICE_NAME)  # not a call that waits its turn
    health_pb2_grpc.add_HealthServicer_to_server(THIS_PROCESS, server)


class DoorHealth(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Tells whether the gateway of this process is well; it is not before there is one."""

    def __init__(self) -> None:
        self._is_well: Callable[[], bool] = lambda: False
        self._watchers = 0

    def speak_for(self, is_well: Callable[[], bool]) -> None:
        """From now on the answer is this function's."""
        self._is_well = is_well

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        """SERVING once a list was made by both models, while events can be kept."""
        if request.service not in KNOWN:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"service {request.service[:40]!r} is not served here"
            )
        return self._status(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[Any]:
        """The state now, and again whenever it changes."""
        if self._watchers >= _MAX_WATCHERS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_MAX_WATCHERS} watch already; use Check"
            )
        self._watchers += 1
        try:
            told = None
            while True:
                status = self._status(request.service)
                if status.status != told:
                    told = status.status
                    yield status
                await asyncio.sleep(_WATCH_STEP_S)
        finally:
            self._watchers -= 1

    def _status(self, service: str) -> Any:
        if service not in KNOWN:
            return _Status(status=_Status.SERVICE_UNKNOWN)
        return _Status(status=_Status.SERVING if self._is_well() else _Status.NOT_SERVING)


# The server that answers is made by Ray Serve, the gateway too, and neither is handed the other.
THIS_PROCESS = DoorHealth()
