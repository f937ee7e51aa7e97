"""Asynchronous client: the `vitrine.v1` door from asyncio, otherwise as `serving.client`."""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self, Unpack

from serving.client_calls import (
    ASK_TIMEOUT_S,
    DEFAULT_TIMEOUT_S,
    AskFields,
    ClientTls,
    RequestFields,
    RerankFields,
    async_channel,
    authorized,
    our_errors,
    request_of,
)
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc


class AsyncVitrineClient:
    """Asks one door. Every call raises an error of `shop.errors`. Make it inside the running loop.

    `timeout_s` is the whole time for a call, retries included; each call may name its own.
    `token` is for doors that ask for one.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: bool = True,
        tls: ClientTls | None = None,
        token: str | None = None,
    ) -> None:
        self.address = address
        self._metadata = authorized(token)
        self._timeout_s = timeout_s
        self._channel = async_channel(address, retries=retries, tls=tls)
        self._recommendations = rpc.RecommendationsStub(self._channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """The client cannot be used any more."""
        await self._channel.close(None)

    async def recommend(
        self,
        request: pb.RecommendRequest | None = None,
        *,
        timeout_s: float | None = None,
        **fields: Unpack[RequestFields],
    ) -> pb.RecommendResponse:
        """A ranked list for one shopper and one placement, asked as a message or by its fields."""
        ask = request_of(request, fields)
        with our_errors(self.address):
            response: pb.RecommendResponse = await self._recommendations.Recommend(
                ask, timeout=self._within(timeout_s), metadata=self._metadata
            )
        return response

    async def recommend_many(
        self, requests: Sequence[pb.RecommendRequest], *, timeout_s: float | None = None
    ) -> AsyncIterator[pb.RecommendManyResponse]:
        """One response per request, in order, as they are ready."""
        ask = pb.RecommendManyRequest(requests=requests)
        with our_errors(self.address):
            stream = self._recommendations.RecommendMany(
                ask, timeout=self._within(timeout_s), metadata=self._metadata
            )
            try:
                async for response in stream:
                    yield response
            finally:
                stream.cancel()  # whoever stops reading wants no more lists made

    async def rerank(
        self,
        product_ids: Sequence[str],
        *,
        timeout_s: float | None = None,
        **fields: Unpack[RerankFields],
    ) -> pb.RerankResponse:
        """These products, of a list of the caller's own, in the order of this shopper's lists."""
        ask = pb.RerankRequest(product_ids=product_ids, **fields)
        with our_errors(self.address):
            response: pb.RerankResponse = await self._recommendations.Rerank(
                ask, timeout=self._within(timeout_s), metadata=self._metadata
            )
        return response

    async def log_events(
        self, events: Sequence[pb.Event], *, timeout_s: float | None = None
    ) -> pb.LogEventsResponse:
        """Returns once every event is on disk; see `serving.client.new_event`."""
        with our_errors(self.address):
            response: pb.LogEventsResponse = await self._recommendations.LogEvents(
                pb.LogEventsRequest(events=events),
                timeout=self._within(timeout_s),
                metadata=self._metadata,
            )
        return response

    async def suggest_prices(
        self, product_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> pb.SuggestPriceResponse:
        """A price inside the shop's limits for each of up to 500 products. Applies nothing."""
        with our_errors(self.address):
            response: pb.SuggestPriceResponse = await self._recommendations.SuggestPrice(
                pb.SuggestPriceRequest(product_ids=product_ids),
                timeout=self._within(timeout_s),
                metadata=self._metadata,
            )
        return response

    async def ask(
        self, question: str, *, timeout_s: float = ASK_TIMEOUT_S, **fields: Unpack[AskFields]
    ) -> AsyncIterator[pb.AskResponse]:
        """Products, sentences about them as they are written, and what came of the question."""
        with our_errors(self.address):
            stream = self._recommendations.Ask(
                pb.AskRequest(question=question, **fields),
                timeout=timeout_s,
                metadata=self._metadata,
            )
            try:
                async for response in stream:
                    yield response
            finally:
                stream.cancel()  # whoever stops reading wants nothing more written

    def _within(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s
