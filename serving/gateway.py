"""Gateway: the gRPC methods of the door, and the only place where errors become gRPC status.

A refused call is answered by setting code, details and trailers on the context and returning: Ray
Serve drops the trailers of a method that raises, and with them the violated fields.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from serving.arrival import Arrival, allowed_s, asked_in_metadata_ms, this_arrival
from serving.ask_door import AskDoor
from serving.audit import AuditLog
from serving.codec import MAX_MANY
from serving.guard import THIS_DOOR
from serving.health import THIS_PROCESS
from serving.logging_setup import REQUESTS
from serving.price_reply import encode_prices
from serving.proto import recommendations_pb2 as pb
from serving.recommend.ports import ShopperEvent
from serving.refusal import Refusal, refusal_of, refuse
from serving.reply import encode_answer, encode_valid
from serving.rerank_codec import encode_reranked, rerank_ask, told_of
from serving.service import Service
from serving.settings import DoorSettings
from serving.turns import Turns, when_there_is_room
from shop.errors import (
    DependencyUnavailable,
    InvalidRequest,
    Overloaded,
)

logger = logging.getLogger(__name__)

_RETRY_BATCH_MS = 5_000  # 1,000 lists, some at a time
# Checking 1,000 events takes 40 ms, with a token each 50 to 130 ms (two busy cores): more than so
# many would hold up every other call.
_FEW_EVENTS = 25

# Writing 500 suggestions takes 23 ms of CPU, most of it protobuf; 25 take 1 ms.
_FEW_PRICES = 25

OpenService = Callable[[], AbstractAsyncContextManager[Service]]


class Gateway:
    """`vitrine.v1.Recommendations`, for one replica. Its health is told by `serving.health`."""

    async def __init__(self, open_service: OpenService, door: DoorSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        self._stack = AsyncExitStack()
        self._service = await self._stack.enter_async_context(open_service())
        self._turns = Turns(at_once=door.concurrent_calls, waiting=door.queued_calls)
        self._price_turns = Turns(at_once=door.price_calls, waiting=door.queued_calls)
        self._asking = AskDoor(self._turns)
        self._streams = door.streams
        self._many_at_once = door.many_at_once
        self._is_warm = False
        self._audit = AuditLog(Path(door.audit_file)) if door.audit_file else None
        THIS_DOOR.stand(door, self._service.telemetry, self._audit)
        self._service.telemetry.watch_admission(THIS_DOOR.limit)
        THIS_PROCESS.speak_for(lambda: self._is_well)
        self._service.telemetry.watch_serving(lambda: self._is_well)
        self._warming = asyncio.create_task(self._warm_up())
        self._following = asyncio.create_task(self._follow_releases())
        self._keeping_rules = asyncio.create_task(self._follow_rules())
        self._knowing_callers = asyncio.create_task(THIS_DOOR.follow_callers())

    async def __del__(self) -> None:  # Serve awaits it too, when the replica has drained
        self._warming.cancel()
        self._following.cancel()
        self._keeping_rules.cancel()
        self._knowing_callers.cancel()
        if self._audit is not None:
            self._audit.close()
        await self._stack.aclose()

    def check_health(self) -> None:
        """Serve asks now and then, and replaces the replica if this raises."""
        if not self._service.is_sound():
            raise DependencyUnavailable("feedback", "the log's writer has ended")
        followers = (self._following, self._keeping_rules, self._knowing_callers)
        for task in (self._warming, *followers):
            if task.done():
                task.result()

    async def _warm_up(self) -> None:
        await self._service.warm_up()
        self._is_warm = True

    async def _follow_releases(self) -> None:
        """Each call takes the service that is there when it comes, and keeps it to its end."""
        while True:
            self._service = await self._service.of_next_release()
            self._is_warm = True  # it was, before it took over

    async def _follow_rules(self) -> None:
        """Off the hot path: looks for a new rule book now and then, in a thread."""
        while True:
            await self._service.follow_rules()

    @property
    def _is_well(self) -> bool:
        return self._is_warm and self._service.is_sound()

    async def Recommend(
        self, request: pb.RecommendRequest, grpc_context: Any
    ) -> pb.RecommendResponse:
        """A ranked list for one shopper and one placement."""
        with _Handling(self._service, "Recommend", grpc_context) as handling:
            reply = await self._one(request, handling.arrival, asked_in_metadata_ms(grpc_context))
            handling.note(reply)
            return reply
        return pb.RecommendResponse()

    async def RecommendMany(
        self, request: pb.RecommendManyRequest, grpc_context: Any
    ) -> AsyncIterator[pb.RecommendManyResponse]:
        """One response per request, in order, a few of them made at a time."""
        with _Handling(self._service, "RecommendMany", grpc_context) as handling:
            if len(request.requests) > MAX_MANY:
                raise InvalidRequest(
                    "requests", f"has {len(request.requests)} elements, at most {MAX_MANY}"
                )
            if self._streams == 0:
                raise Overloaded("too many batches are under way", _RETRY_BATCH_MS)
            self._streams -= 1
            under_way: deque[asyncio.Task[pb.RecommendManyResponse]] = deque()
            try:
                for index, each in enumerate(request.requests):
                    under_way.append(asyncio.create_task(self._one_of_many(index, each)))
                    if len(under_way) >= self._many_at_once:
                        yield await under_way.popleft()
                while under_way:
                    yield await under_way.popleft()
            finally:
                self._streams += 1
                for task in under_way:
                    task.cancel()
            handling.fields["requests"] = len(request.requests)

    async def Rerank(self, request: pb.RerankRequest, grpc_context: Any) -> pb.RerankResponse:
        """The caller's own list in the order of ours."""
        with _Handling(self._service, "Rerank", grpc_context) as handling:
            service = self._service
            ask = rerank_ask(request, service.decoder)
            asked_ms = request.deadline_ms or asked_in_metadata_ms(grpc_context)
            arrival, usual_ms = handling.arrival, service.budgets.total_ms
            total_s = allowed_s(asked_ms, arrival, default_ms=usual_ms)
            async with self._turns.turn():
                reranked = await service.rerank(
                    ask,
                    start_s=arrival.at_s,
                    total_s=total_s,
                    client_until_s=arrival.client_until_s,
                )
            service.telemetry.answered(reranked.answer)
            ttl_ms = service.deps.settings.attribution_ttl_ms
            catalogue, key = service.tables.catalogue, service.token_key
            reply = encode_reranked(
                reranked, catalogue, key, attribution_ttl_ms=ttl_ms, texts=service.texts
            )
            handling.fields |= told_of(reply)
            return reply
        return pb.RerankResponse()

    async def LogEvents(
        self, request: pb.LogEventsRequest, grpc_context: Any
    ) -> pb.LogEventsResponse:
        """Returns once every event is on disk."""
        with _Handling(self._service, "LogEvents", grpc_context) as handling:
            events = await self._events(request)
            client_s = handling.arrival.client_allows_s
            within_s = math.inf if client_s is None else client_s
            receipt = await self._service.record(events, within_s=within_s)
            handling.fields["events"] = len(events)
            known = self._service.tables.catalogue.row_of
            named = dict.fromkeys(event.product_id for event in events if event.product_id)
            return pb.LogEventsResponse(
                accepted=receipt.accepted,
                duplicates=receipt.duplicates,
                unknown_product_ids=[name for name in named if name not in known],
            )
        return pb.LogEventsResponse()

    async def SuggestPrice(
        self, request: pb.SuggestPriceRequest, grpc_context: Any
    ) -> pb.SuggestPriceResponse:
        """A price inside the limits for each product, with its reasons. Applies nothing."""
        with _Handling(self._service, "SuggestPrice", grpc_context) as handling:
            service = self._service
            ask = service.decoder.price_ask(request)
            total_s = allowed_s(
                request.deadline_ms or asked_in_metadata_ms(grpc_context),
                handling.arrival,
                default_ms=service.deps.settings.pricing.total_ms,
            )
            catalogue, settings = service.tables.catalogue, service.deps.settings.pricing
            async with self._price_turns.turn():
                answer = await service.suggest_prices(
                    ask, start_s=handling.arrival.at_s, total_s=total_s
                )
                few = len(ask.product_ids) <= _FEW_PRICES
                encode = partial(encode_prices, answer, catalogue, settings)
                reply = encode() if few else await asyncio.to_thread(encode)
            service.telemetry.suggested(answer)
            handling.fields |= {
                "request_id": ask.request_id,
                "release": answer.release,
                "asked": len(ask.product_ids),
                "suggested": int(answer.places.size),
                "stage_ms": {stage: round(ms, 2) for stage, ms in answer.stage_ms.items()},
                "degraded": [f"{stage}:{reason}" for stage, reason in answer.degraded],
            }
            return reply
        return pb.SuggestPriceResponse()

    async def Ask(self, request: pb.AskRequest, grpc_context: Any) -> AsyncIterator[pb.AskResponse]:
        """The products found, sentences about them as they are written, and the end."""
        with _Handling(self._service, "Ask", grpc_context) as handling:
            metadata_ms = asked_in_metadata_ms(grpc_context)
            steps = self._asking.answer(request, self._service, handling.arrival, metadata_ms)
            async with aclosing(steps):
                async for message, told in steps:
                    handling.fields |= told
                    yield message

    async def _events(self, request: pb.LogEventsRequest) -> list[ShopperEvent]:
        decode = self._service.decoder.events
        if len(request.events) <= _FEW_EVENTS:
            return decode(request)
        return await asyncio.to_thread(decode, request)

    async def _one(
        self, request: pb.RecommendRequest, arrival: Arrival, metadata_ms: int
    ) -> pb.RecommendResponse:
        service = self._service
        ask = service.decoder.ask(request)
        if request.validate_only:
            return encode_valid(ask, service.tables.release, service.tables.catalogue)
        total_s = allowed_s(
            request.deadline_ms or metadata_ms, arrival, default_ms=service.budgets.total_ms
        )
        async with self._turns.turn():
            answer = await service.recommend(
                ask,
                start_s=arrival.at_s,
                total_s=total_s,
                client_until_s=arrival.client_until_s,
            )
        service.telemetry.answered(answer)
        return encode_answer(
            answer,
            service.tables.catalogue,
            service.token_key,
            attribution_ttl_ms=service.deps.settings.attribution_ttl_ms,
            texts=service.texts,
        )

    async def _one_of_many(
        self, index: int, request: pb.RecommendRequest
    ) -> pb.RecommendManyResponse:
        """A failure of one is that shopper's only. Its time begins when its turn comes.

        At a peak it waits: shoppers who look at a page go first, a batch of e-mails has time.
        """
        try:
            reply = await when_there_is_room(lambda: self._one_with_room(request))
        except Exception as error:  # noqa: BLE001  the edge of one request among many
            refusal = _refusal(error, f"requests[{index}]")
            failure = pb.Failure(code=refusal.code.name, message=refusal.message)
            return pb.RecommendManyResponse(index=index, failure=failure)
        return pb.RecommendManyResponse(index=index, response=reply)

    async def _one_with_room(self, request: pb.RecommendRequest) -> pb.RecommendResponse:
        with THIS_DOOR.one_of_a_batch():
            return await self._one(request, Arrival(time.monotonic(), None), 0)


