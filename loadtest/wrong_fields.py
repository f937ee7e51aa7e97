"""Wrong fields: messages that are well-formed and hold the worst values of every field's type."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_LONG, _LONGER = 5_000, 20_000
_DEEP = 4_000  # brackets: a parser that calls itself would run out of stack
# Past every limit of a list's length; rare, because it costs a millisecond.
_MANY = 1_100


@dataclass(frozen=True, slots=True)
class WrongFields:
    """Puts wrong values into messages."""

    chance: random.Random
    tokens: Sequence[str]  # real ones, of which damaged ones are made

    def spoil(self, message: Message, depth: int = 0) -> None:
        """Some of its fields, each with a value of its type that nobody reckons with."""
        fields: list[FieldDescriptor] = list(message.DESCRIPTOR.fields)
        for each in self.chance.sample(fields, self.chance.randrange(1, min(5, len(fields) + 1))):
            if _is_map(each):
                for _ in range(self._count()):
                    getattr(message, each.name)[self._text()] = self._text()
            elif each.message_type is not None:
                self._spoil_within(message, each, depth)
            elif each.is_repeated:
                getattr(message, each.name).extend(self._value(each) for _ in range(self._count()))
            else:
                setattr(message, each.name, self._value(each))

    def _spoil_within(self, message: Message, each: FieldDescriptor, depth: int) -> None:
        if not each.is_repeated:
            self.spoil(getattr(message, each.name), depth + 1)
            return
        count = min(self._count(), 3) if depth else self._count()
        for _ in range(count):
            inner = getattr(message, each.name).add()
            # What is there a thousand times is empty: its number is the point.
            if count < _MANY:
                self.spoil(inner, depth + 1)

    def _count(self) -> int:
        return _MANY if self.chance.random() < 0.01 else self.chance.choice((1, 1, 2, 11))

    def _value(self, each: FieldDescriptor) -> Any:
        match each.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if each.type == FieldDescriptor.TYPE_BYTES:
                return self._text().encode()
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text()
            case FieldDescriptor.CPPTYPE_DOUBLE:
                return self.chance.choice(_DOUBLES)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self.chance.random() < 0.5
            case FieldDescriptor.CPPTYPE_INT64:
                return self.chance.choice(_INTEGERS)
            case _:  # 32 bits, or an enum, which takes any
                return self.chance.choice(_SMALL_INTEGERS)

    def _text(self) -> str:
        chance = self.chance
        if chance.random() < 0.6:
            return chance.choice(_TEXTS)
        if chance.random() < 0.5:
            token = chance.choice(self.tokens)
            at = chance.randrange(len(token) + 1)
            return token[:at] + chance.choice("A=-_/é ") + token[at + 1 :]
        return "".join(map(chr, (_some_character(chance) for _ in range(chance.randrange(80)))))


def _some_character(chance: random.Random) -> int:
    code = chance.choice((chance.randrange(128), chance.randrange(0x800), chance.randrange(0xD800)))
    return chance.randrange(0xE000, 0x110000) if chance.random() < 0.05 else code


def _is_map(each: FieldDescriptor) -> bool:
    kind: Descriptor | None = each.message_type
    return kind is not None and kind.GetOptions().map_entry


_DOUBLES = (
    *(0.0, -0.0, 1.0, -1.0, 100.0, 1e-320, 1e300, -1e300),
    *(float("nan"), float("inf"), float("-inf")),
)
_SMALL_INTEGERS = (0, 1, -1, 20, 500, 501, 1_000_000, 2**31 - 1, -(2**31))
_INTEGERS = (*_SMALL_INTEGERS, 946_684_800_000, 1_750_000_000_000, 2**63 - 1, -(2**63), 10**15)
_TEXTS = (
    *("", "home", "search", "click", "dwell", "EUR", "title", "in_stock", "p1", " "),
    *("\x00", "a\x00b", "\x1b[2J", "\u202egnp.exe", "\ufeff", "\ufffd", "\U0010ffff", "é" * 64),
    *("x" * 129, "x" * _LONG, "é" * _LONGER, "%s%n%d", "{0.__class__}", "../../etc/passwd"),
    *("' OR 1=1 --", "<script>", "A" * 200 + "=", "-" * 44, "=" * 4, "AQ" * 9_000),
    *("(" * _DEEP, "NOT " * _DEEP + "in_stock", "(" * 60 + "in_stock" + ")" * 60),
    *("price < 1e999", "price < 9" + "9" * 400, "price < ٣", 'brand = "' + "\\" * 99, "price <"),
    *(" AND ".join(["in_stock"] * 900), 'category IN ("' + '", "'.join("abc" * 300) + '")'),
    *("dresses under $99999999999999999999", "under $ between -5 and", "$" * 400, "über 50 €"),
)
