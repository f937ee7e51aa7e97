"""Wording: a grammar of what a page about a product may say, made from its facts.

A small model copies badly: it tells the height under the name of the width, and loses its way in a
title that it has never seen. So the answer's schema does not leave copying to it: a page is put
together of sentences that the model has learnt, with names and values whole, a value only with its
own name, and a place in the bullets for every line that a page may tell and has room for. Which of
them the opening tells, and in which words, is the model's choice. What the sentences say together
no grammar knows: the validators read what comes of it.

Patterns are regular expressions that Rust's library and Python's read alike.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.style import StyleGuide
from shop.descriptions.tellings import (
    JOINTS,
    MAX_BULLET,
    MAX_BULLETS,
    MAX_WORDS,
    MIN_BULLETS,
    bullets_of,
    closes_of,
    filled,
    keyword_sentences_of,
    leads_of,
    packed,
    plain_value,
    sentences_of,
)
from shop.descriptions.validators import Measured, check

# Of an answer's tokens those that bullets may take; most letters that are not ASCII take one each.
_MOST_TOKENS, _LETTERS_A_TOKEN = 400, 3.0
_SPECIAL = re.compile(r"[.^$|?*+()\[\]{}]")  # outside of classes nothing else is


@dataclass(frozen=True, slots=True)
class Wording:
    """For each part of a page the pattern of what it may say."""

    opening: str
    bullets: tuple[str, ...]
    close: str


def wording_of(facts: Facts, style: StyleGuide) -> Wording | None:
    """None where too little is known for a list, so that no page can be asked for in this way."""
    least = max(MIN_BULLETS, style.least_bullets)
    told = _within_budget(_told(facts.attributes, facts, style))
    category = Attribute("category", facts.category)
    spare = _told((Attribute("brand", facts.brand), category), facts, style)
    bullets = _bullets(told if len(told) >= least else told + spare, style)
    if len(bullets) < least:
        return None
    greetings = "".join(_maybe(keyword_sentences_of(each)) for each in style.keywords)
    # in the order of the facts, so that none comes twice
    in_prose = [*told, *(each for each in spare if each == category)]
    tellings = "".join(_maybe(_sentences(each)) for each in in_prose)
    return Wording(
        f"^{_one_of(leads_of(facts))}{greetings}{tellings}$",
        bullets,
        f"^{_one_of(closes_of(facts))}$",
    )


def _bullets(told: Sequence[Attribute], style: StyleGuide) -> tuple[str, ...]:
    """Every line once, in order, as many to a bullet as it takes; () where none is wanted."""
    if not told or style.most_bullets < 1:
        return ()
    bullets = packed(
        [max(_ways(each, style), key=len) for each in told],
        max(JOINTS, key=len),
        most_bullets=min(MAX_BULLETS, style.most_bullets),
        most_words=min(MAX_WORDS, style.most_bullet),
    )
    joint = _one_of(JOINTS)
    patterns = [_one_of(_ways(each, style)) for each in told]
    return tuple(f"^{joint.join(patterns[at] for at in bullet)}$" for bullet in bullets)


def _told(lines: Iterable[Attribute], facts: Facts, style: StyleGuide) -> list[Attribute]:
    """Lines that can be told, and that a page may tell: "cash drawer" is no word of some shops."""
    told = (each for each in lines if plain_value(each) and _ways(each, style))
    return [each for each in told if _may_stand(_ways(each, style)[0], facts, style)]


def _may_stand(bullet: str, facts: Facts, style: StyleGuide) -> bool:
    checked = check(Draft("", (bullet,), ""), facts, style, Measured(0.0, style.language))
    return not checked.is_blocked


def _within_budget(lines: Iterable[Attribute]) -> list[Attribute]:
    """The first ones that an answer has room for, other scripts taking several times as much."""
    kept, spent = [], 0.0
    for line in lines:
        text = f"{line.name} {plain_value(line)}"
        spent += len(text) / _LETTERS_A_TOKEN + sum(not one.isascii() for one in text)
        if spent > _MOST_TOKENS:
            break
        kept.append(line)
    return kept


def _ways(attribute: Attribute, style: StyleGuide) -> list[str]:
    """The bullets that tell this line."""
    ways = dict.fromkeys(filled(form, attribute) for form in bullets_of(attribute))
    most = min(MAX_WORDS, style.most_bullet)
    return [way for way in ways if len(way) <= MAX_BULLET and len(way.split()) <= most]


def _sentences(attribute: Attribute) -> list[str]:
    """The sentences that tell this line."""
    return list(dict.fromkeys(filled(form, attribute) for form in sentences_of(attribute)))


def _maybe(sentences: Iterable[str]) -> str:
    """One of them, or none."""
    return f"(?: {_one_of(sentences)})?"


def _one_of(texts: Iterable[str]) -> str:
    """A pattern of these texts, whatever stands in them."""
    escaped = (_SPECIAL.sub(r"\\\g<0>", each) for each in texts)
    return f"(?:{'|'.join(escaped)})"