class _Handling:
    """One call: counts and logs it, and answers an error with its status instead of raising it."""

    def __init__(self, service: Service, method: str, grpc_context: Any) -> None:
        self.arrival = this_arrival()
        self.fields: dict[str, Any] = {"method": method}
        self._service = service
        self._method = method
        self._context = grpc_context

    def note(self, reply: pb.RecommendResponse) -> None:
        """What the line about this request tells."""
        self.fields |= {
            "request_id": reply.request_id,
            "release": reply.release,
            "scored": reply.scored_count,
            "shown": len(reply.items),
            "cache": reply.cache_status,
            "stage_ms": {stage: round(ms, 2) for stage, ms in reply.stage_ms.items()},
            "degraded": [f"{d.stage}:{d.reason}" for d in reply.degraded],
        }

    def __enter__(self) -> "_Handling":
        self._in_flight = self._service.telemetry.in_flight()
        self._in_flight.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        self._in_flight.__exit__(None, None, None)
        now_s = time.monotonic()
        code = "OK"
        if isinstance(error, Exception):
            refusal = _refusal(error, self._method)
            refuse(self._context, refusal, client_waits_ms=self.arrival.client_waits_ms(now_s))
            code = refusal.code.name
            self.fields["error"] = refusal.message
        elif error is not None:
            code = grpc.StatusCode.CANCELLED.name  # the client went away, or we are shutting down
        seconds = now_s - self.arrival.at_s
        self._service.telemetry.finished(self._method, code, seconds)
        self.fields |= {"code": code, "ms": round(seconds * 1000.0, 2)}
        REQUESTS.info("%s %s", self._method, code, extra={"fields": self.fields})
        return isinstance(error, Exception)


def _refusal(error: Exception, where: str) -> Refusal:
    refusal = refusal_of(error)
    if refusal.code is grpc.StatusCode.INTERNAL:
        logger.error("%s failed", where, exc_info=error)
    return refusal
