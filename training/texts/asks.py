"""Asks: questions about a few products, and the sentences that their facts grant, by grammar.

What is asked is told by one, several or none of the products; where none tells it, the answer is an
empty list, so that the model learns to be silent as well as to speak. Every sentence has passed the
very judge that it will stand before: nothing is taught that would not be said.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shop.asking.facts import AVAILABILITY, IN_STOCK, PRICE, money
from shop.asking.judging import judge
from shop.asking.prompt import MAX_SENTENCES, ask_prompt
from shop.asking.sentences import Said
from shop.asking.tellings import tellings
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.style import StyleGuide
from shop.descriptions.tellings import plain_value
from training.texts.inventions import invent_attributes, invent_name
from training.texts.shelves import Shelf

MOST_PRODUCTS, MOST_LINES = 4, 6
_INVENTED_SHARE, _UNKNOWN_SHARE, _PRICE_SHARE, _IN_STOCK_SHARE = 0.5, 0.25, 0.2, 0.8
_NAMED_SHARE = 0.3  # of sentences that tell the product's title
_WANTED_SHARE = 0.3  # of questions about an attribute: for products of one value
_DEAREST = 99_900  # in minor units
_CURRENCIES = ("EUR", "USD")
_STYLE = StyleGuide()

# Of an attribute's name {n}, its value {v} on one of the products, and their category {c}.
_OF_NAME = (
    "what is the {n}?",
    "what {n} does it have?",
    "which {n} do these have?",
    "tell me the {n}",
    "{n}?",
    "do you know the {n} of it?",
    "i would like to know its {n}",
)
_OF_VALUE = (*_OF_NAME, "is it {v}?", "is the {n} {v}?")
# Answered about those alone that have the value.
_WITH_VALUE = (
    "do you have {c} with {n} {v}?",
    "which {c} are there with {n} {v}?",
    "i am looking for {c}, {n} {v}",
    "{c} {v}",
    "anything with {v}?",
)
_OF_PRICE = (
    "what does it cost?",
    "how much are these {c}?",
    "what is the price?",
    "{c} under {v}",
    "what do i pay for it?",
)
_OF_STOCK = ("is it in stock?", "do you have it?", "which {c} are in stock?", "can i buy it now?")


@dataclass(frozen=True, slots=True)
class Asked:
    """One example: a question about these products, and what is said."""

    question: str
    prompt: str
    answer: str
    products: tuple[Facts, ...]
    sentences: tuple[Said, ...]
    name: str  # of the lines that tell what is asked


def draw_ask(
    shelves: Sequence[Shelf], rng: np.random.Generator, most_lines: int = MOST_LINES
) -> Asked:
    """A question about all of these, one to four of them, told of in so many lines at most."""
    currency = _of(_CURRENCIES, rng)
    products = tuple(
        _offered(each.facts, currency, most_lines, rng) for each in shelves[:MOST_PRODUCTS]
    )
    name, value = _topic(products, rng)
    wanted = value if _is_about_values(name) and rng.random() < _WANTED_SHARE else None
    question = _question(name, value, products, rng, is_wanted=wanted is not None)
    sentences = tuple(_sentences(name, wanted, products, rng))
    said = [{"product": each.product, "text": each.text} for each in sentences]
    answer = json.dumps({"sentences": said}, ensure_ascii=False, separators=(",", ":"))
    return Asked(question, ask_prompt(question, products).text, answer, products, sentences, name)


def _offered(facts: Facts, currency: str, most_lines: int, rng: np.random.Generator) -> Facts:
    """Some of its lines, or such that nobody has seen, with a price and perhaps some in stock."""
    lines = list(facts.attributes)
    if rng.random() < _INVENTED_SHARE:
        lines = invent_attributes(most_lines, rng)
    reserved = (PRICE, AVAILABILITY)
    lines = [each for each in lines if plain_value(each) and each.name.casefold() not in reserved]
    count = min(len(lines), int(rng.integers(1, most_lines + 1)))
    kept = [lines[at] for at in sorted(rng.permutation(len(lines))[:count].tolist())]
    kept.append(Attribute(PRICE, money(int(rng.integers(100, _DEAREST))), currency))
    if rng.random() < _IN_STOCK_SHARE:
        kept.append(Attribute(AVAILABILITY, IN_STOCK))
    return replace(facts, attributes=tuple(kept))


def _topic(products: Sequence[Facts], rng: np.random.Generator) -> tuple[str, str]:
    """The name of what is asked about, and a value for it: of a product, or nobody's."""
    told = [each for facts in products for each in facts.attributes]
    if rng.random() < _UNKNOWN_SHARE:
        known = {each.name.casefold() for each in told}
        drawn = (invent_attributes(1, rng)[0] for _ in range(8))
        strange = next((each for each in drawn if each.name.casefold() not in known), None)
        if strange is not None:
            return strange.name, plain_value(strange) or invent_name(rng)
    if rng.random() < _PRICE_SHARE:
        told = [each for each in told if each.name == PRICE]
    chosen = told[int(rng.integers(len(told)))]
    return chosen.name, plain_value(chosen)


def _is_about_values(name: str) -> bool:
    return name not in (PRICE, AVAILABILITY)


def _question(
    name: str,
    value: str,
    products: Sequence[Facts],
    rng: np.random.Generator,
    *,
    is_wanted: bool,
) -> str:
    forms = _WITH_VALUE if is_wanted else _OF_VALUE
    if name == PRICE:  # whoever names a limit is shown what keeps it
        forms, value = _OF_PRICE, str(_DEAREST // 100 + int(rng.integers(1, 500)))
    elif name == AVAILABILITY:
        forms = _OF_STOCK
    category = products[0].category or "products"
    asked = _of(forms, rng).format(n=name.lower(), v=value, c=category)
    return asked if rng.random() < 0.5 else asked[:1].upper() + asked[1:]


def _sentences(
    name: str, wanted: str | None, products: Sequence[Facts], rng: np.random.Generator
) -> list[Said]:
    """One of every product that tells it, in their order; none that would not be let out."""
    found = []
    for number, facts in enumerate(products, start=1):
        line = next((each for each in facts.attributes if each.name == name), None)
        if line is None or len(found) == MAX_SENTENCES:
            continue
        if wanted is not None and plain_value(line) != wanted:
            continue
        tries = (Said(number, _told(line, facts, rng)) for _ in range(4))
        said = next((one for one in tries if _stands(one, products)), None)
        if said is not None:
            found.append(said)
    return found


def _told(line: Attribute, facts: Facts, rng: np.random.Generator) -> str:
    is_named = bool(facts.title) and rng.random() < _NAMED_SHARE
    named, plainly = (tellings(line, facts, by_name=each) for each in (True, False))
    return _of((named if is_named else plainly) or ("",), rng)


def _stands(said: Said, products: Sequence[Facts]) -> bool:
    return judge(said, products, _STYLE).stands


def _of(forms: Sequence[str], rng: np.random.Generator) -> str:
    return forms[int(rng.integers(len(forms)))]
