"""Claims: everything a text asserts of a product, each traced to the attribute that grants it.

Numbers with units are compared as quantities, names of sockets and sizes letter by letter, words of
the claim lists as phrases of a fact, and every other word must be known to claim nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from shop.descriptions.claim_words import (
    CLAIM_WORDS,
    COMPATIBILITY_OPENERS,
    MEASURE_WORDS,
    NEGATIONS,
    ClaimKind,
)
from shop.descriptions.facts import Facts
from shop.descriptions.plain_words import FUNCTION_WORDS, PLAIN_WORDS
from shop.descriptions.quantities import Quantity, codes_in, quantities_in
from shop.descriptions.words import Word, stem, stems_of, words_of

Stems = tuple[str, ...]
# Of these the object must stand in the facts, even if its words are plain.
_STRICT_OPENERS = frozenset(COMPATIBILITY_OPENERS) - {"fits", "suits", "supports"}
_CLAUSE_ENDS = re.compile(
    r"\.(?!\d)|[;!?·•\n]|,(?!\d)|\band\b|\bwith\b(?!\s+a\s+(?:width|height|depth|length))"
)
_PHRASE = re.compile(r"[\w'’%]+(?:[\s./-]{1,2}[\w'’%]+)*")
_HARMLESS = re.compile(r"\bat (?:its|their|your) best\b", re.IGNORECASE)
_ANY_OBJECT = frozenset(
    stem(word)
    for word in (
        *("any", "every", "day", "season", "home", "room", "look", "style", "wardrobe", "life"),
        *("occasion", "space", "taste", "year", "use", "weather", "everyday", "daily", "your"),
    )
)
_LABEL_WORDS = frozenset(stems_of(word) for word in ("certified", "certificate", "certification"))
_DENIAL = re.compile(
    r"\b(?:no|without|lacks|lacking|free\s+of|(?:has|is|does|do|are)\s+not(?:\s+have)?|isn['’]t"
    r"|doesn['’]t\s+have)\s+(?:an?\s+|any\s+|the\s+|its\s+)?",
    re.IGNORECASE,
)
_MORE_SUPERLATIVES = re.compile(
    r"\bworld['’]s\b|#\s?1\b|\bmost\s+\w+|\bno\.\s?1\b|\b100\s?%(?!\s+\w+)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One assertion of a text, where it stands, and what grants it."""

    kind: ClaimKind
    text: str
    start: int
    end: int
    attribute: str | None  # name of the fact that grants it
    contradicts: str | None = None  # name of the fact that says otherwise

    @property
    def is_grounded(self) -> bool:
        """Whether a fact grants it and none denies it."""
        return self.attribute is not None and self.contradicts is None


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    stems: Stems  # of the value
    name_stems: Stems
    quantities: tuple[Quantity, ...]
    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class FactIndex:
    """A product's facts, ready to be compared with many texts."""

    lines: tuple[_Line, ...]
    stems: frozenset[str]  # of all names and values

    @staticmethod
    def of(facts: Facts) -> "FactIndex":
        """Attributes before the title, so that a claim is traced to what is most precise."""
        ordered = sorted(facts.lines, key=lambda each: each.name == "title")
        lines = tuple(
            _Line(
                each.name,
                stems_of(each.text),
                stems_of(each.name),
                quantities_in(each.text),
                frozenset(code for code, _, _ in codes_in(each.text)),
            )
            for each in ordered
        )
        known = {one for line in lines for one in (*line.stems, *line.name_stems)}
        return FactIndex(lines, frozenset(known))

    def granting(self, phrase: Stems) -> str | None:
        """The attribute in whose value (or name and value) the phrase stands, word by word."""
        for line in self.lines:
            if phrase in _LABEL_WORDS and line.name == "certification":
                return line.name
            if _stands_in(phrase, line.stems) or _stands_in(phrase, line.name_stems + line.stems):
                return line.name
        return None


