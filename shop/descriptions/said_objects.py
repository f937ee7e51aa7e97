"""Said objects: what a text says the product has, goes with or comes from, held to the facts.

These claims need no listed word: whatever stands after "it goes with" is said to go with it. So the
words there must be those of the facts that could grant it, however plain they are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from shop.descriptions.claim_words import (
    COMPATIBILITY_OPENERS,
    MATCH_OPENERS,
    ORIGIN_OPENERS,
    POSSESSION_OPENERS,
    ClaimKind,
)
from shop.descriptions.fact_index import FactIndex, Line
from shop.descriptions.plain_words import ABSTRACT_WORDS, FUNCTION_WORDS
from shop.descriptions.words import Word, stem, stems_of

_STRICT = tuple(each for each in COMPATIBILITY_OPENERS if " " in each)  # "fits" says little alone
# A comma goes on with a list where only small words follow, up to the next mark.
_LISTED = (
    r",(?! *(?:and +|or +)?(?!(?:[\w'’-]+ +){0,3}(?:in|for|of|to|is|has) )"
    r"[a-z][\w'’ -]*(?:[,.;!?\n]|$))"
)
_SENTENCE_END = re.compile(r"[.;!?\n·•|:()–—]|" + _LISTED)
_ORIGIN_END = re.compile(r"[.,;!?\n·•|:()–—]")
_TITLED = re.compile(r"\bfor\s+([^,;(–—]+)", re.IGNORECASE)
_STOPS = frozenset(
    stem(word)
    for word in (
        *("is", "are", "it", "its", "has", "have", "made", "with", "by", "from", "which", "that"),
        *("because", "while", "when", "so", "if", "where", "you", "we", "as", "at"),
    )
)
_ANY_OBJECT = frozenset(
    stem(word)
    for word in (
        *("any", "every", "day", "season", "home", "room", "look", "style", "wardrobe", "life"),
        *(
            "occasion",
            "space",
            "taste",
            "year",
            "use",
            "weather",
            "everyday",
            "daily",
            "your",
            "rest",
        ),
    )
)
_MATCHING = frozenset(
    stem(word)
    for word in (
        *("goes", "compatible", "compatibility", "suitable", "matches", "fits", "pairs", "vehicle"),
        *("works", "connects", "connectivity", "belongs", "interface", "port", "connector"),
        *("device", "supported", "supports", "ideal", "designed", "use", "used"),
    )
)
_ORIGINS = frozenset(
    stem(word)
    for word in ("made", "origin", "country", "manufactured", "produced", "region", "imported")
)
_HEADS = frozenset(("title", "category", "brand"))


@dataclass(frozen=True, slots=True)
class SaidObject:
    """What stands after an opener. `attribute` grants it; `contradicts` says something else."""

    kind: ClaimKind
    start: int
    end: int
    attribute: str | None
    contradicts: str | None = None


def said_objects(
    text: str, words: tuple[Word, ...], facts: FactIndex, own_words: frozenset[str]
) -> Iterator[SaidObject]:
    """Objects that the facts do not grant, and origins and matches that they do."""
    # what a line denies is looked at elsewhere: "non-slip" has its "slip" from a fact
    known = frozenset(one for line in facts.lines for one in (*line.stems, *line.name_stems))
    any_fact = known | own_words | _ANY_OBJECT
    for start in _ends(text, _STRICT):
        yield from _strange(ClaimKind.COMPATIBILITY, _object(text, words, start), any_fact, None)
    for start in _ends(text, POSSESSION_OPENERS):
        allowed = any_fact | _abstract_stems()
        yield from _strange(ClaimKind.FEATURE, _object(text, words, start), allowed, None)
    matching = [line for line in facts.lines if set(line.name_stems) & _MATCHING]
    for start in _ends(text, MATCH_OPENERS):
        allowed = _of(matching) | _titled(facts) | own_words | _ANY_OBJECT | frozenset(("thing",))
        said = _object(text, words, start)
        yield from _strange(ClaimKind.COMPATIBILITY, said, allowed, _first(matching))
    origins = [line for line in facts.lines if set(line.name_stems) & _ORIGINS]
    for opener in ORIGIN_OPENERS:
        # "comes from Halden" may name the brand; "made in Halden" may not
        allowed = _of(origins) | (_heads(facts) if opener.endswith("from") else frozenset())
        for start in _ends(text, (opener,)):
            said = _object(text, words, start, _ORIGIN_END)[:4]
            yield from _strange(ClaimKind.ORIGIN, said, allowed, _first(origins))


def _strange(
    kind: ClaimKind, said: list[Word], allowed: frozenset[str], known: Line | None
) -> Iterator[SaidObject]:
    """One claim over the words that are not allowed; over all, if they are and a line says so."""
    content = [word for word in said if word.stem not in _function_stems()]
    strange = [word for word in content if word.stem not in allowed]
    if strange:
        # a product has one origin, and goes with more than a list can name
        against = known.name if known is not None and kind is ClaimKind.ORIGIN else None
        yield SaidObject(kind, strange[0].start, strange[-1].end, None, against)
    elif content and known is not None and {word.stem for word in content} & set(known.stems):
        yield SaidObject(kind, content[0].start, content[-1].end, known.name)


def _object(
    text: str, words: tuple[Word, ...], start: int, ends: re.Pattern[str] = _SENTENCE_END
) -> list[Word]:
    """The words after an opener, up to where the sentence turns to something else."""
    found = ends.search(text, start)
    end = found.start() if found else len(text)
    said: list[Word] = []
    for word in words:
        if word.start < start:
            continue
        if word.end > end or (said and word.stem in _STOPS):
            break
        said.append(word)
    return said


def _ends(text: str, openers: tuple[str, ...]) -> Iterator[int]:
    """Where each of the openers ends in the text, with a colon after it."""
    for match in _pattern(openers).finditer(text):
        yield match.end()


@cache
def _pattern(openers: tuple[str, ...]) -> re.Pattern[str]:
    choices = "|".join(each.replace(" ", " +") for each in sorted(openers, key=len, reverse=True))
    return re.compile(rf"\b(?:{choices})\b *:?", re.IGNORECASE)


def _of(lines: list[Line]) -> frozenset[str]:
    return frozenset(one for line in lines if not line.denies for one in line.stems)


def _heads(facts: FactIndex) -> frozenset[str]:
    return frozenset(one for line in facts.lines if line.name in _HEADS for one in line.stems)


def _titled(facts: FactIndex) -> frozenset[str]:
    """What the title says that it is for: "sun shade for Honda Jazz"."""
    titles = (line.value for line in facts.lines if line.name == "title")
    said = (_TITLED.search(title) for title in titles)
    return frozenset(one for match in said if match for one in stems_of(match[1]))


def _first(lines: list[Line]) -> Line | None:
    return lines[0] if lines else None


@cache
def _function_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in FUNCTION_WORDS)


@cache
def _abstract_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in ABSTRACT_WORDS)
