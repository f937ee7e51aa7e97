"""Grammar: writes the page of a product from its facts, in very many ways, all of them true.

Whatever the page says stands in the facts: a phrase has slots, and nothing but values fills them.
`surface_forms` counts in how many ways one product can be written of, so that a model that has
seen one of them has not seen the next.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.tellings import (
    JOINTS,
    MAX_BULLET,
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

MAX_OPENING, MAX_CLOSE = 600, 300
_MAX_TOLD = 3  # attributes told in sentences of the opening


@dataclass(frozen=True, slots=True)
class Page:
    """A product page in its three parts."""

    opening: str
    bullets: tuple[str, ...]
    close: str

    def to_json(self) -> str:
        """The answer that a model is to give: compact, as constrained generation writes it."""
        parts = {"opening": self.opening, "bullets": list(self.bullets), "close": self.close}
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))

    @property
    def text(self) -> str:
        """All of it, a part a line."""
        return "\n".join((self.opening, *self.bullets, self.close))


def write_page(
    facts: Facts, rng: np.random.Generator, keywords: Sequence[str] = (), opening: str = ""
) -> Page:
    """One of the many pages of this product; `opening`, if given, is a person's own."""
    told = [each for each in facts.attributes if plain_value(each)]
    return Page(
        opening=opening or _opening(facts, told, keywords, rng),
        bullets=_bullets(facts, told, rng),
        close=_choose(closes_of(facts), rng)[:MAX_CLOSE],
    )


def surface_forms(facts: Facts) -> int:
    """In how many ways `write_page` can write of this product, at least: keywords not counted."""
    told = [each for each in facts.attributes if plain_value(each)]
    most = min(len(told), _MAX_TOLD)
    variety = min((len(sentences_of(each)) for each in told), default=1)
    openings = len(leads_of(facts)) * sum(
        math.perm(len(told), count) * variety**count for count in range(most + 1)
    )
    bullets = math.prod(len(bullets_of(each)) for each in told)
    return openings * bullets * len(closes_of(facts))


def _opening(
    facts: Facts, told: list[Attribute], keywords: Sequence[str], rng: np.random.Generator
) -> str:
    lead = _choose(leads_of(facts), rng)
    count = int(rng.integers(0 if keywords else 1, _MAX_TOLD + 1)) if told else 0
    chosen = rng.permutation(len(told))[:count].tolist()
    sentences = [lead]
    sentences += [_choose(keyword_sentences_of(word), rng) for word in keywords]
    sentences += [filled(_choose(sentences_of(told[at]), rng), told[at]) for at in chosen]
    if facts.category and rng.random() < 0.3:
        category = Attribute("category", facts.category)
        sentences.append(filled(_choose(sentences_of(category), rng), category))
    return _within(sentences, MAX_OPENING)


def _bullets(facts: Facts, told: list[Attribute], rng: np.random.Generator) -> tuple[str, ...]:
    """Every attribute once, several to a bullet where there are more than bullets."""
    lines = list(told)
    if facts.brand and (len(lines) < MIN_BULLETS or rng.random() < 0.3):
        lines.append(Attribute("brand", facts.brand))
    if facts.category and (len(lines) < MIN_BULLETS or rng.random() < 0.2):
        lines.append(Attribute("category", facts.category))
    if len(lines) < MIN_BULLETS and facts.title:
        lines.insert(0, Attribute("product", facts.title))
    while len(lines) < MIN_BULLETS:
        lines.append(Attribute("details", "on request"))
    if rng.random() < 0.3:  # else in the order of the facts, which is easier to follow
        lines = [lines[at] for at in rng.permutation(len(lines)).tolist()]
    parts = [filled(_choose(bullets_of(each), rng), each) for each in lines]
    joint = _choose(JOINTS, rng)
    bullets = packed(parts, joint)
    return tuple(joint.join(parts[at] for at in bullet)[:MAX_BULLET] for bullet in bullets)


def _within(sentences: list[str], most: int) -> str:
    """As many as fit; the first is cut if it does not."""
    text = sentences[0][:most]
    for sentence in sentences[1:]:
        if len(text) + 1 + len(sentence) <= most:
            text = f"{text} {sentence}"
    return text


def _choose(forms: tuple[str, ...], rng: np.random.Generator) -> str:
    return forms[int(rng.integers(len(forms)))]
