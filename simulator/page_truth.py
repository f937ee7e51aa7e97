"""Page truth: what a text says of a product that is not true in the world, judged by itself.

Written from the world's own lexicon and specifications, apart from the shop's validators, so that
each can be held against the other: it knows every value that a product of this world could have,
and finds those that this one has not.
"""

import re

from simulator.catalogue import MATERIALS, USES
from simulator.lexicon import CATEGORIES, COLOURS, SEASONS, STYLES
from simulator.specification_lexicon import CERTIFICATIONS, ORIGINS, SPECIFICATIONS
from simulator.specifications import Line

_SAID_OF_ANYTHING = {"everyday", "office", "classic", "down", "garden"}  # as plain words, too
_NUMBER = re.compile(
    r"(?<![\w.,-])(\d+(?:\.\d+)?)\s?(cm|mm|kg|g/m²|g|ml|l|years|W|min|h|°C)(?![\w/²])"
)

_GOES_WITH = re.compile(
    r"(?:go(?:es)? (?:well )?(?:with|beside)|belongs beside|together with|use it with)"
    r" ((?:[\w& -]|, (?=[a-z& -]+(?:[,.\n]|$)))+)"
)


def _values() -> frozenset[str]:
    listed = {
        *MATERIALS,
        *USES,
        *SEASONS,
        *STYLES,
        *COLOURS,
        *ORIGINS,
        *(name for name, _ in CERTIFICATIONS),
    }
    for specification in SPECIFICATIONS.values():
        listed |= set(specification.features)
    return frozenset(listed - _SAID_OF_ANYTHING)


_VALUES = _values()


def untruths(title: str, lines: tuple[Line, ...], text: str) -> list[str]:
    """Values and numbers of this world that the text tells and the product does not have."""
    known = " | ".join([title, *(f"{name} {value} {unit}" for name, value, unit in lines)])
    said, known = text.casefold(), known.casefold()
    wrong = [
        value for value in sorted(_VALUES) if _stands(value, said) and not _stands(value, known)
    ]
    told = {f"{number} {unit}" for number, unit in _NUMBER.findall(known.replace("°c", "°C"))}
    told |= {f"{value} {unit}" for _, value, unit in lines}
    wrong += [
        f"{number} {unit}"
        for number, unit in _NUMBER.findall(text)
        if f"{number} {unit}" not in told and f"{number} {unit}".casefold() not in known
    ]
    return wrong + _wrong_matches(known, said)


def _wrong_matches(known: str, said: str) -> list[str]:
    """Categories that the text says the product goes with, and its line does not."""
    told = next((line for line in known.split(" | ") if line.startswith("goes with ")), "")
    return [
        category.name
        for match in _GOES_WITH.finditer(said)
        for category in CATEGORIES
        if _stands(category.name, match[1]) and not _stands(category.name, told)
    ]


def _stands(value: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(value.casefold())}(?![\w-])", text) is not None
