"""Topics: what a question names that no line of the shown products says a word about.

A question is refused before a model is asked only where nothing that it names can be answered: a
colour is told by any line about colours, a feature by any word that begins like it. Whoever is in
doubt asks the model, whose sentences are checked anyway.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from shop.descriptions.claim_words import CLAIM_WORDS, MEASURE_WORDS, ClaimKind
from shop.descriptions.facts import Facts
from shop.descriptions.words import stem, stems_of, words_of

Stems = tuple[str, ...]
# A line of these names answers every question about the kind.
_LINES_OF = {
    ClaimKind.MATERIAL: ("material", "fabric", "upper", "sole", "frame", "filling", "cover"),
    ClaimKind.COLOUR: ("colour", "color", "shade", "finish"),
    ClaimKind.USE: ("use", "season", "style", "room", "occasion", "suitable", "ideal"),
    ClaimKind.CERTIFICATION: ("certification", "certificate", "label", "standard"),
}
# What the shop does, not the product: beside the features of the claim lists.
_SERVICES = ("deliver", "ship", "arrive", "pay", "payment", "exchange", "return")
# No service and no praise: the price.
_PAYING = re.compile(
    r"\b(?:what|how\s+much)\b[^.?!]*\bpay\b|\b(?:cheap(?:er|est)?|affordable)\b", re.IGNORECASE
)
_HOW = re.compile(r"\bhow\s+(\w+)|\bwhat(?:'s|\s+is)\s+(?:the|its)\s+(\w+)", re.IGNORECASE)
_ALIKE = 4  # letters that two words must begin with to be thought of as one


@dataclass(frozen=True, slots=True)
class _Topic:
    """Something that a question names."""

    written: str
    phrase: Stems
    kind: ClaimKind


def untold(question: str, products: Sequence[Facts]) -> tuple[tuple[str, ...], bool]:
    """What it names that no product's lines tell, and whether that is all that it names."""
    lines = [
        (stems_of(line.name), stems_of(line.text)) for facts in products for line in facts.lines
    ]
    topics = (*_listed(_PAYING.sub(" ", question)), *_measures(question))
    missing = [
        each.written
        for each in topics
        if not any(_tells(name, value, each) for name, value in lines)
    ]
    return tuple(dict.fromkeys(missing)), bool(missing) and len(missing) == len(topics)


def _listed(question: str) -> Iterator[_Topic]:
    """Phrases of the claim lists, and services."""
    words, at = words_of(question), 0
    stems = tuple(word.stem for word in words)
    while at < len(words):
        for phrase, kind in _phrases().get(stems[at], ()):
            if stems[at : at + len(phrase)] == phrase:
                end = words[at + len(phrase) - 1].end
                yield _Topic(question[words[at].start : end], phrase, kind)
                at += len(phrase) - 1
                break
        at += 1


def _measures(question: str) -> Iterator[_Topic]:
    """ "How wide is it?", "what is the weight?" """
    measures = {stem(word): measure for word, measure in MEASURE_WORDS.items()}
    for match in _HOW.finditer(question):
        asked = match[1] or match[2]
        if stem(asked) in measures:
            yield _Topic(asked, (stem(measures[stem(asked)]),), ClaimKind.NUMBER)


def _tells(name: Stems, value: Stems, topic: _Topic) -> bool:
    if topic.kind is ClaimKind.NUMBER:
        # A line of measures may tell it under another name: "dimensions: 80 × 40 cm".
        return name != stems_of("price") and any(one[:1].isdigit() for one in value)
    if any(stem(line) in name for line in _LINES_OF.get(topic.kind, ())):
        return True
    return any(_alike(one, other) for one in topic.phrase for other in (*name, *value))


def _alike(one: str, other: str) -> bool:
    return one == other or (len(one) >= _ALIKE and one[:_ALIKE] == other[:_ALIKE])


@cache
def _phrases() -> dict[str, list[tuple[Stems, ClaimKind]]]:
    """By their first word, the longest first."""
    table: dict[str, list[tuple[Stems, ClaimKind]]] = {}
    for kind in (*_LINES_OF, ClaimKind.FEATURE):
        for phrase in CLAIM_WORDS[kind]:
            stems = stems_of(phrase)
            table.setdefault(stems[0], []).append((stems, kind))
    for word in _SERVICES:
        table.setdefault(stem(word), []).append(((stem(word),), ClaimKind.FEATURE))
    for choices in table.values():
        choices.sort(key=lambda choice: -len(choice[0]))
    return table
