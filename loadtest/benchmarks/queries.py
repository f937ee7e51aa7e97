"""Queries: what shoppers might type, drawn from a catalogue, each with its own truth.

The truth is judged here on the catalogue's columns, not by the code that parses queries.

Shapes: R catalogue rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import Catalogue
from shop.words import STOP_WORDS, words_of

_FINER = ("season", "colour", "material", "style", "use")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PRICED = 0.75


@dataclass(frozen=True, slots=True)
class Query:
    """A query and what every product of its list must be."""

    text: str
    values: tuple[tuple[str, str], ...]  # attribute and value, all of them
    least_minor: float
    most_minor: float
    most_is_inside: bool  # whether exactly `most_minor` will do

    def fits(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """[R] products of these values, whatever they cost."""
        fits = np.arange(catalogue.product_ids.size) > 0
        for attribute, value in self.values:
            column = catalogue.texts[attribute]
            fits &= column.codes == column.code_of[value]
        return fits

    def affords(self, price_minor: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where these prices are what was asked for."""
        below = (
            price_minor <= self.most_minor
            if self.most_is_inside
            else (price_minor < self.most_minor)
        )
        return np.asarray((price_minor >= self.least_minor) & below, dtype=np.bool_)


def by_specification(
    catalogue: Catalogue, count: int, rng: np.random.Generator, *, priced: float = _PRICED
) -> list[Query]:
    """ "summer dresses under $50": a category, up to two finer points and, as a rule, a price."""
    return [_of_product(catalogue, row, rng, priced) for row in _rows(catalogue, count, rng)]


def _rows(catalogue: Catalogue, count: int, rng: np.random.Generator) -> list[int]:
    rows: list[int] = rng.integers(1, catalogue.product_count + 1, count).tolist()
    return rows


def _of_product(catalogue: Catalogue, row: int, rng: np.random.Generator, priced: float) -> Query:
    told = [name for name in _FINER if name in catalogue.texts and _value(catalogue, name, row)]
    chosen = [told[at] for at in rng.permutation(len(told))[: int(rng.integers(0, 3))]]
    values = [(name, _value(catalogue, name, row)) for name in chosen]
    category = _value(catalogue, "category", row)
    words = [value for name, value in values if name != "use"]
    behind = [f"for {value}" for name, value in values if name == "use"]
    text = " ".join([*words, category, *behind])
    price = int(catalogue.list_price_minor[row])
    low, high = 0.0, float("inf")
    inside = True
    if rng.random() < priced:
        near = max(1, round(price * float(rng.uniform(0.8, 1.6)) / 100))
        match int(rng.integers(4)):
            case 0:
                text, high, inside = f"{text} under ${near}", near * 100.0, False
            case 1:
                text, high = f"{text} up to {near} euros", near * 100.0
            case 2:
                text, low = f"{text} from {near}", near * 100.0
            case _:
                text = f"{text} between {near // 2} and {near}"
                low, high = near // 2 * 100.0, near * 100.0
    return Query(text, (("category", category), *values), low, high, inside)


def _value(catalogue: Catalogue, attribute: str, row: int) -> str:
    column = catalogue.texts[attribute]
    return column.names[int(column.codes[row])]


def by_title(
    catalogue: Catalogue, texts: list[str], count: int, rng: np.random.Generator, *, mistyped: bool
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Two or three words of a title, and [R] which products' texts [R] have all of them."""
    words_by_row = [frozenset(words_of(text)) for text in texts]
    found = []
    for row in _rows(catalogue, count, rng):
        title = [w for w in words_of(str(catalogue.titles[row])) if w not in STOP_WORDS]
        size = min(len(title), int(rng.integers(2, 4)))
        words = [title[at] for at in np.sort(rng.permutation(len(title))[:size])]
        true = np.array([words_in.issuperset(words) for words_in in words_by_row])
        if mistyped:
            at = max(range(len(words)), key=lambda place: len(words[place]))
            words[at] = _mistyped(words[at], rng)
        found.append((" ".join(words), true))
    return found


def _mistyped(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word))) if len(word) > 1 else 0
    return word[:at] + _LETTERS[int(rng.integers(len(_LETTERS)))] + word[at + 1 :]
