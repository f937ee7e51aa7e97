"""Search texts: what products are called, and queries that shoppers might have found them by.

A query is drawn from one product: some values of its specification ("summer", "dress", "black"), or
some words of its title, or both, now and then with a typing error. It is true of every product that
has all of its words, so those are not held against it.

Shapes: P products, L token slots, B of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import SPECIFICATION
from shop.search_text import product_text
from shop.text_tokens import text_tokens
from shop.words import STOP_WORDS, forms, words_of
from training.data.snapshot import Snapshot

ATTRIBUTES = ("category", "brand", *SPECIFICATION)
_MOST_WORDS = 4  # title words of one query; as many values of a specification
_CATEGORY_SHARE = 0.7  # of queries by specification: people name the thing they look for
_FROM_TITLE = 0.4
_WITH_ERROR = 0.12  # mistyped queries: 10 to 15 % of those to shops and search engines
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, eq=False)
class SearchTexts:
    """Every product of a snapshot, as search sees it. Product p is catalogue row p + 1."""

    tokens: NDArray[np.int64]  # [P, L]
    words: tuple[frozenset[str], ...]  # [P] all of the text, with singulars
    titles: tuple[tuple[str, ...], ...]  # [P] telling words of the title
    values: tuple[tuple[str, ...], ...]  # [P] of the specification, the category first if told

    @staticmethod
    def of(snapshot: Snapshot) -> "SearchTexts":
        """From titles and specifications."""
        columns = [snapshot.products[name].fill_null("").to_pylist() for name in ATTRIBUTES]
        titles = snapshot.products["title"].fill_null("").to_pylist()
        values = [tuple(each) for each in zip(*columns, strict=True)]
        texts = [product_text(title, told) for title, told in zip(titles, values, strict=True)]
        return SearchTexts(
            tokens=np.stack([text_tokens(text) for text in texts]),
            words=tuple(
                frozenset(form for word in words_of(text) for form in forms(word)) for text in texts
            ),
            titles=tuple(
                tuple(word for word in words_of(title) if word not in STOP_WORDS)
                for title in titles
            ),
            values=tuple(tuple(value for value in told if value) for told in values),
        )

    def __len__(self) -> int:
        return len(self.titles)

    def query_words(self, product: int, rng: np.random.Generator) -> tuple[str, ...]:
        """Words of a query that this product answers; none if it has neither title nor values."""
        values, title = self.values[product], self.titles[product]
        from_title = title and (not values or rng.random() < _FROM_TITLE)
        drawn: list[str] = []
        if values and (not from_title or rng.random() < 0.5):
            drawn += _some_values(values, rng)
        if from_title:
            count = int(rng.integers(1, min(_MOST_WORDS, len(title)) + 1))
            drawn += [title[at] for at in np.sort(rng.permutation(len(title))[:count])]
        return tuple(dict.fromkeys(drawn))


def _some_values(values: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Words of a few values in any order, the last of each in one of its forms."""
    count = int(rng.integers(1, min(_MOST_WORDS, len(values)) + 1))
    chosen = rng.permutation(len(values))[:count].tolist()
    if 0 not in chosen and rng.random() < _CATEGORY_SHARE:
        chosen[-1] = 0
    words: list[str] = []
    for at in chosen:
        written = words_of(values[at])
        if written:
            last = forms(written[-1])
            words += [*written[:-1], last[int(rng.integers(len(last)))]]
    return words


def typed(words: Sequence[str], rng: np.random.Generator) -> str:
    """The query as it is typed: now and then with one error in a longer word."""
    typed_words = list(words)
    longer = [at for at, word in enumerate(words) if len(word) >= 4]
    if longer and rng.random() < _WITH_ERROR:
        at = longer[int(rng.integers(len(longer)))]
        typed_words[at] = _mistyped(typed_words[at], rng)
    return " ".join(typed_words)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(word) - 1))
    sign = _LETTERS[int(rng.integers(len(_LETTERS)))]
    match int(rng.integers(4)):
        case 0:
            return word[:at] + word[at + 1 :]
        case 1:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 2:
            return word[:at] + sign + word[at + 1 :]
        case _:
            return word[:at] + sign + word[at:]


def answers(
    queries: Sequence[Sequence[str]], products: Sequence[frozenset[str]]
) -> NDArray[np.bool_]:
    """[B, P] whether a product has all of a query's words."""
    place_of = {word: at for at, word in enumerate({w: None for q in queries for w in q})}
    asked = np.zeros((len(queries), len(place_of)), dtype=np.float32)
    held = np.zeros((len(products), len(place_of)), dtype=np.float32)
    for at, words in enumerate(queries):
        asked[at, [place_of[word] for word in words]] = 1.0
    for at, known in enumerate(products):
        held[at, [place_of[word] for word in known if word in place_of]] = 1.0
    found: NDArray[np.bool_] = asked @ held.T >= asked.sum(axis=1, keepdims=True) - 0.5
    return found
