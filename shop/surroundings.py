"""Surroundings: what goes on around the shop: the weather where shoppers are, what people look for.

Feeds tell of both (`serving.recommend.surroundings`); rules may ask for them (`rulebook`). Which
products a search term means is worked out once per release and change of terms, never in a call.

Shapes: R catalogue rows.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT, Catalogue

# What a weather feed reports of a country: the one that matters most for what people buy. Frost is
# below 0 °C and heat above 28 °C, each where nothing falls.
WEATHERS = ("clear", "clouds", "rain", "storm", "snow", "frost", "heat")
MAX_TERM_CHARS = 60
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Weather:
    """Now, in one country."""

    condition: str  # one of WEATHERS
    temperature_c: float


def words_of(text: str) -> tuple[str, ...]:
    """The words of a title or search term, so that "Wool Coats" and "wool coat" are alike.

    Cases and a plural's s do not count; that is all the grammar there is.
    """
    return tuple(_singular(word) for word in _WORD.findall(text.casefold()))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


class TitleWords:
    """Which products have a word in their title or in their category's name.

    Costs 4 µs a product to make (24 ms for 6,000) and some 100 bytes: made when a rule wants it.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        rows_by_word: dict[str, list[int]] = {}
        categories = [words_of(name) for name in catalogue.category_names]
        columns = (catalogue.titles.tolist(), catalogue.category_codes.tolist())
        for row, (title, category) in enumerate(zip(*columns, strict=True)):
            if row == NO_PRODUCT:
                continue
            for word in {*words_of(title), *categories[category]}:
                rows_by_word.setdefault(word, []).append(row)
        self._rows = {word: np.array(rows) for word, rows in rows_by_word.items()}
        self._row_count = catalogue.product_count + 1

    def matches(self, terms: Collection[str]) -> NDArray[np.bool_]:
        """[R] products that have all words of one of the terms."""
        found = np.zeros(self._row_count, dtype=np.bool_)
        for term in terms:
            words = words_of(term)
            rows = [self._rows.get(word, _NO_ROWS) for word in words]
            if rows:
                meant = rows[0]
                for others in rows[1:]:
                    meant = np.intersect1d(meant, others, assume_unique=True)
                found[meant] = True
        return found


_NO_ROWS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Trending:
    """What people look for now, fitted to a release."""

    terms: frozenset[str] = frozenset()  # each as its words, joined by a blank
    products: NDArray[np.bool_] | None = None  # [R] that some term means; None: none


NOTHING_TRENDS = Trending()


def term_key(term: str) -> str:
    """The same for terms that are alike."""
    return " ".join(words_of(term))
