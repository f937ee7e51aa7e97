"""Client: the `vitrine.v1` door from Python, with our errors instead of gRPC's.

What the command line, the tests and any Python storefront use. One client holds one channel: make
it once, in a `with`, and share it between threads. For asyncio there is `serving.async_client`.
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, Unpack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client_calls import (
    ASK_TIMEOUT_S,
    DEFAULT_TIMEOUT_S,
    AskFields,
    ClientTls,
    EventFields,
    EventKind,
    RequestFields,
    RerankFields,
    authorized,
    channel_options,
    new_event,
    our_errors,
    request_of,
)
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from shop.errors import DependencyError

__all__ = [
    "AskFields",
    "ClientTls",
    "EventFields",
    "EventKind",
    "RequestFields",
    "VitrineClient",
    "new_event",
]


class VitrineClient:
    """Asks one door. Every call raises an error of `shop.errors`.

    `timeout_s` is the whole time for a call, retries included; each call may name its own. Without
    `retries` a lost or shed call is raised at once: for whoever measures the door. `tls` is for
    doors that speak it, `token` for doors that ask for one.
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
        options = channel_options(retries=retries)
        self._channel = (
            grpc.insecure_channel(address, options=options)
            if tls is None
            else grpc.secure_channel(address, tls.credentials(), options=options)
        )
        self._recommendations = rpc.RecommendationsStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """The client cannot be used any more."""
        self._channel.close()

    def recommend(
        self,
        request: pb.RecommendRequest | None = None,
        *,
        timeout_s: float | None = None,
        **fields: Unpack[RequestFields],
    ) -> pb.RecommendResponse:
        """A ranked list for one shopper and one placement, asked as a message or by its fields."""
        ask = request_of(request, fields)
        with our_errors(self.address):
            response: pb.RecommendResponse = self._recommendations.Recommend(
                ask, timeout=self._within(timeout_s), metadata=self._metadata
            )
        return response

    def recommend_many(
        self, requests: Sequence[pb.RecommendRequest], *, timeout_s: float | None = None
    ) -> Iterator[pb.RecommendManyResponse]:
        """One response per request, in order, as they are ready."""
        ask = pb.RecommendManyRequest(requests=requests)
        with our_errors(self.address):
            stream = self._recommendations.RecommendMany(
                ask, timeout=self._within(timeout_s), metadata=self._metadata
            )
            try:
                yield from stream
            finally:
                stream.cancel()  # whoever stops reading wants no more lists made

    def rerank(
        self,
        product_ids: Sequence[str],
        *,
        timeout_s: float | None = None,
        **fields: Unpack[RerankFields],
    ) -> pb.RerankResponse:
        """These products, of a list of the caller's own, in the order of this shopper's lists."""
        ask = pb.RerankRequest(product_ids=product_ids, **fields)
        with our_errors(self.address):
            response: pb.RerankResponse = self._recommendations.Rerank(
                ask, timeout=self._within(timeout_s), metadata=self._metadata
            )
        return response

    def log_events(
        self, events: Sequence[pb.Event], *, timeout_s: float | None = None
    ) -> pb.LogEventsResponse:
        """Returns once every event is on disk. `new_event` makes them so that they count once."""
        with our_errors(self.address):
            response: pb.LogEventsResponse = self._recommendations.LogEvents(
                pb.LogEventsRequest(events=events),
                timeout=self._within(timeout_s),
                metadata=self._metadata,
            )
        return response

    def suggest_prices(
        self, product_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> pb.SuggestPriceResponse:
        """A price inside the shop's limits for each of up to 500 products. Applies nothing."""
        with our_errors(self.address):
            response: pb.SuggestPriceResponse = self._recommendations.SuggestPrice(
                pb.SuggestPriceRequest(product_ids=product_ids),
                timeout=self._within(timeout_s),
                metadata=self._metadata,
            )
        return response

    def ask(
        self, question: str, *, timeout_s: float = ASK_TIMEOUT_S, **fields: Unpack[AskFields]
    ) -> Iterator[pb.AskResponse]:
        """Products, sentences about them as they are written, and what came of the question."""
        with our_errors(self.address):
            stream = self._recommendations.Ask(
                pb.AskRequest(question=question, **fields),
                timeout=timeout_s,
                metadata=self._metadata,
            )
            try:
                yield from stream
            finally:
                stream.cancel()  # whoever stops reading wants nothing more written

    def is_serving(self, *, timeout_s: float = 1.0) -> bool:
        """Whether the door says that it serves. False too if nobody answers."""
        try:
            with our_errors(self.address):
                reply = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except DependencyError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def _within(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s
