"""Claims: everything a text asserts of a product, each traced to the attribute that grants it.

Numbers with units are compared as quantities, names of sockets and sizes letter by letter, words of
the claim lists as phrases of a fact, and every other word must be known to claim nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from shop.descriptions.claim_words import CLAIM_WORDS, ClaimKind
from shop.descriptions.effects import effects_in, grant_of
from shop.descriptions.fact_index import FactIndex as FactIndex
from shop.descriptions.fact_index import Grant, Stems
from shop.descriptions.measures import (
    OUTER_MEASURES,
    measures_named,
    measures_of,
    measures_told,
    untold_names,
)
from shop.descriptions.negation import is_negated
from shop.descriptions.plain_words import FUNCTION_WORDS, PLAIN_WORDS
from shop.descriptions.quantities import Quantity, codes_in, quantities_in
from shop.descriptions.said_objects import said_objects
from shop.descriptions.told_lines import title_spans, told_lines
from shop.descriptions.words import Word, stem, stems_of, words_of

Spans = list[tuple[int, int]]
_PHRASE = re.compile(r"[\w'’%]+(?:[ ./-]{1,2}[\w'’%]+)*")
_HARMLESS = re.compile(r"\bat (?:its|their|your) best\b", re.IGNORECASE)
_DENIAL = re.compile(
    r"\b(?:no|without|lacks|lacking|free of|(?:has|is|does|do|are) not(?: have)?|isn['’]t"
    r"|doesn['’]t have) +(?:an? +|any +|the +|its +)?",
    re.IGNORECASE,
)
_MORE_SUPERLATIVES = re.compile(
    r"\bworld['’]s\b|#\s?1\b|\bmost\s+\w+|\bno\.\s?1\b|\b100\s?%(?!\s+\w+)", re.IGNORECASE
)
_POSSESSING = frozenset(stem(word) for word in ("a", "an", "with", "has", "its", "built", "plus"))


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


def claims_in(
    text: str, facts: FactIndex, own_words: frozenset[str] = frozenset()
) -> tuple[Claim, ...]:
    """All claims of a text, in order. `own_words` [stems] is vocabulary that claims nothing."""
    words = words_of(text)
    found = list(_told(text, words, facts))
    taken = [each.span for each in told_lines(text, words, facts)]
    taken += title_spans(words, facts)
    found += _numbers(text, words, facts, taken)
    found += _codes(text, facts, taken)
    found += _more_superlatives(text, facts, found)
    taken += [(claim.start, claim.end) for claim in found]
    taken += [match.span() for match in _HARMLESS.finditer(text)]
    phrases = list(_phrases(text, words, facts, taken))
    objects = list(_objects(text, words, facts, own_words, taken))
    found += phrases + objects
    covered = [*taken, *((claim.start, claim.end) for claim in (*phrases, *objects))]
    effects = list(_effects(text, facts, taken))
    found += effects
    told = [*taken, *((claim.start, claim.end) for claim in found)]
    found += _denials(text, words, facts, told)
    found += _denied_features(text, words, facts, covered)
    found += _unknown_words(text, words, facts, covered, own_words)
    return tuple(sorted(found, key=lambda claim: (claim.start, claim.end)))


def _told(text: str, words: tuple[Word, ...], facts: FactIndex) -> Iterator[Claim]:
    """Lines that are told by name: a number where the value is one, else a feature."""
    for told in told_lines(text, words, facts):
        said = text[told.start : told.end]
        kind = ClaimKind.NUMBER if quantities_in(said) else ClaimKind.FEATURE
        against = None if told.is_right else told.line
        yield Claim(kind, said, told.start, told.end, told.line, against)


def _numbers(text: str, words: tuple[Word, ...], facts: FactIndex, taken: Spans) -> Iterator[Claim]:
    for said in quantities_in(text):
        if _is_within(said.start, said.end, taken):
            continue
        named = measures_named(text, said, words) & OUTER_MEASURES
        granting = [
            line.name
            for line in facts.lines
            if any(said.agrees_with(known) for known in line.quantities)
            and (not named or named & measures_told(line))
        ]
        meant = _lines_meant(text, said, words, facts)
        other = meant[0] if meant and not set(granting) & set(meant) else None
        preferred = next((name for name in granting if name in meant), None)
        granted = preferred or (granting[0] if granting else None)
        yield Claim(
            ClaimKind.NUMBER, text[said.start : said.end], said.start, said.end, granted, other
        )


def _lines_meant(text: str, said: Quantity, words: tuple[Word, ...], facts: FactIndex) -> list[str]:
    """Lines about what this number measures or counts, by the words around it."""
    named = measures_named(text, said, words)
    meant = [
        line.name
        for line in facts.lines
        if measures_of(line) & named
        and any(known.dimension == said.dimension for known in line.quantities)
    ]
    return meant or ([] if said.unit else _lines_counting(text, said, words, facts))


def _lines_counting(
    text: str, said: Quantity, words: tuple[Word, ...], facts: FactIndex
) -> list[str]:
    """ "3 pockets" is told by "number of pockets: 2" and by "features: 2 pockets"."""
    thing = next((word for word in words if word.start >= said.end), None)
    if thing is None or text[said.end : thing.start].strip(" -") or thing.stem in _function_stems():
        return []
    found = []
    for line in facts.lines:
        bare = [known for known in line.quantities if not known.unit]
        counts = thing.stem in line.name_stems and line.quantities_are_all
        follows = any(stems_of(line.value[known.end :])[:1] == (thing.stem,) for known in bare)
        if bare and (counts or follows):
            found.append(line.name)
    return found


def _codes(text: str, facts: FactIndex, taken: Spans) -> Iterator[Claim]:
    for code, start, end in codes_in(text):
        if not _is_within(start, end, taken):
            granted = next((line.name for line in facts.lines if code in line.codes), None)
            yield Claim(ClaimKind.CODE, text[start:end], start, end, granted)


def _more_superlatives(text: str, facts: FactIndex, found: list[Claim]) -> Iterator[Claim]:
    for match in _MORE_SUPERLATIVES.finditer(text):
        if any(
            each.start < match.end() and match.start() < each.end and each.is_grounded
            for each in found
        ):
            continue
        grant = facts.granting(stems_of(match.group()))
        yield Claim(
            ClaimKind.SUPERLATIVE, match.group(), match.start(), match.end(), grant.attribute
        )


def _phrases(text: str, words: tuple[Word, ...], facts: FactIndex, taken: Spans) -> Iterator[Claim]:
    at = 0
    while at < len(words):
        matched = _phrase_at(text, words, at)
        if matched is None or _overlaps(words[at], taken):
            at += 1
            continue
        kind, phrase = matched
        last = words[at + len(phrase) - 1]
        grant = _grant(text, words, at, phrase, facts)
        span = text[words[at].start : last.end]
        yield Claim(kind, span, words[at].start, last.end, grant.attribute, grant.contradicts)
        at += len(phrase)


def _grant(text: str, words: tuple[Word, ...], at: int, phrase: Stems, facts: FactIndex) -> Grant:
    """What the facts say of the words from this one on, as they stand here."""
    end = at + len(phrase)
    return facts.granting(
        phrase,
        is_denied=is_negated(text, words, at, len(phrase)),
        before=words[at - 1].stem if at else "",
        after=words[end].stem if end < len(words) else "",
    )


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


def _denials(text: str, words: tuple[Word, ...], facts: FactIndex, taken: Spans) -> Iterator[Claim]:
    """What a fact grants and the text says the product has not: "without a wall mounting kit"."""
    for match in _DENIAL.finditer(text):
        at = next((n for n, each in enumerate(words) if each.start >= match.end()), None)
        if at is None or words[at].start > match.end() + 1 or _overlaps(words[at], taken):
            continue
        word = words[at]
        if word.stem in _function_stems():
            continue
        grant = facts.granting((word.stem,), is_denied=True)
        if grant.contradicts not in (None, "title"):
            span = text[word.start : word.end]
            yield Claim(
                ClaimKind.FEATURE, span, word.start, word.end, grant.attribute, grant.contradicts
            )


def _denied_features(
    text: str, words: tuple[Word, ...], facts: FactIndex, taken: Spans
) -> Iterator[Claim]:
    """What a line says there is none of and the text tells: "with an alarm" of "alarm: no"."""
    for line in facts.lines:
        core = line.denied_core
        if not core or set(core) <= _function_stems():
            continue
        for at in range(len(words) - len(core) + 1):
            there = words[at : at + len(core)]
            if tuple(word.stem for word in there) != core or _overlaps(there[0], taken):
                continue
            is_told_as_had = at > 0 and words[at - 1].stem in _POSSESSING
            if len(core) == 1 and core[0] in _plain_stems() and not is_told_as_had:
                continue
            if _grant(text, words, at, core, facts).contradicts is not None:
                span = text[there[0].start : there[-1].end]
                yield Claim(
                    ClaimKind.FEATURE, span, there[0].start, there[-1].end, line.name, line.name
                )


def _objects(
    text: str, words: tuple[Word, ...], facts: FactIndex, own_words: frozenset[str], taken: Spans
) -> Iterator[Claim]:
    """What the product is said to have, to go with or to come from."""
    for said in said_objects(text, words, facts, own_words):
        if not _is_within(said.start, said.end, taken):
            span = text[said.start : said.end]
            yield Claim(said.kind, span, said.start, said.end, said.attribute, said.contradicts)


def _effects(text: str, facts: FactIndex, taken: Spans) -> Iterator[Claim]:
    """What the product is said to do, in words that claim nothing alone."""
    for start, end in effects_in(text):
        if not _is_within(start, end, taken):
            grant = grant_of(text[start:end], facts)
            yield Claim(ClaimKind.FEATURE, text[start:end], start, end, grant.attribute)


def _unknown_words(
    text: str,
    words: tuple[Word, ...],
    facts: FactIndex,
    covered: Spans,
    own_words: frozenset[str],
) -> Iterator[Claim]:
    untold = untold_names(facts.lines)
    for at, word in enumerate(words):
        is_known = (
            (word.stem in _plain_stems() and word.stem not in untold)
            or word.stem in facts.stems
            or word.stem in own_words
            or not any(character.isalpha() for character in word.stem)
            or len(word.stem) == 1
        )
        if is_known or _overlaps(word, covered):
            continue
        span = text[word.start : word.end]
        if word.stem in facts.denied and is_negated(text, words, at, 1):
            yield Claim(ClaimKind.WORD, span, word.start, word.end, facts.denied[word.stem])
            continue
        against = facts.denied.get(word.stem)
        kind = ClaimKind.FEATURE if against else ClaimKind.WORD
        yield Claim(kind, span, word.start, word.end, against, against)


def _overlaps(word: Word, spans: Spans) -> bool:
    return any(start < word.end and word.start < end for start, end in spans)


def _is_within(start: int, end: int, spans: Spans) -> bool:
    return any(first <= start and end <= last for first, last in spans)


@cache
def _plain_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in PLAIN_WORDS)


@cache
def _function_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in FUNCTION_WORDS)
