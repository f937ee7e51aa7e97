"""Search query: what a shopper wrote, as constraints that hold exactly and words that rank.

"Linen dresses, not black, under $50" is material = linen and category = dresses and NOT colour =
black and price < 50; "linen dresses" is what is searched for inside of that. Values of one
attribute are alternatives, different attributes must all hold. What a phrase may name is the
vocabulary's knowledge; only function words (prices, "not", "in stock") are written here.

A query is hostile until parsed: the caller limits its bytes, here its words and corrections are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shop.filter_grammar import AllOf, AnyOf, Expression, InStock, Not, OneOf, TextAttribute
from shop.search_prices import find_prices
from shop.search_vocabulary import MAX_PHRASE_WORDS, SearchVocabulary, Value
from shop.words import STOP_WORDS, forms, plain, words_of

MAX_QUERY_WORDS = 32  # what comes after them is not read
_MOST_CORRECTIONS = 4  # some 450 words are tried for each, 0.1 ms
_IN_STOCK = re.compile(r"\b(?:(?:in|on)\s+stock|available(?:\s+now)?|ready\s+to\s+ship)\b")
_NEGATIONS = frozenset(("not", "no", "without", "except", "non"))


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """What was understood."""

    constraints: tuple[Expression, ...]  # all of them hold for what was asked for
    words: tuple[str, ...]  # to search for, plain and corrected; none: constraints say it all
    open_words: tuple[str, ...]  # of these, what no constraint says
    corrections: tuple[tuple[str, str], ...]  # written, taken for
    unknown_words: tuple[str, ...]  # no product has them, nor anything one letter away
    currency: str  # ISO 4217 that was named; amounts count in the shop's all the same

    @property
    def has_meaning(self) -> bool:
        """Whether anything in it says something about this catalogue."""
        return bool(self.constraints) or len(self.words) > len(self.unknown_words)


def parse_query(text: str, vocabulary: SearchVocabulary) -> ParsedQuery:
    """Never fails: what is not understood is searched for as words."""
    prices = find_prices(plain(text))
    rest, in_stock_count = _IN_STOCK.subn(" | ", prices.rest)
    reader = _Reader(vocabulary)
    for part in rest.split("|"):  # no phrase reaches across what was taken out
        reader.read(words_of(part))
    always = (*prices.constraints, *((InStock(),) if in_stock_count else ()))
    return ParsedQuery(
        constraints=(*reader.constraints(), *always),
        words=tuple(reader.words),
        open_words=tuple(reader.open_words),
        corrections=tuple(reader.corrections.items()),
        unknown_words=tuple(dict.fromkeys(reader.unknown)),
        currency=prices.currency,
    )


def all_of(constraints: Sequence[Expression]) -> Expression | None:
    """One expression for all of them; None for none."""
    if len(constraints) <= 1:
        return constraints[0] if constraints else None
    return AllOf(tuple(constraints))


def relaxations(constraints: Sequence[Expression]) -> list[tuple[Expression, ...]]:
    """Ever weaker forms, the constraints themselves first and no constraint last.

    What was asked for is kept longest: first the finer points go, then price and stock.
    """
    names = [_attributes(each) for each in constraints]
    essential = ("category", "price", "in_stock")
    pairs = list(zip(constraints, names, strict=True))
    tries = [
        tuple(constraints),
        tuple(each for each, named in pairs if named <= set(essential)),
        tuple(each for each, named in pairs if named == {"category"}),
        (),
    ]
    return list(dict.fromkeys(tries))


def _attributes(expression: Expression) -> set[str]:
    match expression:
        case OneOf(attribute, _):
            return {attribute}
        case Not(part):
            return _attributes(part)
        case AllOf(parts) | AnyOf(parts):
            return set().union(*map(_attributes, parts))
        case InStock():
            return {"in_stock"}
        case _:
            return {"price"}


class _Reader:
    """Reads words from left to right, the longest phrase first."""

    def __init__(self, vocabulary: SearchVocabulary) -> None:
        self._vocabulary = vocabulary
        self._wanted: dict[TextAttribute, dict[str, None]] = {}
        self._ambiguous: list[tuple[Value, ...]] = []
        self._refused: dict[TextAttribute, dict[str, None]] = {}
        self.words: dict[str, None] = {}
        self.open_words: dict[str, None] = {}
        self.corrections: dict[str, str] = {}
        self._tried: set[str] = set()  # to correct
        self.unknown: list[str] = []
        self._left = MAX_QUERY_WORDS

    def read(self, written: Sequence[str]) -> None:
        words = [self._spelt(word) for word in written[: self._left]]
        self._left -= len(words)
        at = 0
        while at < len(words):
            refuses = words[at] in _NEGATIONS
            length, named = self._phrase_at(words, at + refuses)
            if length:
                self._take(named, refuses=refuses)
                if not refuses:
                    self._add_words(self._as_told(words[at : at + length], named))
                at += refuses + length
            else:
                self.open_words |= dict.fromkeys(self._add_words(words[at : at + 1]))
                at += 1

    def constraints(self) -> tuple[Expression, ...]:
        alternatives = (
            AnyOf(tuple(OneOf(attribute, (value,)) for attribute, value in named))
            for named in self._ambiguous
        )
        return (
            *(OneOf(attribute, tuple(values)) for attribute, values in self._wanted.items()),
            *dict.fromkeys(alternatives),
            *(Not(OneOf(attribute, tuple(values))) for attribute, values in self._refused.items()),
        )

    def _spelt(self, word: str) -> str:
        if word in STOP_WORDS or word in _NEGATIONS or self._vocabulary.knows(word):
            return word
        if word in self._vocabulary.phrases:
            return word
        if word not in self._tried and len(self._tried) < _MOST_CORRECTIONS:
            self._tried.add(word)
            corrected = self._vocabulary.corrected(word)
            if corrected is not None:
                self.corrections[word] = corrected
        return self.corrections.get(word, word)

    def _phrase_at(self, words: Sequence[str], at: int) -> tuple[int, tuple[Value, ...]]:
        for length in range(min(MAX_PHRASE_WORDS, len(words) - at), 0, -1):
            head = words[at : at + length - 1]
            for last in forms(words[at + length - 1]):
                named = self._vocabulary.phrases.get(" ".join((*head, last)))
                if named is not None:
                    return length, named
        return 0, ()

    def _take(self, named: tuple[Value, ...], *, refuses: bool) -> None:
        if refuses or len(named) == 1:
            kept = self._refused if refuses else self._wanted
            for attribute, value in named:
                kept.setdefault(attribute, {})[value] = None
        else:
            self._ambiguous.append(named)

    def _as_told(self, words: Sequence[str], named: tuple[Value, ...]) -> Sequence[str]:
        """The words that products have: "tshirt" is written "t-shirts" there."""
        if all(self._vocabulary.words.get(word, 0) for word in words):
            return words
        return words_of(named[0][1])

    def _add_words(self, words: Sequence[str]) -> list[str]:
        """Those of them that are searched for."""
        telling = [word for word in words if word not in STOP_WORDS and word not in _NEGATIONS]
        self.words |= dict.fromkeys(telling)
        self.unknown += [
            word
            for word in telling
            if not self._vocabulary.knows(word) and word not in self._vocabulary.phrases
        ]
        return telling
