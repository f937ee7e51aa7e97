"""What both clients say and hear: requests and events by their fields, retries, errors of ours.

Loads gRPC and the protobuf messages only: a storefront needs neither models nor numpy.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, Unpack, cast

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from serving.proto import recommendations_pb2 as pb
from shop.errors import (
    DependencyTimeout,
    DependencyUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    Unauthenticated,
    VitrineError,
)

DEFAULT_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 15.0  # a model writes; the door gives up after ten seconds by default
_DOOR = "vitrine"
_UNCONNECTED = ("failed to connect", "connections to all backends failing")  # gRPC's own words
_SERVICE_CONFIG = Path(__file__).parent / "proto" / "service_config.json"

# The values of `shop.events.EventType`, which would load numpy; a test keeps them the same.
EventKind = Literal[
    "impression",
    "click",
    "cart",
    "remove",
    "abandon",
    "purchase",
    "return",
    "review",
    "dwell",
    "search",
]


class RequestFields(TypedDict, total=False):
    """The fields of a `RecommendRequest`, for calls without a message; see the proto."""

    placement: str
    visitor_id: str
    user_id: str
    session_id: str
    context_product_ids: Sequence[str]
    cart: Sequence[pb.CartItem]
    recent_events: Sequence[pb.RecentEvent]
    query: str
    device: str
    country: str
    currency: str
    segment: str
    utc_offset_minutes: int
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
    boosts: Sequence[pb.Boost]
    promotions: Sequence[pb.Promotion]
    preview: bool
    return_fields: Sequence[str]
    experiment_overrides: Mapping[str, str]


class RerankFields(TypedDict, total=False):
    """The fields of a `RerankRequest` beside its products, for calls without a message."""

    placement: str
    visitor_id: str
    user_id: str
    session_id: str
    context_product_ids: Sequence[str]
    cart: Sequence[pb.CartItem]
    recent_events: Sequence[pb.RecentEvent]
    device: str
    country: str
    currency: str
    segment: str
    utc_offset_minutes: int
    page_size: int
    diversity: float
    explain: bool
    deadline_ms: int
    boosts: Sequence[pb.Boost]
    return_fields: Sequence[str]
    request_id: str
    scores: Sequence[float]
    score_weight: float
    sold_out: pb.SoldOut


class AskFields(TypedDict, total=False):
    """The fields of an `AskRequest` beside its question, for calls without a message."""

    visitor_id: str
    user_id: str
    session_id: str
    context_product_ids: Sequence[str]
    cart: Sequence[pb.CartItem]
    device: str
    country: str
    currency: str
    segment: str
    filter: str
    strict_filtering: bool
    deadline_ms: int
    request_id: str
    seed: int


class EventFields(TypedDict, total=False):
    """The fields of an `Event` beside its type; see the proto."""

    idempotency_key: str
    user_id: str
    visitor_id: str
    session_id: str
    product_id: str
    time_ms: int
    quantity: int
    price_minor: int
    attribution_token: str
    position: int
    value: float
    query: str
    placement: str
    device: str
    country: str
    dwell_ms: int
    result_count: int
    discount: float


def new_event(kind: EventKind, **fields: Unpack[EventFields]) -> pb.Event:
    """An event with a key of its own, unless one is given: sent twice, it counts once."""
    fields.setdefault("idempotency_key", uuid.uuid4().hex)
    return pb.Event(type=kind, **fields)


def request_of(request: pb.RecommendRequest | None, fields: RequestFields) -> pb.RecommendRequest:
    """The message given, or one made of the fields. Raises TypeError if both were given."""
    if request is None:
        return pb.RecommendRequest(**fields)
    if fields:
        raise TypeError(f"a request and fields beside it ({', '.join(fields)}): give one of them")
    return request


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How to speak to a door with TLS. All are PEM."""

    ca: bytes | None = None  # who must have signed the door's certificate; None: gRPC's own list
    certificate: bytes | None = None  # ours, for doors that ask for one
    key: bytes | None = None

    @staticmethod
    def of_files(
        ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
    ) -> "ClientTls":
        """Read now. Raises OSError if one is not there."""
        read = (None if file is None else file.read_bytes() for file in (ca, certificate, key))
        return ClientTls(*read)

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC takes them."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


def channel_options(*, retries: bool) -> list[tuple[str, int | str]]:
    """How a channel to the door behaves.

    With retries, UNAVAILABLE and RESOURCE_EXHAUSTED are asked again as `service_config.json` says:
    within the call's own deadline, after the wait that the door names, and at most a tenth more
    calls than were asked.
    """
    # A machine's HTTP proxy knows nothing of a door on its own loopback or in its own network.
    options: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]
    if retries:
        return [*options, ("grpc.service_config", _SERVICE_CONFIG.read_text())]
    return [*options, ("grpc.enable_retries", 0)]


def async_channel(address: str, *, retries: bool, tls: "ClientTls | None") -> grpc.aio.Channel:
    """To a door, for the running loop: with TLS if the door speaks it."""
    options = channel_options(retries=retries)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, tls.credentials(), options=options)


def authorized(token: str | None) -> tuple[tuple[str, str], ...] | None:
    """The metadata that shows a token, with every call; None: the door asks for none."""
    return None if token is None else (("authorization", f"Bearer {token}"),)


def read_token(file: Path) -> str:
    """The token in a file, as `vitrine token create --out` writes it.

    Raises NotFound if it cannot be read, and InvalidRequest if it holds no token.
    """
    try:
        text = file.read_text(errors="replace").strip()
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror}; name a file with a token") from error
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise InvalidRequest("token", f"{file} holds no token")
    return text


@contextmanager
def our_errors(address: str) -> Iterator[None]:
    """What gRPC raises inside the block leaves it as an error of `shop.errors`."""
    try:
        yield
    except grpc.RpcError as error:
        raise _translated(error, address) from error


def _translated(error: grpc.RpcError, address: str) -> VitrineError:
    code, details = error.code(), error.details() or ""
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return _invalid(error, details)
        case grpc.StatusCode.NOT_FOUND:
            return NotFound(details)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(details, _retry_after_ms(error))
        case grpc.StatusCode.UNAUTHENTICATED:
            return Unauthenticated(details)
        case grpc.StatusCode.PERMISSION_DENIED:
            return Forbidden(details)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DependencyTimeout(_DOOR, "no answer within the time given")
        case grpc.StatusCode.UNAVAILABLE:
            return _unavailable(details, address)
        case _:
            return DependencyUnavailable(_DOOR, f"{code.name}: {details}")


def _unavailable(details: str, address: str) -> DependencyUnavailable:
    """What the door says is missing, or that there is no door."""
    if details.startswith(_UNCONNECTED):  # a door's own words begin with whom it misses
        reason = (
            f"nobody answers at {address}; is the stack up? see `vitrine status`;"
            " a door with TLS answers to clients with TLS alone"
        )
        return DependencyUnavailable(_DOOR, reason)
    return DependencyUnavailable(_DOOR, f"{details} (asked at {address})")


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
    """The google.rpc details of a refusal; none if they are damaged or of another refusal."""
    try:
        status = rpc_status.from_call(cast(grpc.Call, error))  # has all of it that is read there
    except (ValueError, DecodeError):
        return []
    return [] if status is None else list(status.details)
