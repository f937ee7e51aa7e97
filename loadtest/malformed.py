"""Malformed: what the door's decoders make of hostile messages, in this process.

The way of every method from raw bytes to checked values, as the door goes it: size, protobuf, field
checks, filters and tokens, and where one of them refuses, the refusal as it would be sent. Nothing
but values and InvalidRequest may come of it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from loadtest.hostile_messages import SERVICE, Hostile, Kind
from serving.ask_codec import question_of
from serving.codec import Decoder
from serving.message_sizes import too_large
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Ask
from serving.refusal import refusal_of, refuse
from serving.rerank_codec import rerank_ask
from shop.errors import InvalidRequest

TAKEN, NO_MESSAGE, REFUSED, TOO_LARGE = "taken", "no message", "refused", "too large"
_KEPT_EXAMPLES = 5
_TRAILER_BYTES = 8_192  # what gRPC lets a client be told


@dataclass(slots=True)
class Fate:
    """What became of all messages."""

    outcomes: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    untyped: int = 0
    examples: list[tuple[str, str, str]] = field(default_factory=list)  # error, method, hex
    slowest_ms: float = 0.0  # of CPU, for one message
    slowest: str = ""
    trailer_bytes: int = 0  # of the longest refusal

    def count_of(self, outcome: str) -> int:
        """Messages of every kind that ended so."""
        return sum(count for (_, found), count in self.outcomes.items() if found == outcome)

    @property
    def messages(self) -> int:
        """All of them."""
        return self.outcomes.total() + self.untyped


@dataclass(slots=True)
class Edge:
    """The door's decoders."""

    decoder: Decoder
    fate: Fate = field(default_factory=Fate)

    def put(self, hostile: Iterable[Hostile]) -> None:
        """Decodes them all and counts what became of them; raises nothing that they cause."""
        for each in hostile:
            began_ns = time.thread_time_ns()
            self._put_one(each)
            ms = (time.thread_time_ns() - began_ns) / 1e6
            if ms > self.fate.slowest_ms:
                self.fate.slowest_ms = ms
                self.fate.slowest = f"{each.method}, {each.kind}, {len(each.raw):,} bytes"

    def _put_one(self, each: Hostile) -> None:
        try:
            outcome = self.outcome_of(each)
        # Whatever it is, it is what is looked for; RecursionError and MemoryError among them.
        except Exception as error:  # noqa: BLE001
            self.fate.untyped += 1
            if len(self.fate.examples) < _KEPT_EXAMPLES:
                told = f"{type(error).__name__}: {error}"[:200]
                self.fate.examples.append((told, each.method, each.raw.hex()[:2_000]))
        else:
            self.fate.outcomes[each.kind, outcome] += 1

    def outcome_of(self, each: Hostile) -> str:
        """Raises whatever the decoders raise beside InvalidRequest."""
        if too_large(f"/{SERVICE.full_name}/{each.method}", each.raw):
            return TOO_LARGE
        try:
            message = _TYPES[each.method].FromString(each.raw)
        except DecodeError:
            return NO_MESSAGE
        try:
            _READ[each.method](self.decoder, message)
        except InvalidRequest as error:
            sent = _Sent()
            refuse(sent, refusal_of(error))
            if sent.code is not grpc.StatusCode.INVALID_ARGUMENT:
                raise ValueError(f"refused as {sent.code}") from error
            self.fate.trailer_bytes = max(self.fate.trailer_bytes, sent.size_bytes)
            if sent.size_bytes > _TRAILER_BYTES:
                raise ValueError(f"a refusal of {sent.size_bytes} bytes") from error
            return REFUSED
        return TAKEN


def _ask(decoder: Decoder, message: pb.RecommendRequest) -> None:
    _sound(decoder.ask(message))


def _many(decoder: Decoder, message: pb.RecommendManyRequest) -> None:
    """Each by itself, as the gateway does; refused if any of them is."""
    refused = None
    for each in message.requests:
        try:
            _ask(decoder, each)
        except InvalidRequest as error:
            refused = error
    if refused is not None:
        raise refused


def _rerank(decoder: Decoder, message: pb.RerankRequest) -> None:
    asked = rerank_ask(message, decoder)
    _sound(asked.ask)


def _sound(ask: Ask) -> None:
    """What the stages rely on. Raises ValueError."""
    if not 1 <= ask.page_size <= 500 or not 0.0 <= ask.diversity <= 1.0:
        raise ValueError(f"taken with {ask.page_size} a page, diversity {ask.diversity}")
    ask.fingerprint()


def _question(decoder: Decoder, message: pb.AskRequest) -> None:
    question = question_of(message, decoder)
    _sound(question.ask)
    if not question.text.strip():
        raise ValueError("taken without a question")


_READ: Mapping[str, Callable[[Decoder, Any], object]] = {
    "Recommend": _ask,
    "RecommendMany": _many,
    "Rerank": _rerank,
    "LogEvents": Decoder.events,
    "SuggestPrice": Decoder.price_ask,
    "Ask": _question,
}
_TYPES: Mapping[str, type[Message]] = {
    method.name: GetMessageClass(method.input_type) for method in SERVICE.methods
}


class _Sent:
    """What of a gRPC context a refusal needs, and how much it would send."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.size_bytes = 0

    def set_code(self, code: grpc.StatusCode) -> None:
        """Kept."""
        self.code = code

    def set_details(self, details: str) -> None:
        """Percent-encoded on the wire."""
        raw = details.encode()
        plain = sum(32 <= byte < 127 and byte != 37 for byte in raw)
        self.size_bytes += plain + 3 * (len(raw) - plain)

    def set_trailing_metadata(self, trailers: list[tuple[str, str | bytes]]) -> None:
        """Binary ones are base64 on the wire."""
        for _, value in trailers:
            self.size_bytes += -(-len(value) // 3) * 4 if isinstance(value, bytes) else len(value)
