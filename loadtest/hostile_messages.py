"""Hostile messages: what might come through the door in place of a sound one, as raw bytes.

Made from a seed, so that what once broke something can be made again. Some begin as sound messages
and are then spoilt on the wire: bits turned over, an end cut off, pieces of another put in. Some
are well-formed and wrong: every field may hold the worst value of its type. Some are bytes that no
writer of protobuf would make.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from loadtest.wrong_fields import WrongFields
from serving.proto import recommendations_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Recommendations"]
METHODS = tuple(method.name for method in SERVICE.methods)
_PLACEMENTS = ("home", "product", "cart", "category", "search", "email")
_EVENTS = ("click", "cart", "remove", "purchase", "return", "review", "dwell", "search")
_FILTERS = ("price < 50 AND in_stock", 'category IN ("lamps", "rugs")', 'NOT brand = "acme"')
_WIRE_TYPES = 8  # 6 and 7 mean nothing
_HIGHEST_FIELD = 40  # some known, some not


class Kind(StrEnum):
    """How a message was made."""

    SOUND = "sound"
    FIELDS = "wrong fields"
    BITS = "turned bits"
    CUT = "cut off"
    SPLICED = "spliced"
    WIRE = "wrong wire types and lengths"
    RANDOM = "random bytes"


_SHARES = {
    Kind.SOUND: 4,
    Kind.FIELDS: 26,
    Kind.BITS: 22,
    Kind.CUT: 14,
    Kind.SPLICED: 12,
    Kind.WIRE: 14,
    Kind.RANDOM: 8,
}


@dataclass(frozen=True, slots=True)
class Hostile:
    """One message, for a method that may not even be its own."""

    method: str
    kind: Kind
    raw: bytes


MakeSound = Callable[[random.Random, "Real"], Message]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A service, and how a sound message for each of its methods is made."""

    service: ServiceDescriptor
    sound: Mapping[str, MakeSound]


@dataclass(frozen=True, slots=True)
class Real:
    """What sound messages hold: values that the shop knows, tokens that it gave away."""

    products: Sequence[str] = ("p1", "p2", "p3")
    page_tokens: Sequence[str] = ("",)
    attribution_tokens: Sequence[str] = ("",)


@dataclass(slots=True)
class HostileMessages:
    """An endless supply, for the methods of one service."""

    seed: int
    real: Real = field(default_factory=Real)
    spoken: Spoken = field(default_factory=lambda: RECOMMENDATIONS)
    _chance: random.Random = field(init=False)
    _wrong: WrongFields = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        tokens = (*self.real.page_tokens, *self.real.attribution_tokens)
        self._wrong = WrongFields(self._chance, tokens)

    def __iter__(self) -> Iterator[Hostile]:
        kinds, shares = list(_SHARES), list(_SHARES.values())
        while True:
            (kind,) = self._chance.choices(kinds, shares)
            method = self._method()
            yield Hostile(method, kind, self._raw(kind, method))

    def _raw(self, kind: Kind, method: str) -> bytes:
        match kind:
            case Kind.SOUND:
                return self.sound(method)
            case Kind.FIELDS:
                return self._of_wrong_fields(method)
            case Kind.BITS:
                return self._with_turned_bits(self._usual(method))
            case Kind.CUT:
                raw = self._usual(method)
                return raw[: self._chance.randrange(len(raw) + 1)]
            case Kind.SPLICED:
                return self._spliced(self._usual(method))
            case Kind.WIRE:
                return self._off_the_wire(method)
            case Kind.RANDOM:
                return self._chance.randbytes(self._chance.randrange(600))

    def _usual(self, method: str) -> bytes:
        """What is spoilt: mostly a sound message, now and then one with wrong fields."""
        wrong = self._chance.random() < 0.1
        return self._of_wrong_fields(method) if wrong else self.sound(method)

    def sound(self, method: str) -> bytes:
        """A message that the door takes."""
        return self.spoken.sound[method](self._chance, self.real).SerializeToString()

    def _method(self) -> str:
        return self._chance.choice(self.spoken.service.methods).name

    def _with_turned_bits(self, raw: bytes) -> bytes:
        spoilt = bytearray(raw)
        if spoilt:
            for _ in range(self._chance.choice((1, 1, 1, 2, 4, 16))):
                spoilt[self._chance.randrange(len(spoilt))] ^= 1 << self._chance.randrange(8)
        return bytes(spoilt)

    def _spliced(self, raw: bytes) -> bytes:
        """A piece of another method's message, or of the same, put in or over."""
        other = self.sound(self._method())
        begin = self._chance.randrange(len(other) + 1)
        piece = other[begin : begin + self._chance.randrange(1, 60)]
        at = self._chance.randrange(len(raw) + 1)
        skipped = self._chance.choice((0, 0, len(piece)))
        return raw[:at] + piece + raw[at + skipped :]

    def _off_the_wire(self, method: str) -> bytes:
        """Fields with any wire type, lengths that lie, numbers without an end."""
        chance = self._chance
        parts = [self.sound(method)] if chance.random() < 0.5 else []
        for _ in range(chance.randrange(1, 8)):
            tag = varint(chance.randrange(_HIGHEST_FIELD) << 3 | chance.randrange(_WIRE_TYPES))
            body = chance.choice(
                (
                    b"",
                    b"\xff" * chance.randrange(12),  # a varint that does not end
                    varint(chance.choice((0, 1, 127, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1))),
                    varint(chance.randrange(200)) + chance.randbytes(chance.randrange(200)),
                    varint(8) + b"\xc3\x28\xed\xa0\x80\xf8\x88\x80",  # no UTF-8
                    b"\x0b" * chance.randrange(200),  # groups inside groups
                    varint(1 << 30),  # more than there is
                )
            )
            parts.append(tag + body)
        chance.shuffle(parts)
        return b"".join(parts)

    def _of_wrong_fields(self, method: str) -> bytes:
        message = GetMessageClass(self.spoken.service.methods_by_name[method].input_type)()
        if self._chance.random() < 0.5:
            message.MergeFromString(self.sound(method))
        self._wrong.spoil(message)
        return message.SerializeToString()


