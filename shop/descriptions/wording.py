"""Wording: a grammar of what a page about a product may say, made from its facts.

A small model copies badly: it tells the height under the name of the width, and loses its way in a
title that it has never seen. So the answer's schema does not leave copying to it. Names and values
are written whole or not at all, a value only with its own name, and every line has its place in the
list of bullets. What is told in the opening, in which words, and everything between is the model's
choice, from words that claim nothing. That sentences make sense, and that nothing is claimed by
them together, no grammar says: the validators read what comes of it.

Patterns are regular expressions that Rust's library and Python's read alike.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.style import StyleGuide
from shop.descriptions.tellings import (
    JOINTS,
    MATCHES,
    MAX_BULLET,
    MAX_BULLETS,
    MAX_WORDS,
    MIN_BULLETS,
    bullets_of,
    filled,
    packed,
    plain,
    plain_value,
    sentences_of,
)

_SPECIAL = re.compile(r"[.^$|?*+()\[\]{}]")  # outside of classes nothing else is
# Words that carry a page along: they claim nothing, and name no line of any specification, for
# beside such a name a value would be told, and which value belongs there only a telling knows.
_FREE = frozenset(
    """
    a above all are ask at before beside by choose comes few find for from have here if in is it
    know list look looking meet more need of on order other our page plans presents product read
    rest searched see shop should suits take that the then there this to told too us we what
    whether words you your
    """.split()  # noqa: SIM905
)
_MOST_WORDS = 16  # of a sentence, beside names
_MOST_BESIDE = 7  # before a title, and behind it


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
    talk = _Talk(facts, style)
    told = _told((*facts.attributes, Attribute("category", facts.category)))
    # in the order of the facts, so that none comes twice
    tellings = "".join(f"(?: {_one_of(map(_escaped, _sentences(each)))})?" for each in told)
    matches = [each for each in told if each.name.casefold() in MATCHES]
    closes = [talk.sentence, *(_escaped(way) for each in matches for way in _sentences(each))]
    return Wording(
        f"^{talk.lead}(?: {talk.sentence})?{tellings}(?: {talk.sentence})?$",
        bullets,
        f"^{_one_of(closes)}(?: {talk.sentence})?$",
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
    patterns = [_one_of(map(_escaped, _ways(each))) for each in told]
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


class _Talk:
    """Sentences that tell no line: of free words, and of names that are written whole."""

    def __init__(self, facts: Facts, style: StyleGuide) -> None:
        own = {word for word in style.own_words if word.isalpha()}
        free = sorted(_FREE | own)
        title, brand, category = (
            _escaped(plain(each)) for each in (facts.title, facts.brand, facts.category)
        )
        names = [each for each in (brand, category) if each]
        names += [_escaped(plain(each)) for each in style.keywords]
        word = _one_of([*free, *names])
        first = _one_of([*(each[:1].upper() + each[1:] for each in free), *names])
        self.sentence = f"{first}(?:[,;:]? {word}){{0,{_MOST_WORDS}}}[.!?]"
        self.lead = self.sentence
        if title:
            before = f"(?:{first}(?:[,:]? {word}){{0,{_MOST_BESIDE}}}[,:]? )?"
            self.lead = f"{before}{title}(?:[,:]? {word}){{0,{_MOST_BESIDE}}}[.!?]"


def _one_of(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(patterns)})"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)
