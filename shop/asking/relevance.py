"""Relevance: which lines of the shown products a question asks about, by its words.

"What is the seat height?" asks for the line of that name, "anything for the winter?" for the lines
that say so, "how much?" for the price, "coats" for nothing in particular: then every line answers.
A question that names something which no line has, and nothing else, is answered by none. A product
that is called by words of its own title is the only one that is asked about.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from shop.asking.facts import AVAILABILITY, PRICE
from shop.descriptions.claim_words import CLAIM_WORDS, MEASURE_WORDS, ClaimKind
from shop.descriptions.fact_index import stands_in
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.plain_words import FUNCTION_WORDS, PLAIN_WORDS
from shop.descriptions.words import stem, stems_of

Lines = tuple[Attribute, ...]
Stems = frozenset[str]
# Words that ask, and name nothing.
_ASKING = """
    affordable anything best buy cheap cheaper cheapest consider do does expensive find get give
    have hello help hey hi interested kind know like list looking love mean need offer offers
    options please product products recommend say search searching sell shop show something
    suggest tell thank thanks thing things want wish would
"""
_OF_PRICE = """
    budget cheap cheaper cheapest affordable cost costs euro euros dollar dollars expensive money
    pay pounds price priced prices spend
"""
_OF_STOCK = "available availability stock sold"
_HAVE_IT = re.compile(r"\b(?:have|buy|get|order)\s+(?:it|this|these|them|one)\b", re.IGNORECASE)
_HOW_MUCH = re.compile(r"\bhow\s+much\b", re.IGNORECASE)
_UP_TO = re.compile(
    r"\b(?:under|below|up\s+to|less\s+than|at\s+most|max|between|for|around|about)\s+[€$£]?\s?\d",
    re.IGNORECASE,
)
# Questions after a fact: what they name and no line has is a fact that is missing. "A nice lamp",
# "do you have something for a child" only wish for something.
_AFTER_A_FACT = re.compile(
    r"^\W*(?:what|which|how|is|are|does|tell\s+me)\b|\bknow\b|^\W*\w+\W*$", re.I
)
_HOW = re.compile(r"\bhow\s+(\w+)", re.IGNORECASE)
_MADE_OF = re.compile(r"\bmade\s+(?:of|from|out)\b", re.IGNORECASE)
_SIZES = ("width", "height", "depth", "length", "diameter", "size", "dimension")
# Words of a question, and words of the names of lines that answer it.
_MEANT: dict[str, tuple[str, ...]] = {
    "big": _SIZES, "large": _SIZES, "small": _SIZES, "size": _SIZES, "dimension": _SIZES,
    "measurement": _SIZES, "fabric": ("material", "fabric"), "material": ("material", "fabric"),
    "colour": ("colour", "color"), "color": ("colour", "color"), "guarantee": ("warranty",),
}  # fmt: skip
_KINDS: dict[ClaimKind, tuple[str, ...]] = {
    ClaimKind.COLOUR: ("colour", "color"),
    ClaimKind.MATERIAL: ("material", "fabric"),
}
# Of names that many lines have: alone they ask for none of them.
_VAGUE = frozenset(stem(word) for word in ("number", "type", "name", "kind", "ideal", "other"))


@dataclass(frozen=True, slots=True)
class AskedLines:
    """For each product, in order, the lines that answer."""

    lines: tuple[Lines, ...]
    is_named: bool  # False: the question names none, and any of them answers


def asked_lines(question: str, products: Sequence[Facts]) -> AskedLines:
    """Those that the question names; all of each product where it names nothing."""
    words = stems_of(question)
    subject = frozenset(
        one for facts in products for one in stems_of(f"{facts.title} {facts.category}")
    )
    content = frozenset(words) - _empty_words()
    named = content - subject
    lines = [line for facts in products for line in _lines(facts)]
    names, known = _names(question, words, named, lines)
    valued = named - known
    wants_price = bool(content & _stems(_OF_PRICE)) or _UP_TO.search(question) is not None
    if _HOW_MUCH.search(question) and not names and not content & _measures().keys():
        wants_price = True
    wants_stock = bool(content & _stems(_OF_STOCK))
    told = frozenset(one for line in lines for one in _told(line))
    is_named = bool(names or valued & told or wants_price or wants_stock)
    if not is_named and not named and _HAVE_IT.search(question):
        is_named = wants_stock = True
    if is_named:
        meant = _meant_products(content, products)
        return AskedLines(
            tuple(
                tuple(
                    line
                    for line in _lines(facts)
                    if line.name in names
                    or (line.name == PRICE and wants_price)
                    or (line.name == AVAILABILITY and wants_stock)
                    or _told(line) & valued
                )
                if facts in meant
                else ()
                for facts in products
            ),
            is_named=True,
        )
    unknown = frozenset(one for one in named if any(map(str.isalpha, one)))
    if not _AFTER_A_FACT.search(question) and content & subject:
        unknown -= _plain_stems()
    if unknown:
        return AskedLines(tuple(() for _ in products), is_named=True)
    return AskedLines(tuple(facts.attributes for facts in products), is_named=False)


def _lines(facts: Facts) -> Lines:
    return tuple(line for line in facts.lines if line.name != "title")


def _names(
    question: str, words: tuple[str, ...], named: Stems, lines: Sequence[Attribute]
) -> tuple[frozenset[str], Stems]:
    """Names of lines that the question says, and the words of it that say them.

    Each word asks for the lines whose names it fits best: "seat height" for no other height.
    """
    meant = {word: frozenset((word, *_others(word))) for word in named}
    for match in _HOW.finditer(question):  # "long" is a small word elsewhere
        if (word := stem(match[1])) in _measures():
            meant[word] = frozenset((word, *_others(word)))
    if _MADE_OF.search(question):
        meant["made of"] = _stems("material fabric")
    found: set[str] = set()
    known: set[str] = set()
    for word, ways in meant.items():
        fits = {line.name: _fit(line.name, ways, meant) for line in lines}
        best = max(fits.values(), default=(0.0, 0))
        if best > (0.0, 0):
            known.add(word)
            # "blue" asks for every line of colours, "big" for all that tells a size
            is_wide = word == "made of" or word in _meant_words()
            found |= {name for name, fit in fits.items() if fit == best or (is_wide and fit[1])}
    for line in lines:  # "type", "use", "goes with": nothing but small or vague words
        whole = stems_of(line.name)
        if not _own_words(line.name) - _VAGUE and stands_in(whole, words):
            found.add(line.name)
            known |= set(whole)
    return frozenset(found), frozenset(known)


def _fit(name: str, ways: Stems, meant: dict[str, Stems]) -> tuple[float, int]:
    """The share (0..1) of a name's words that the question says, and how many; `ways` is one."""
    own = _own_words(name)
    if not (own - _VAGUE) & ways:
        return (0.0, 0)
    said = sum(any(one in each for each in meant.values()) for one in own)
    return said / len(own), said


