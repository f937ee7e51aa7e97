"""Filter grammar: from the text of a filter to its meaning as a tree.

    filter     = term { OR term }
    term       = factor { AND factor }
    factor     = NOT factor | "(" filter ")" | in_stock | comparison
    comparison = text ("=" | "!=") string | text [NOT] IN "(" string { "," string } ")"
               | price ("=" | "!=" | "<" | "<=" | ">" | ">=") number
    text       = category | brand | material | use | season | style | colour
    string     = "…" or '…', with \\ before a quote or a backslash
    number     = digits, with a fraction if wanted, in major units: 49.90

    category = "lamps" AND price < 50 AND in_stock AND NOT brand IN ("acme", "bright")

Keywords and attributes may be written in any case; strings match exactly. The text is hostile until
parsed: length, nesting, lists and comparisons are limited, and reading stops at the first fault.
docs/filters.md is the reference for whoever writes filters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

from shop.errors import InvalidRequest

MAX_FILTER_CHARS = 2_000
MAX_DEPTH = 16  # of NOTs and parentheses; also bounds our own recursion
MAX_VALUES = 200  # of one IN list
MAX_COMPARISONS = 32  # each one is a pass over the whole catalogue
_MINOR_PER_MAJOR = 100

TextAttribute = Literal["category", "brand", "material", "use", "season", "style", "colour"]
TEXT_ATTRIBUTES: tuple[TextAttribute, ...] = get_args(TextAttribute)
Comparator = Literal["=", "!=", "<", "<=", ">", ">="]
ATTRIBUTES = (*TEXT_ATTRIBUTES, "price", "in_stock")


@dataclass(frozen=True, slots=True)
class OneOf:
    """The text attribute is one of these; `=` is a list of one."""

    attribute: TextAttribute
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PriceIs:
    """The price shown stands in this relation to an amount in minor units (49.995 is possible)."""

    comparator: Comparator
    amount_minor: float


@dataclass(frozen=True, slots=True)
class InStock:
    """Units are on hand, or the shop does not count this product."""


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Expression"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Expression", ...]


Expression = OneOf | PriceIs | InStock | Not | AllOf | AnyOf


def parse(text: str) -> Expression:
    """Raises InvalidRequest("filter", …), saying at which character and what is allowed there."""
    if len(text) > MAX_FILTER_CHARS:
        raise InvalidRequest("filter", f"is longer than {MAX_FILTER_CHARS} characters")
    return _Parser(text).whole()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["string", "number", "word", "sign", "end"]
    text: str  # as written; of a string, its content
    at: int  # 1-based


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>\d{1,10}(?:\.\d{1,6})?(?![\w.]))
    | (?P<word>[A-Za-z_]+)
    | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMPARATORS: dict[str, Comparator] = {c: c for c in ("=", "!=", "<", "<=", ">", ">=")}
_TEXT_ATTRIBUTE_OF: dict[str, TextAttribute] = {name: name for name in TEXT_ATTRIBUTES}


def _tokens(text: str) -> Iterator[_Token]:
    """One after the other: what is wrong early is refused before the rest is read."""
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            _refuse(f"cannot read {text[start : start + 12]!r}", start + 1)
        kind, piece = found.lastgroup, found[found.lastgroup or 0]
        start = found.start(kind or 0) + 1
        if kind == "string":
            yield _Token("string", re.sub(r"\\(.)", r"\1", piece[1:-1], flags=re.S), start)
        elif kind == "number":
            yield _Token("number", piece, start)
        elif kind == "word":
            yield _Token("word", piece, start)
        else:
            yield _Token("sign", piece, start)
        at = found.end()
    yield _Token("end", "the end", len(text) + 1)


def _refuse(what: str, at: int) -> NoReturn:
    raise InvalidRequest(
        "filter", f"{what} at character {at}; attributes are {', '.join(ATTRIBUTES)}"
    )


class _Parser:
    """Recursive descent, one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)  # the first that is not taken yet
        self._comparisons = 0

    def whole(self) -> Expression:
        expression = self._filter(depth=0)
        if self._peek().kind != "end":
            self._refuse_next("expected AND, OR or the end")
        return expression

    def _filter(self, depth: int) -> Expression:
        parts = [self._term(depth)]
        while self._take_word("or"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _term(self, depth: int) -> Expression:
        parts = [self._factor(depth)]
        while self._take_word("and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _factor(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            self._refuse_next(f"nested deeper than {MAX_DEPTH}")
        if self._take_word("not"):
            return Not(self._factor(depth + 1))
        if self._take_sign("("):
            inner = self._filter(depth + 1)
            self._need_sign(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Expression:
        token = self._peek()
        name = token.text.lower() if token.kind == "word" else ""
        if name not in ATTRIBUTES:
            self._refuse_next("expected an attribute, NOT or (")
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            self._refuse_next(f"more than {MAX_COMPARISONS} comparisons")
        self._step()
        if name == "in_stock":
            return InStock()
        if name == "price":
            return PriceIs(self._comparator(*_COMPARATORS), self._amount_minor())
        return self._text_comparison(_TEXT_ATTRIBUTE_OF[name])

    def _text_comparison(self, attribute: TextAttribute) -> Expression:
        if self._take_word("not"):
            if not self._take_word("in"):
                self._refuse_next("expected IN")
            return Not(OneOf(attribute, self._values()))
        if self._take_word("in"):
            return OneOf(attribute, self._values())
        equal = self._comparator("=", "!=", otherwise=" or IN") == "="
        one = OneOf(attribute, (self._string(),))
        return one if equal else Not(one)

    def _values(self) -> tuple[str, ...]:
        self._need_sign("(")
        values = [self._string()]
        while self._take_sign(","):
            if len(values) == MAX_VALUES:
                self._refuse_next(f"more than {MAX_VALUES} values")
            values.append(self._string())
        self._need_sign(")")
        return tuple(values)

    def _comparator(self, *allowed: str, otherwise: str = "") -> Comparator:
        token = self._peek()
        if token.kind != "sign" or token.text not in allowed:
            self._refuse_next(f"expected {' '.join(allowed)}{otherwise}")
        self._step()
        return _COMPARATORS[token.text]

    def _amount_minor(self) -> float:
        token = self._peek()
        if token.kind != "number":
            self._refuse_next("expected an amount such as 49.90")
        self._step()
        return round(float(token.text) * _MINOR_PER_MAJOR, 4)  # 0.29 × 100 is 28.999…

    def _string(self) -> str:
        token = self._peek()
        if token.kind != "string":
            self._refuse_next("expected text in quotes")
        self._step()
        return token.text

    def _need_sign(self, sign: str) -> None:
        if not self._take_sign(sign):
            self._refuse_next(f"expected {sign}")

    def _take_sign(self, sign: str) -> bool:
        return self._take("sign", sign)

    def _take_word(self, word: str) -> bool:
        return self._take("word", word)

    def _take(self, kind: str, text: str) -> bool:
        token = self._peek()
        taken = token.kind == kind and token.text.lower() == text
        if taken:
            self._step()
        return taken

    def _step(self) -> None:
        self._next = next(self._tokens)

    def _peek(self) -> _Token:
        return self._next

    def _refuse_next(self, expected: str) -> NoReturn:
        token = self._peek()
        found = token.text if token.kind == "end" else repr(token.text[:40])
        _refuse(f"{expected}, found {found}", token.at)
