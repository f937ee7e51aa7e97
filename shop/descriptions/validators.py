"""Validators: a draft against its product's facts and the shop's style; the faults by name.

Each validator is a function from the draft to its faults. What needs a library (reading grade,
language) comes measured; the brand's voice is scored by `brand`.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from shop.descriptions.claim_words import ClaimKind
from shop.descriptions.claims import Claim, FactIndex, claims_in
from shop.descriptions.draft import MAX_TEXT_LENGTH, Draft
from shop.descriptions.facts import Facts
from shop.descriptions.faults import Fault, FaultKind
from shop.descriptions.injection import looks_injected
from shop.descriptions.style import StyleGuide
from shop.descriptions.tellings import plain
from shop.descriptions.told_lines import value_stands
from shop.descriptions.words import stem, stems_of

_LANGUAGE_WORDS = 12  # of fewer nobody can tell the language
_FAULT_OF = {
    ClaimKind.NUMBER: FaultKind.NUMBER,
    ClaimKind.CODE: FaultKind.NUMBER,
    ClaimKind.COMPATIBILITY: FaultKind.COMPATIBILITY,
    ClaimKind.CERTIFICATION: FaultKind.CERTIFICATION,
    ClaimKind.SUPERLATIVE: FaultKind.SUPERLATIVE,
}
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


@dataclass(frozen=True, slots=True)
class Measured:
    """What libraries say of a text."""

    grade: float  # Flesch–Kincaid school grade of the full sentences
    language: str  # ISO 639-1


@dataclass(frozen=True, slots=True)
class Checked:
    """All that was found in one draft."""

    claims: tuple[Claim, ...]
    faults: tuple[Fault, ...]
    coverage: float  # share of the attributes that the text tells

    @property
    def is_blocked(self) -> bool:
        """Whether it may never be shown as it is."""
        return any(fault.is_blocking for fault in self.faults)


def check(draft: Draft, facts: Facts, style: StyleGuide, measured: Measured) -> Checked:
    """Every fault of a draft; none means it may be shown."""
    if len(draft.text) > MAX_TEXT_LENGTH:  # nothing below looks at more
        fault = Fault(FaultKind.FORM, "", f"has more than {MAX_TEXT_LENGTH} characters")
        return Checked((), (fault,), 0.0)
    own_words = frozenset(stem(word) for word in style.own_words)
    index = FactIndex.of(facts)
    found = claims_in(draft.text, index, own_words)
    if not style.is_strict:
        found = tuple(claim for claim in found if claim.kind is not ClaimKind.WORD)
    faults = (
        *_injected(draft),
        *_ungrounded(found),
        *_banned(draft, facts, style),
        *_foreign(draft, style, measured),
        *_wrong_terms(draft, style),
        *_lengths(draft, style),
        *_reading(draft, style, measured),
        *_keywords(draft, style),
    )
    return Checked(found, faults, coverage(facts, index, draft.text, found))


def coverage(facts: Facts, index: FactIndex, text: str, claims: tuple[Claim, ...]) -> float:
    """Share of the attributes that a claim is traced to, or whose value stands as it is."""
    told = {claim.attribute for claim in claims if claim.is_grounded}
    page = stems_of(text)
    told |= {line.name for line in index.lines if value_stands(line, page)}
    wanted = [attribute.name for attribute in facts.attributes]
    return sum(name in told for name in wanted) / len(wanted) if wanted else 1.0


def _ungrounded(claims: tuple[Claim, ...]) -> Iterator[Fault]:
    for claim in claims:
        if claim.contradicts is not None:
            yield Fault(
                FaultKind.CONTRADICTION,
                claim.text,
                f"is not what the facts say of {claim.contradicts}",
            )
        elif not claim.is_grounded:
            kind = _FAULT_OF.get(claim.kind, FaultKind.INVENTED)
            yield Fault(kind, claim.text, "is on no line of the facts")


def _injected(draft: Draft) -> Iterator[Fault]:
    for part in draft.parts:
        if looks_injected(part) or _UNSEEN.search(part) or _is_taken_apart(part):
            yield Fault(FaultKind.INJECTION, part[:80], "is no text for shoppers")


def _is_taken_apart(part: str) -> bool:
    """Whether marks stand for themselves that belong to a letter: words hide behind them."""
    return any(unicodedata.category(each) == "Mn" for each in unicodedata.normalize("NFC", part))


def _banned(draft: Draft, facts: Facts, style: StyleGuide) -> Iterator[Fault]:
    text = draft.text
    # who sells a "Magic Eraser" must be able to name it, in the signs that a page may have
    for name in (facts.title, facts.brand, plain(facts.title), plain(facts.brand)):
        text = text.replace(name, " ") if name else text
    said = text.casefold()
    for word in style.banned:
        if re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", said):
            yield Fault(FaultKind.BANNED, word, "is not a word of this shop")


def _wrong_terms(draft: Draft, style: StyleGuide) -> Iterator[Fault]:
    said = draft.text.casefold()
    for word, instead in style.terms.items():
        if re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", said):
            yield Fault(FaultKind.TERM, word, f"is called {instead} here")


def _foreign(draft: Draft, style: StyleGuide, measured: Measured) -> Iterator[Fault]:
    is_long_enough = len(draft.text.split()) >= _LANGUAGE_WORDS
    if is_long_enough and measured.language != style.language:
        yield Fault(FaultKind.LANGUAGE, "", f"is in {measured.language}; write in {style.language}")


def _lengths(draft: Draft, style: StyleGuide) -> Iterator[Fault]:
    opening, close = len(draft.opening.split()), len(draft.close.split())
    if not style.least_opening <= opening <= style.most_opening:
        wanted = f"{style.least_opening} to {style.most_opening}"
        yield Fault(FaultKind.LENGTH, "", f"the opening has {opening} words, {wanted} are wanted")
    if not style.least_bullets <= len(draft.bullets) <= style.most_bullets:
        wanted = f"{style.least_bullets} to {style.most_bullets}"
        yield Fault(FaultKind.LENGTH, "", f"{len(draft.bullets)} bullets, {wanted} are wanted")
    for bullet in draft.bullets:
        if len(bullet.split()) > style.most_bullet:
            yield Fault(FaultKind.LENGTH, bullet[:60], f"has more than {style.most_bullet} words")
    if not style.least_close <= close <= style.most_close:
        wanted = f"{style.least_close} to {style.most_close}"
        yield Fault(FaultKind.LENGTH, "", f"the close has {close} words, {wanted} are wanted")


def _reading(draft: Draft, style: StyleGuide, measured: Measured) -> Iterator[Fault]:
    if not style.least_grade <= measured.grade <= style.most_grade:
        wanted = f"{style.least_grade:g} to {style.most_grade:g}"
        yield Fault(
            FaultKind.READING, "", f"reads like grade {measured.grade:.0f}, {wanted} is wanted"
        )


def _keywords(draft: Draft, style: StyleGuide) -> Iterator[Fault]:
    said = stems_of(draft.text)
    for keyword in style.keywords:
        wanted = stems_of(keyword)
        if not wanted:
            continue
        uses = min(said.count(one) for one in wanted)
        if uses == 0:
            yield Fault(FaultKind.KEYWORD, keyword, "is to be used once")
        elif uses > style.most_keyword_uses:
            yield Fault(FaultKind.KEYWORD, keyword, f"is used {uses} times; it reads as stuffing")
