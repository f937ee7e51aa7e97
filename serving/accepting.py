"""Accepting: takes calls in as fast as they come, so that a queue forms where it can be counted.

grpc.aio 1.85 takes in one call of a method at a time, and needs some five rounds of the event loop
for it. A loop that is busy with lists makes a round in milliseconds, so at a peak hundreds of calls
wait inside gRPC for seconds, while few lists are under way and nothing of ours knows. (With lists
of 5 ms of CPU and 400 calls/s on two cores: p50 1.3 s before the first line of a handler, at 12
lists under way; with 32 calls taken in at once 5 ms, and the rest is refused.) The loop's own lag
does not show it: that stays below 2 ms.

Here the same calls into gRPC are made, several at once. They are not public: where they are missing
gRPC's own way remains, and the log says so. A call for which there is no room is answered without
even reading its message.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc._cython import cygrpc

logger = logging.getLogger(__name__)

_NEEDED = ("_MethodResolver", "_handle_rpc", "_schedule_rpc_coro")
_ENDED = "_RequestCallError"  # what gRPC raises for a call that did not come to be


@dataclass(frozen=True, slots=True)
class Accepted:
    """One method: what handles its calls, and what refuses them."""

    name: str  # /package.Service/Method
    handler: "grpc.RpcMethodHandler[Any, Any]"
    refuse: Callable[[Any, Any], Any]  # (unread messages, context), a coroutine function
    is_full: Callable[[], bool]


def accept_with(server: Any, methods: list[Accepted], at_once: Callable[[], int]) -> None:
    """Has `server`, a grpc.aio server, begin to accept so when it is started.

    `at_once` says then how many calls of each method are asked for; 0: as gRPC does.
    """
    start = server.start

    async def start_and_accept() -> None:
        await start()
        count = at_once()
        if count == 0:
            return
        core = getattr(server, "_server", None)
        if not (hasattr(core, "_request_registered_call") and _has_what_is_needed()):
            logger.error("this grpcio cannot take calls in several at once; a peak will queue")
            return
        for method in methods:
            acceptor = _Acceptor(core, method)
            for _ in range(count):
                acceptor.begin()

    server.start = start_and_accept


def _has_what_is_needed() -> bool:
    return all(hasattr(cygrpc, name) for name in _NEEDED)


class _Acceptor:
    """Asks gRPC for calls of one method and sets each going."""

    def __init__(self, core: Any, method: Accepted) -> None:
        self._core = core
        self._method = method
        self._raw_name = method.name.encode()
        resolver: Any = getattr(cygrpc, "_MethodResolver")  # noqa: B009  not in the stubs
        refusing = grpc.stream_unary_rpc_method_handler(method.refuse)
        self._handling = resolver([], {method.name: method.handler})
        self._refusing = resolver([], {method.name: refusing})
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps none alive

    def begin(self) -> None:
        """One more call is asked for, and after it the next, until the server shuts down."""
        self._keep(self._loop.create_task(self._accept()))

    async def _accept(self) -> None:
        grpc_aio: Any = cygrpc
        while self._core.is_running():
            try:
                state = await self._core._request_registered_call(self._raw_name)
            except Exception as error:  # noqa: BLE001  gRPC's class for it has no public name
                if type(error).__name__ == _ENDED:
                    continue  # that call was gone, or the server shuts down
                logger.error("one acceptor of %s ended: %r", self._method.name, error)
                return
            resolver = self._refusing if self._method.is_full() else self._handling
            name, loop = self._method.name, self._loop
            call = grpc_aio._handle_rpc(name, resolver, (), state, loop, False)
            task = loop.create_task(grpc_aio._schedule_rpc_coro(call, state, loop, name))
            self._keep(task)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