def varint(value: int) -> bytes:
    """As protobuf writes a number."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _recommend(chance: random.Random, real: Real) -> pb.RecommendRequest:
    request = pb.RecommendRequest(
        placement=chance.choice(_PLACEMENTS),
        user_id=f"hostile-{chance.randrange(1_000)}",
        session_id=f"s{chance.randrange(100)}",
        request_id=f"r{chance.randrange(1 << 32)}",
        device="mobile",
        country="DE",
        page_size=chance.choice((0, 1, 20, 500)),
        diversity=chance.random(),
        explain=chance.random() < 0.2,
        context_product_ids=chance.sample(real.products, 2),
        cart=[pb.CartItem(product_id=chance.choice(real.products), quantity=1)],
        recent_events=[_recent(chance, real) for _ in range(chance.randrange(4))],
        page_token=chance.choice(real.page_tokens) if chance.random() < 0.3 else "",
    )
    if chance.random() < 0.4:
        request.filter = chance.choice(_FILTERS)
        request.boosts.add(filter=chance.choice(_FILTERS), factor=2.0)
        request.promotions.add(filter=chance.choice(_FILTERS), percent=10.0)
    if request.placement == "search":
        request.query = "summer dresses under $50"
    return request


def _recent(chance: random.Random, real: Real) -> pb.RecentEvent:
    return pb.RecentEvent(type=chance.choice(_EVENTS), product_id=chance.choice(real.products))


def _many(chance: random.Random, real: Real) -> pb.RecommendManyRequest:
    requests = [_recommend(chance, real) for _ in range(chance.randrange(1, 4))]
    return pb.RecommendManyRequest(requests=requests)


def _rerank(chance: random.Random, real: Real) -> pb.RerankRequest:
    ids = chance.sample(real.products, min(3, len(real.products)))
    return pb.RerankRequest(
        placement="search",
        user_id=f"hostile-{chance.randrange(1_000)}",
        product_ids=ids,
        scores=[chance.random() for _ in ids],
        score_weight=1.0,
    )


def _events(chance: random.Random, real: Real) -> pb.LogEventsRequest:
    return pb.LogEventsRequest(
        events=[
            pb.Event(
                idempotency_key=f"k{chance.randrange(1 << 40)}",
                type=chance.choice(_EVENTS),
                user_id=f"hostile-{chance.randrange(1_000)}",
                product_id=chance.choice(real.products),
                attribution_token=chance.choice(real.attribution_tokens),
            )
            for _ in range(chance.randrange(1, 4))
        ]
    )


def _prices(chance: random.Random, real: Real) -> pb.SuggestPriceRequest:
    return pb.SuggestPriceRequest(product_ids=chance.sample(real.products, 2))


def _question(chance: random.Random, real: Real) -> pb.AskRequest:
    return pb.AskRequest(
        question=chance.choice(("which lamps are there?", "a warm winter coat under 80")),
        user_id=f"hostile-{chance.randrange(1_000)}",
        context_product_ids=chance.sample(real.products, 2),
        cart=[pb.CartItem(product_id=chance.choice(real.products), quantity=1)],
        filter=chance.choice(("", *_FILTERS)),
        country="DE",
        seed=chance.randrange(1 << 31),
    )


RECOMMENDATIONS = Spoken(
    SERVICE,
    {
        "Recommend": _recommend,
        "RecommendMany": _many,
        "Rerank": _rerank,
        "LogEvents": _events,
        "SuggestPrice": _prices,
        "Ask": _question,
    },
)
