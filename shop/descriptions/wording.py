"""Wording: a grammar of what a page about a product may say, made from its facts.

A small model copies badly: it tells the height under the name of the width, and loses its way in a
title that it has never seen. So the answer's schema does not leave copying to it: a page is put
together of sentences that the model has learnt, with names and values whole, a value only with its
own name, and a place in the bullets for every line. Which lines the opening tells, and in which
words, is the model's choice. What it makes of the facts together, and what the facts themselves
say that no page may, no grammar knows: the validators read what comes of it.

Patterns are regular expressions that Rust's library and Python's read alike.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

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

_MOST_KEYWORDS = 3  # greeted in one opening
_SPECIAL = re.compile(r"[.^$|?*+()\[\]{}]")  # outside of classes nothing else is


@dataclass(frozen=True, slots=True)
class Wording:
    """For each part of a page the pattern of what it may say."""

    opening: str
    bullets: tuple[str, ...]
    close: str


def wording_of(facts: Facts, style: StyleGuide) -> Wording | None:
    """None where too little is known for a list, so that no page can be asked for in this way."""
    bullets = _bullets(facts, style)
    if len(bullets) < max(MIN_BULLETS, style.least_bullets):
        return None
    greetings = "".join(
        _maybe(keyword_sentences_of(each)) for each in style.keywords[:_MOST_KEYWORDS]
    )
    told = _told((*facts.attributes, Attribute("category", facts.category)))
    # in the order of the facts, so that none comes twice
    tellings = "".join(_maybe(_sentences(each)) for each in told)
    return Wording(
        f"^{_one_of(leads_of(facts))}{greetings}{tellings}$",
        bullets,
        f"^{_one_of(closes_of(facts))}$",
    )


def _bullets(facts: Facts, style: StyleGuide) -> tuple[str, ...]:
    """Every line once, in order, as many to a bullet as it takes."""
    told = _told(facts.attributes)
    if len(told) < max(MIN_BULLETS, style.least_bullets):
        told += _told((Attribute("brand", facts.brand), Attribute("category", facts.category)))
    bullets = packed(
        [max(_ways(each), key=len) for each in told],
        max(JOINTS, key=len),
        most_bullets=min(MAX_BULLETS, style.most_bullets),
        most_words=min(MAX_WORDS, style.most_bullet),
    )
    joint = _one_of(JOINTS)
    patterns = [_one_of(_ways(each)) for each in told]
    return tuple(f"^{joint.join(patterns[at] for at in bullet)}$" for bullet in bullets)


def _told(lines: Iterable[Attribute]) -> list[Attribute]:
    """Lines that can be told at all."""
    return [each for each in lines if plain_value(each) and _ways(each)]


def _ways(attribute: Attribute) -> list[str]:
    """The bullets that tell this line."""
    ways = dict.fromkeys(filled(form, attribute) for form in bullets_of(attribute))
    return [way for way in ways if len(way) <= MAX_BULLET]


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
