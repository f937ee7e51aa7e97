"""Doors of the HTTP peers: JSON over connections that are kept. For gRPC see `loadtest.doors`.

A call's body is JSON for these, made before the clock starts.
"""

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp

from loadtest.call_log import OK
from loadtest.doors import Call, Reply

_READY_S = 60.0


class HttpDoor:
    """POSTs each call's body to one path."""

    def __init__(
        self, address: str, channels: int, *, path: str, read: Callable[[Any], dict[str, Any]]
    ) -> None:
        self._url = f"http://{address}{path}"
        self._read = read
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # As many connections as calls are under way: a limit would be a queue that nobody sees.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, number: int, call: Call, timeout_s: float) -> Reply:
        if self._session is None:
            raise ValueError("the door is not open; use it in `async with`")
        try:
            async with self._session.post(
                self._url,
                data=call.body,
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as answer:
                raw = await answer.read()
        except TimeoutError:
            return Reply("DEADLINE_EXCEEDED")
        except (aiohttp.ClientError, OSError):
            return Reply("UNAVAILABLE")
        if answer.status != 200:
            return Reply(f"HTTP {answer.status}")
        found = self._read(json.loads(raw))
        ids = tuple(found["product_ids"])
        return Reply(OK, scored=found["scored"], items=len(ids), products=ids)

    async def tell(self, number: int, events: bytes, timeout_s: float) -> bool:
        """Peers log no events."""
        return False


async def wait_for(ask: Callable[[], Any], within_s: float = _READY_S) -> bool:
    """Whether `ask` (a coroutine function) answers OK within so long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while loop.time() < until:
        if (await ask()).code == OK:
            return True
        await asyncio.sleep(0.2)
    return False
