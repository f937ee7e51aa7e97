"""Client: the `vitrine.v1` door from Python, with our errors instead of gRPC's.

What the command line, the tests and any Python storefront use. One client holds one channel: make
it once, in a `with`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypedDict, Unpack

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from shop.errors import (
    DependencyError,
    DependencyTimeout,
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    VitrineError,
)

_DOOR = "vitrine"
_DEFAULT_TIMEOUT_S = 5.0
# A machine's HTTP proxy knows nothing of a door on its own loopback or in its own network.
_OPTIONS = (("grpc.enable_http_proxy", 0),)


class RequestFields(TypedDict, total=False):
    """The usual fields of a `RecommendRequest`, for calls without a message; see the proto."""

    placement: str
    visitor_id: str
    user_id: str
    session_id: str
    context_product_ids: Sequence[str]
    query: str
    device: str
    country: str
    page_size: int
    page_token: str
    filter: str
    strict_filtering: bool
    exclude_product_ids: Sequence[str]
    diversity: float
    explain: bool
    validate_only: bool
    request_id: str
    deadline_ms: int


class VitrineClient:
    """Asks one door. Every call raises an error of `shop.errors`."""

    def __init__(self, address: str, *, timeout_s: float = _DEFAULT_TIMEOUT_S) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
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
        if request is None:
            request = pb.RecommendRequest(**fields)
        with self._our_errors():
            response: pb.RecommendResponse = self._recommendations.Recommend(
                request, timeout=timeout_s or self._timeout_s
            )
        return response

    def recommend_many(
        self, requests: Sequence[pb.RecommendRequest], *, timeout_s: float | None = None
    ) -> Iterator[pb.RecommendManyResponse]:
        """One response per request, in order, as they are ready."""
        ask = pb.RecommendManyRequest(requests=requests)
        with self._our_errors():
            yield from self._recommendations.RecommendMany(
                ask, timeout=timeout_s or self._timeout_s
            )

    def log_events(
        self, events: Sequence[pb.Event], *, timeout_s: float | None = None
    ) -> pb.LogEventsResponse:
        """Returns once every event is on disk."""
        with self._our_errors():
            response: pb.LogEventsResponse = self._recommendations.LogEvents(
                pb.LogEventsRequest(events=events), timeout=timeout_s or self._timeout_s
            )
        return response

    def suggest_prices(
        self, product_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> pb.SuggestPriceResponse:
        """A price inside the shop's limits for each of up to 500 products. Applies nothing."""
        with self._our_errors():
            response: pb.SuggestPriceResponse = self._recommendations.SuggestPrice(
                pb.SuggestPriceRequest(product_ids=product_ids),
                timeout=timeout_s or self._timeout_s,
            )
        return response

    def is_serving(self, *, timeout_s: float = 1.0) -> bool:
        """Whether the door says that it serves. False too if nobody answers."""
        try:
            with self._our_errors():
                reply = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except DependencyError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._translated(error) from error

    def _translated(self, error: grpc.RpcError) -> VitrineError:
        code, details = error.code(), error.details() or ""
        match code:
            case grpc.StatusCode.INVALID_ARGUMENT:
                return _invalid(error, details)
            case grpc.StatusCode.NOT_FOUND:
                return NotFound(details)
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return Overloaded(details, _retry_after_ms(error))
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return DependencyTimeout(_DOOR, "no answer within the time given")
            case grpc.StatusCode.UNAVAILABLE:
                return DependencyUnavailable(
                    _DOOR,
                    f"nobody answers at {self.address}; is the stack up? see `vitrine status`",
                )
            case _:
                return DependencyUnavailable(_DOOR, f"{code.name}: {details}")


def _invalid(error: grpc.RpcError, details: str) -> InvalidRequest:
    """The first violated field, if the door named one."""
    for detail in _attached(error):
        violations = error_details_pb2.BadRequest()
        if detail.Unpack(violations) and violations.field_violations:
            first = violations.field_violations[0]
            return InvalidRequest(first.field, first.description)
    return InvalidRequest("request", details)


def _retry_after_ms(error: grpc.RpcError) -> int | None:
    """When to come back, if whoever refused the call said so."""
    for detail in _attached(error):
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry) and retry.HasField("retry_delay"):
            return int(retry.retry_delay.ToMilliseconds())
    return None


def _attached(error: grpc.RpcError) -> list[any_pb2.Any]:
    """The google.rpc details of a refusal."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    return [] if status is None else list(status.details)