def claims_in(
    text: str, facts: FactIndex, own_words: frozenset[str] = frozenset()
) -> tuple[Claim, ...]:
    """All claims of a text, in order. `own_words` [stems] is vocabulary that claims nothing."""
    words = words_of(text)
    found = [*_numbers(text, words, facts), *_codes(text, facts)]
    found += _more_superlatives(text, facts, found)
    taken = [(claim.start, claim.end) for claim in found]
    taken += [match.span() for match in _HARMLESS.finditer(text)]
    phrases = list(_phrases(text, words, facts, taken))
    found += phrases
    objects = list(_objects(text, words, facts))
    covered = [*taken, *((claim.start, claim.end) for claim in (*phrases, *objects))]
    found += objects
    found += _denials(text, words, facts, [(claim.start, claim.end) for claim in found])
    found += _unknown_words(text, words, facts, covered, own_words)
    return tuple(sorted(found, key=lambda claim: (claim.start, claim.end)))


def _numbers(text: str, words: tuple[Word, ...], facts: FactIndex) -> Iterator[Claim]:
    for said in quantities_in(text):
        granting = [
            line.name
            for line in facts.lines
            if any(said.agrees_with(known) for known in line.quantities)
        ]
        named = _measures_named(text, said, words)
        meant = [line.name for line in facts.lines if _measures_of(line) & named]
        other = meant[0] if meant and not set(granting) & set(meant) else None
        preferred = next((name for name in granting if name in meant), None)
        granted = preferred or (granting[0] if granting else None)
        yield Claim(
            ClaimKind.NUMBER, text[said.start : said.end], said.start, said.end, granted, other
        )


def _measures_named(text: str, said: Quantity, words: tuple[Word, ...]) -> frozenset[str]:
    """What the clause around a number says that it measures."""
    starts = [m.end() for m in _CLAUSE_ENDS.finditer(text, 0, said.start)]
    start = starts[-1] if starts else 0
    after = _CLAUSE_ENDS.search(text, said.end)
    end = after.start() if after else len(text)
    inside = (word.stem for word in words if start <= word.start and word.end <= end)
    measures = _measure_stems()
    return frozenset(measures[one] for one in inside if one in measures)


def _measures_of(line: _Line) -> frozenset[str]:
    if not line.quantities:
        return frozenset()
    measures = _measure_stems()
    return frozenset(measures[one] for one in line.name_stems if one in measures)


@cache
def _measure_stems() -> dict[str, str]:
    return {stem(word): measure for word, measure in MEASURE_WORDS.items()}


def _codes(text: str, facts: FactIndex) -> Iterator[Claim]:
    for code, start, end in codes_in(text):
        granted = next((line.name for line in facts.lines if code in line.codes), None)
        yield Claim(ClaimKind.CODE, text[start:end], start, end, granted)


def _more_superlatives(text: str, facts: FactIndex, found: list[Claim]) -> Iterator[Claim]:
    for match in _MORE_SUPERLATIVES.finditer(text):
        if any(
            each.start < match.end() and match.start() < each.end and each.is_grounded
            for each in found
        ):
            continue
        granted = facts.granting(stems_of(match.group()))
        yield Claim(ClaimKind.SUPERLATIVE, match.group(), match.start(), match.end(), granted)


def _phrases(
    text: str, words: tuple[Word, ...], facts: FactIndex, taken: list[tuple[int, int]]
) -> Iterator[Claim]:
    at = 0
    while at < len(words):
        matched = _phrase_at(text, words, at)
        if matched is None or _overlaps(words[at], taken):
            at += 1
            continue
        kind, phrase = matched
        last = words[at + len(phrase) - 1]
        granted = facts.granting(phrase)
        denied = granted if granted and _is_negated(words, at, len(phrase), text) else None
        span = text[words[at].start : last.end]
        yield Claim(kind, span, words[at].start, last.end, granted, denied)
        at += len(phrase)


