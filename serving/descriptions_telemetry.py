"""Descriptions telemetry: what the descriptions' door counts, and what it finds when it looks.

Where `describe.metrics_port` is given, the process answers `/metrics` there: calls by method and
code, how many texts wait for a person, and whether the store and the language model answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from shop.errors import VitrineError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
METHODS = (
    *("GetDescription", "GenerateDescription", "ListReviews", "Approve", "Edit", "Reject"),
    *("ListVersions", "Rollback", "SubmitPage", "GetPhoto"),
)


class DescriptionsTelemetry:
    """The metrics of one replica; what `serving.guard` tells of calls that it turned away, too."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "vitrine_descriptions_calls",
            "Calls by method and gRPC status",
            ("method", "code"),
            registry=self.registry,
        )
        self._waiting = self._gauge("waiting", "Texts that wait for a person")
        self._store = self._gauge("store_answers", "1 while the store of texts answers")
        self._writer = self._gauge("writer_answers", "1 while the language model's service answers")
        for method in METHODS:  # there from the start: a series that begins at 5 hides the five
            self._calls.labels(method, "OK")

    def finished(self, method: str, code: str, seconds: float) -> None:
        """A call ended with this gRPC status name."""
        self._calls.labels(method if method in METHODS else "other", code).inc()

    def shed(self, reason: str) -> None:
        """Told by the guard; `finished` counts the call with its code."""

    async def look(
        self, waiting: Callable[[], Awaitable[int]], writer: Callable[[], Awaitable[object]]
    ) -> None:
        """Asks the store how many texts wait, and the language model's service whether it is there.

        Neither is an error of this process: both are told as figures.
        """
        try:
            self._waiting.set(await waiting())
            self._store.set(1)
        except VitrineError as error:
            self._store.set(0)
            logger.warning("the store does not answer: %s", error)
        try:
            await writer()
            self._writer.set(1)
        except VitrineError:
            self._writer.set(0)

    async def keep_looking(
        self,
        waiting: Callable[[], Awaitable[int]],
        writer: Callable[[], Awaitable[object]],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        """For ever."""
        while True:
            await self.look(waiting, writer)
            await asyncio.sleep(every_s)

    def serve_metrics(self, host: str, port: int) -> None:
        """Answers `/metrics`. Raises OSError if the port is taken."""
        start_http_server(port, addr=host, registry=self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"vitrine_descriptions_{name}", what, registry=self.registry)
