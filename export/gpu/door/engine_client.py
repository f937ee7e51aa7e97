"""Engine client: asks the engine's process for a list, many callers over one connection.

Callers of one round of the event loop go in one frame; nobody waits for company.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from export.gpu.door.frames import HEAD, lists_layout, shoppers_layout
from shop.errors import DependencyUnavailable
from shop.features import FeatureSchema, ShopperFeatures

Listed = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows [K] and values [K] of one shopper, best first."""

_Waiting = tuple[ShopperFeatures, "asyncio.Future[Listed]"]


class EngineClient:
    """One connection. Use it in `async with`."""

    def __init__(self, socket: Path, schema: FeatureSchema, *, listed: int, most: int) -> None:
        """`most` callers go into one frame."""
        self._socket, self._most = socket, most
        self._shoppers, self._lists = shoppers_layout(schema), lists_layout(listed)
        self._new: list[_Waiting] = []
        self._asked: dict[int, list[asyncio.Future[Listed]]] = {}
        self._number = 0

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_unix_connection(self._socket)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reading.cancel()
        self._writer.close()

    async def ask(self, features: ShopperFeatures) -> Listed:
        """The list of one shopper. Raises DependencyUnavailable if the engine is gone."""
        if self._reading.done():
            raise DependencyUnavailable("engine", "it has closed the connection")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Listed] = loop.create_future()
        if not self._new:
            loop.call_soon(self._send)
        self._new.append((features, answer))
        return await answer

    def _send(self) -> None:
        for start in range(0, len(self._new), self._most):
            part = self._new[start : start + self._most]
            self._number = (self._number + 1) % (1 << 32)
            columns = _columns([features for features, _ in part])
            self._asked[self._number] = [answer for _, answer in part]
            self._writer.write(self._shoppers.pack(self._number, columns))
        self._new = []

    async def _read(self) -> None:
        try:
            while True:
                number, count = HEAD.unpack(await self._reader.readexactly(HEAD.size))
                raw = await self._reader.readexactly(count * self._lists.member_bytes)
                rows, values = self._lists.unpack(count, raw)
                for at, answer in enumerate(self._asked.pop(number)):
                    if not answer.done():  # else its caller has left
                        answer.set_result((rows[at], values[at]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._fail()

    def _fail(self) -> None:
        left = [answer for asked in self._asked.values() for answer in asked]
        self._asked.clear()
        for answer in left:
            if not answer.done():
                answer.set_exception(DependencyUnavailable("engine", "it is gone"))


def _columns(features: Sequence[ShopperFeatures]) -> tuple[NDArray[Any], ...]:
    return (
        np.stack([each.history_rows for each in features]),
        np.stack([each.history_events for each in features]),
        np.stack([each.history_ages for each in features]),
        np.stack([each.context_codes for each in features]),
        np.stack([each.context_values for each in features]),
    )
