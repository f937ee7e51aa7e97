"""HTTP/1.1 calls to one server: connections that are kept, one question at a time on each.

For a loopback call made several hundred times a second. Against the same Triton a gRPC call costs
the event loop 0.46 to 0.54 ms of CPU (`grpc.aio` hands every message through a thread of its own),
one of these 0.11 to 0.14 ms (500 candidates, two cores). httptools parses; we keep the connections.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import httptools

from shop.errors import DependencyUnavailable

_MOST_CONNECTIONS = 512  # more calls than the door takes at once
_MOST_BYTES = 64 << 20  # of one answer


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    headers: dict[bytes, bytes]  # names in lower case
    body: bytes


class HttpConnections:
    """All connections to one server. Whoever makes it closes it."""

    def __init__(self, dependency: str, address: str) -> None:
        self._dependency = dependency
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def ask(self, request: bytes) -> HttpAnswer:
        """The answer to a request that may be repeated. Raises DependencyUnavailable.

        Takes as long as it takes: the caller's timer cancels it, and with it the connection, on
        which a late answer would otherwise be taken for the next one's.
        """
        while True:
            is_kept = bool(self._idle)
            connection = self._idle.pop() if is_kept else await self._connected()
            try:
                answer = await connection.ask(request)
            except ConnectionError as error:
                # The server may close a kept connection at any moment, also this one.
                if is_kept and not connection.has_begun:
                    continue
                raise DependencyUnavailable(self._dependency, str(error)) from error
            except asyncio.CancelledError:
                connection.abort()
                raise
            if connection.is_open:
                self._idle.append(connection)
            return answer

    async def _connected(self) -> "_Connection":
        if len(self._open) >= _MOST_CONNECTIONS:
            raise DependencyUnavailable(
                self._dependency, f"{_MOST_CONNECTIONS} calls are under way already"
            )
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self._lost), self._host, self._port
            )
        except OSError as error:
            raise DependencyUnavailable(self._dependency, str(error)[:200]) from error
        self._open.add(connection)
        return connection

    def _lost(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def close(self) -> None:
        """Ends every connection; calls under way fail."""
        for connection in list(self._open):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection. Its `on_…` methods are httptools' callbacks."""

    def __init__(self, lost: Any) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self.has_begun = False  # whether anything of an answer has come

    @property
    def is_open(self) -> bool:
        """Whether another question can be asked."""
        return self._transport is not None

    async def ask(self, request: bytes) -> HttpAnswer:
        """Raises ConnectionError if the connection ends before the answer does."""
        if self._transport is None:
            raise ConnectionResetError("closed")
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self.has_begun = False
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def abort(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(ConnectionAbortedError("given up"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it

    def connection_lost(self, error: Exception | None) -> None:
        """Of asyncio.Protocol."""
        self._transport = None
        self._fail(ConnectionResetError(str(error or "the server closed the connection")))
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Of asyncio.Protocol."""
        self._size += len(data)
        if self._answer is None or self._size > _MOST_BYTES:  # nobody asked for that
            self.abort()
            return
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionAbortedError(f"no HTTP: {error}"))
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of httptools."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Of httptools."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Of httptools."""
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
            self._transport = None
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            status = self._parser.get_status_code()
            answer.set_result(HttpAnswer(status, self._headers, b"".join(self._parts)))

    def _fail(self, error: ConnectionError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
