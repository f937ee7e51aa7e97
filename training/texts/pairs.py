"""Pairs: what is asked and what is to be answered, drawn anew as often as wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.prompts import page_prompt
from training.texts.asks import MOST_LINES, MOST_PRODUCTS, draw_ask
from training.texts.grammar import Page, write_page
from training.texts.inventions import invent_attributes, invent_name
from training.texts.shelves import Shelf

_INVENTED_SHARE = 0.5  # of catalogue products: a specification that nobody has seen
_RENAMED_SHARE = 0.3  # of catalogue products: a title and a brand that nobody has seen
_KEYWORD_SHARE, _FAULT_SHARE, _REAL_OPENING_SHARE = 0.25, 0.1, 0.5
_UNTITLED_SHARE = 0.5  # of short pairs
_MAX_INVENTED = 12
_FEW_PRODUCTS = 2  # of a question, where products are told of in few lines
_MAX_KEYWORDS = 2
_FAULTS = (
    "number: {v} is on no line of the facts",
    "feature: {v} is on no line of the facts",
    "colour: {v} is on no line of the facts",
    "missing: {v} is not told",
    "too long",
    "hard to read",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One example."""

    prompt: str
    answer: str
    facts: Facts


def draw_pair(shelf: Shelf, rng: np.random.Generator) -> Pair:
    """A new page of this product; a catalogue's own is varied, a real one is left as it is."""
    facts = _varied(shelf.facts, rng) if shelf.source == "catalogue" else shelf.facts
    keywords = _keywords(facts, rng) if rng.random() < _KEYWORD_SHARE else []
    faults = _faults(rng) if rng.random() < _FAULT_SHARE else []
    real = bool(shelf.opening) and not keywords and rng.random() < _REAL_OPENING_SHARE
    page = write_page(facts, rng, keywords, shelf.opening if real else "")
    return Pair(page_prompt(facts, keywords, faults).text, page.to_json(), facts)


def draw_short_pair(shelf: Shelf, most: int, rng: np.random.Generator) -> Pair:
    """The same of at most `most` attributes, and of half of them without a title."""
    attributes = list(shelf.facts.attributes)
    if shelf.source == "catalogue" and rng.random() < _INVENTED_SHARE:
        attributes = invent_attributes(most, rng)
    count = int(rng.integers(1, most + 1))
    kept = tuple(attributes[at] for at in rng.permutation(len(attributes))[:count].tolist())
    facts = replace(shelf.facts, attributes=kept)
    if rng.random() < _UNTITLED_SHARE:
        facts = replace(facts, title="", category="", brand="")
    return plain_pair(facts, write_page(facts, rng))


def draw_from(
    shelves: Sequence[Shelf],
    rng: np.random.Generator,
    most_attributes: int | None,
    ask_share: float,
) -> Pair:
    """A page of one of these products or, in `ask_share` of the draws, an answer about some.

    With `most_attributes` they are told of in that many lines at most.
    """
    shelf = shelves[int(rng.integers(len(shelves)))]
    if ask_share and rng.random() < ask_share:
        beside = rng.integers(0, len(shelves), int(rng.integers(0, MOST_PRODUCTS)))
        about = [shelf, *(shelves[at] for at in beside.tolist())]
        if most_attributes is None:
            return draw_ask_pair(about, rng)
        return draw_ask_pair(about[:_FEW_PRODUCTS], rng, most_attributes)
    if most_attributes is None:
        return draw_pair(shelf, rng)
    return draw_short_pair(shelf, most_attributes, rng)


def draw_ask_pair(
    shelves: Sequence[Shelf], rng: np.random.Generator, most_lines: int = MOST_LINES
) -> Pair:
    """A question about all of these products, and what their facts answer."""
    asked = draw_ask(shelves, rng, most_lines)
    return Pair(asked.prompt, asked.answer, asked.products[0])


def plain_pair(facts: Facts, page: Page) -> Pair:
    """What somebody asked for, and what somebody wrote."""
    return Pair(page_prompt(facts).text, page.to_json(), facts)


def held_out_pairs(shelves: Sequence[Shelf], source: str, most: int, seed: int) -> list[Pair]:
    """The facts as they are, of products that are never learnt from."""
    rng = np.random.default_rng([seed, 5])
    held_out = [each for each in shelves if each.source == source and each.is_held_out]
    return [plain_pair(each.facts, write_page(each.facts, rng)) for each in held_out[:most]]


def _varied(facts: Facts, rng: np.random.Generator) -> Facts:
    if rng.random() < _RENAMED_SHARE:
        brand = " ".join(invent_name(rng) for _ in range(int(rng.integers(1, 3))))
        facts = replace(facts, brand=brand, title=f"{brand} {invent_name(rng)} {facts.category}")
    attributes = list(facts.attributes)
    if rng.random() < _INVENTED_SHARE:
        kept = attributes[: int(rng.integers(0, len(attributes) + 1))]
        names = {each.name for each in kept}
        count = int(rng.integers(2, _MAX_INVENTED + 1))
        drawn = [each for each in invent_attributes(count, rng) if each.name not in names]
        attributes = [*kept, *drawn]
        attributes = [attributes[at] for at in rng.permutation(len(attributes)).tolist()]
    return replace(facts, attributes=tuple(attributes))


def _keywords(facts: Facts, rng: np.random.Generator) -> list[str]:
    count = int(rng.integers(1, _MAX_KEYWORDS + 1))
    told = [facts.category, *(_keyword(each) for each in facts.attributes)]
    words = [word for word in told if 3 <= len(word) <= 40]
    return [words[at] for at in rng.permutation(len(words))[:count].tolist()]


def _keyword(attribute: Attribute) -> str:
    return attribute.value if attribute.value.isalpha() else ""


def _faults(rng: np.random.Generator) -> list[str]:
    count = int(rng.integers(1, 4))
    return [
        _FAULTS[int(rng.integers(len(_FAULTS)))].format(v=f'"{invent_name(rng).lower()}"')
        for _ in range(count)
    ]