def _phrase_at(text: str, words: tuple[Word, ...], at: int) -> tuple[ClaimKind, Stems] | None:
    """The longest phrase of the claim lists that begins at this word; no mark stands in it."""
    for kind, phrase in _by_first_stem().get(words[at].stem, ()):
        there = words[at : at + len(phrase)]
        if tuple(word.stem for word in there) != phrase:
            continue
        if _PHRASE.fullmatch(text[there[0].start : there[-1].end]):
            return kind, phrase
    return None


@cache
def _by_first_stem() -> dict[str, list[tuple[ClaimKind, Stems]]]:
    table: dict[str, list[tuple[ClaimKind, Stems]]] = {}
    for kind, phrases in CLAIM_WORDS.items():
        for phrase in phrases:
            stems = stems_of(phrase)
            if stems:
                table.setdefault(stems[0], []).append((kind, stems))
    for choices in table.values():
        choices.sort(key=lambda choice: -len(choice[1]))
    return table


def _is_negated(words: tuple[Word, ...], at: int, length: int, text: str) -> bool:
    """ "no hood", "without a hood", "hood-free"; not "non-slip", which is the phrase itself."""
    before = text[words[max(0, at - 3)].start : words[at].start].casefold()
    before = re.split(r"[.;!?,\n]", before)[-1]
    if re.search(r"\bnot\s+(?:only|just)\b", before):
        return False
    if re.search(rf"\b(?:{'|'.join(re.escape(each) for each in NEGATIONS)})\b", before):
        return True
    following = words[at + length] if at + length < len(words) else None
    return following is not None and following.stem == "free" and text[following.start - 1] == "-"


def _denials(
    text: str, words: tuple[Word, ...], facts: FactIndex, taken: list[tuple[int, int]]
) -> Iterator[Claim]:
    """What a fact grants and the text says the product has not: "without a wall mounting kit"."""
    for match in _DENIAL.finditer(text):
        word = next((each for each in words if each.start >= match.end()), None)
        if word is None or word.start > match.end() + 1 or _overlaps(word, taken):
            continue
        if word.stem in _function_stems():
            continue
        granted = facts.granting((word.stem,))
        if granted is not None and granted != "title":
            span = text[word.start : word.end]
            yield Claim(ClaimKind.FEATURE, span, word.start, word.end, granted, granted)


def _objects(text: str, words: tuple[Word, ...], facts: FactIndex) -> Iterator[Claim]:
    """What the product is said to be compatible with, where a fact does not say so."""
    for opener in sorted(_STRICT_OPENERS):
        for match in re.finditer(rf"\b{opener}\b", text, re.IGNORECASE):
            after = re.compile(r"[.;!?\n,]").search(text, match.end())
            end = after.start() if after else len(text)
            strange = [
                word
                for word in words
                if match.end() <= word.start
                and word.end <= end
                and word.stem not in _function_stems()
                and word.stem not in _ANY_OBJECT
                and word.stem not in facts.stems
            ]
            if strange:
                start, stop = strange[0].start, strange[-1].end
                yield Claim(ClaimKind.COMPATIBILITY, text[start:stop], start, stop, None)


def _unknown_words(
    text: str,
    words: tuple[Word, ...],
    facts: FactIndex,
    covered: list[tuple[int, int]],
    own_words: frozenset[str],
) -> Iterator[Claim]:
    for word in words:
        is_known = (
            word.stem in _plain_stems()
            or word.stem in facts.stems
            or word.stem in own_words
            or not any(character.isalpha() for character in word.stem)
            or len(word.stem) == 1
        )
        if not is_known and not _overlaps(word, covered):
            span = text[word.start : word.end]
            yield Claim(ClaimKind.WORD, span, word.start, word.end, None)


def _overlaps(word: Word, spans: list[tuple[int, int]]) -> bool:
    return any(start < word.end and word.start < end for start, end in spans)


def _stands_in(phrase: Stems, line: Stems) -> bool:
    if len(phrase) == 1:
        return phrase[0] in line
    return any(line[at : at + len(phrase)] == phrase for at in range(len(line) - len(phrase) + 1))


@cache
def _plain_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in PLAIN_WORDS)


@cache
def _function_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in FUNCTION_WORDS)
