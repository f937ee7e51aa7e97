"""Doors: how a call reaches a server, and what its reply says."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

import grpc
import grpc.aio

from loadtest.call_log import OK, Outcome
from serving.proto import recommendations_pb2 as pb

SERVICE = "/vitrine.v1.Recommendations"
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else channels share a connection
    ("grpc.enable_http_proxy", 0),  # a machine's proxy must not stand before its own door
)
_READY_S = 20.0
_SERVICE_CONFIG = Path(__file__).resolve().parents[1] / "serving" / "proto" / "service_config.json"


@dataclass(frozen=True, slots=True)
class Call:
    """One call, serialised before the clock starts."""

    body: bytes  # RecommendRequest; many: RecommendManyRequest
    clicks: bool = False  # when answered, log a click on the first product
    kind: str = "recommend"  # what it counts as in the report
    many: bool = False  # a batch, by RecommendMany


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply says, as far as the report asks."""

    code: str = OK
    degraded: tuple[str, ...] = ()
    scored: int = 0
    items: int = 0
    stage_ms: dict[str, float] = field(default_factory=dict)
    products: tuple[str, ...] = ()  # as listed; none of a batch
    token: str = ""
    asked_again: int = 0  # how often, before this reply came
    retry_after_ms: int | None = None  # of a refusal: what the door says; -1: do not come back

    def outcome(self, kind: str, at_s: float, latency_ms: float, late_ms: float) -> Outcome:
        """What became of the call that this answers; times as `Outcome` has them."""
        return Outcome(
            kind,
            at_s,
            latency_ms,
            late_ms,
            self.code,
            self.degraded,
            self.scored,
            self.items,
            self.stage_ms,
            self.asked_again,
        )


class Door(Protocol):
    """Where calls go. Answers in every case: a failed call is a reply with a code."""

    async def ask(self, number: int, call: Call, timeout_s: float) -> Reply:
        """The `number`-th call, to its end."""
        ...

    async def tell(self, number: int, events: bytes, timeout_s: float) -> bool:
        """Whether a LogEventsRequest was taken."""
        ...


def read_reply(raw: bytes) -> Reply:
    """A RecommendResponse."""
    reply = pb.RecommendResponse.FromString(raw)
    return Reply(
        degraded=tuple(f"{d.stage} {d.reason}" for d in reply.degraded),
        scored=reply.scored_count,
        items=len(reply.items),
        stage_ms=dict(reply.stage_ms),
        products=tuple(item.product_id for item in reply.items),
        token=reply.attribution_token,
    )


class BatchReply:
    """Many lists as one reply: the first failure, the least scored, everything that was lost."""

    def __init__(self) -> None:
        self._code = OK
        self._degraded: dict[str, None] = {}
        self._scored: int | None = None
        self._items = 0

    def add(self, raw: bytes) -> None:
        """One more RecommendManyResponse."""
        part = pb.RecommendManyResponse.FromString(raw)
        if part.HasField("failure"):
            self._code = part.failure.code if self._code == OK else self._code
            return
        found = part.response
        self._degraded |= dict.fromkeys(f"{d.stage} {d.reason}" for d in found.degraded)
        least = found.scored_count if self._scored is None else self._scored
        self._scored = min(least, found.scored_count)
        self._items += len(found.items)

    def reply(self) -> Reply:
        """What came so far."""
        return Reply(self._code, tuple(self._degraded), self._scored or 0, self._items)


class GrpcDoor:
    """`vitrine.v1.Recommendations` over several connections: one would reach one replica only."""

    options: ClassVar[tuple[tuple[str, int | str], ...]] = CHANNEL_OPTIONS

    def __init__(self, address: str, channels: int) -> None:
        self._channels = [
            grpc.aio.insecure_channel(address, options=self.options) for _ in range(channels)
        ]
        self._one = [each.unary_unary(f"{SERVICE}/Recommend") for each in self._channels]  # type: ignore[call-arg]
        self._many = [each.unary_stream(f"{SERVICE}/RecommendMany") for each in self._channels]  # type: ignore[call-arg]
        self._events = [each.unary_unary(f"{SERVICE}/LogEvents") for each in self._channels]  # type: ignore[call-arg]

    async def __aenter__(self) -> Self:
        """Raises TimeoutError if nobody answers."""
        ready = (channel.channel_ready() for channel in self._channels)
        try:
            await asyncio.wait_for(asyncio.gather(*ready), _READY_S)
        except TimeoutError:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for channel in self._channels:
            await channel.close(None)

    async def ask(self, number: int, call: Call, timeout_s: float) -> Reply:
        at = number % len(self._channels)
        try:
            if not call.many:
                return read_reply(await self._one[at](call.body, timeout=timeout_s))
            batch = BatchReply()
            async for raw in self._many[at](call.body, timeout=timeout_s):
                batch.add(raw)
            return batch.reply()
        except grpc.aio.AioRpcError as error:
            return Reply(error.code().name, retry_after_ms=_pushback_ms(error))

    async def tell(self, number: int, events: bytes, timeout_s: float) -> bool:
        try:
            await self._events[number % len(self._events)](events, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return True


class RetryingDoor(GrpcDoor):
    """The same for a client that asks again by rule, by `serving/proto/service_config.json`."""

    options = (*CHANNEL_OPTIONS, ("grpc.service_config", _SERVICE_CONFIG.read_text()))


def _pushback_ms(error: grpc.aio.AioRpcError) -> int | None:
    """What a refusal tells gRPC's own retries, in every language."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms":
            return int(value)
    return None