def _others(word: str) -> Stems:
    """What else may name a line that a word asks for: "wide" the width, "blue" the colour."""
    other = {_measures()[word]} if word in _measures() else set()
    other |= {stem(one) for one in _meant_words().get(word, ())}
    return frozenset(other)


def _meant_products(content: Stems, products: Sequence[Facts]) -> Sequence[Facts]:
    """Those that are called by words of their own titles; all where that tells none apart."""
    titles = [frozenset(stems_of(facts.title)) for facts in products]
    common = frozenset.intersection(*titles) if titles else frozenset()
    common |= {one for facts in products for one in stems_of(facts.category)}
    hits = [len((title - common) & content) for title in titles]
    most = max(hits, default=0)
    return [facts for facts, hit in zip(products, hits, strict=True) if hit == most]


def _own_words(name: str) -> Stems:
    return frozenset(stems_of(name)) - _stems_of_words(FUNCTION_WORDS)


def _told(line: Attribute) -> Stems:
    """Words of its value; a number alone asks for no line, for it may be a price."""
    said = frozenset(one for one in stems_of(line.text) if any(map(str.isalpha, one)))
    return said - _stems_of_words(FUNCTION_WORDS)


@cache
def _stems(words: str) -> Stems:
    return _stems_of_words(frozenset(words.split()))


@cache
def _stems_of_words(words: frozenset[str]) -> Stems:
    return frozenset(stem(word) for word in words)


@cache
def _empty_words() -> Stems:
    return _stems_of_words(FUNCTION_WORDS) | (_stems(_ASKING) - _stems(_OF_PRICE))


@cache
def _plain_stems() -> Stems:
    return _stems_of_words(PLAIN_WORDS)


@cache
def _measures() -> dict[str, str]:
    """ "wide" asks for a width."""
    return {stem(word): stem(measure) for word, measure in MEASURE_WORDS.items()}


@cache
def _meant_words() -> dict[str, tuple[str, ...]]:
    """The table above by stems, and every colour and material that the claim lists know."""
    values = {
        stem(phrase): names
        for kind, names in _KINDS.items()
        for phrase in CLAIM_WORDS[kind]
        if " " not in phrase
    }
    return values | {stem(word): names for word, names in _MEANT.items()}
