"""Search vocabulary: the words of one catalogue, and which of them name one of its attributes.

Learnt at export from the catalogue itself: nothing about its categories, colours or materials is
written into the code. Phrases are values of text attributes ("forest green") with singulars of
their last word; words are everything that titles and specifications are written with, by the number
of products that have it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shop.filter_grammar import TEXT_ATTRIBUTES, TextAttribute
from shop.words import STOP_WORDS, forms, words_of

VOCABULARY_VERSION = 1
MAX_PHRASE_WORDS = 5  # longer values are names of products, not attributes
_LEAST_CORRECTED_CHARS = 4  # below, nearly every word is one letter from another
_MOST_SIGNS = 64  # an alphabet; a catalogue in several scripts keeps its most frequent letters

Value = tuple[TextAttribute, str]


@dataclass(frozen=True, slots=True, eq=False)
class SearchVocabulary:
    """What words mean in this shop. Read it with `from_json`, learn it with `learn_vocabulary`."""

    phrases: Mapping[str, tuple[Value, ...]]  # plain words joined by blanks → what they may name
    words: Mapping[str, int]  # plain word → products that have it
    alphabet: str = field(init=False)

    def __post_init__(self) -> None:
        signs: Counter[str] = Counter()
        for word in self.words:
            signs.update(set(word))
        letters = [sign for sign, _ in signs.most_common(_MOST_SIGNS) if not sign.isdigit()]
        object.__setattr__(self, "alphabet", "".join(sorted(letters)))

    def knows(self, word: str) -> bool:
        """Whether any product, or what we say of one, has this word or its singular."""
        return any(form in self.words for form in forms(word))

    def corrected(self, word: str) -> str | None:
        """The word that was probably meant, one typing error away; None if there is none.

        One letter left out, put in, mistaken or swapped with the next (Damerau, CACM 1964). Of
        several the one that most products have, then the first in the alphabet.
        """
        if len(word) < _LEAST_CORRECTED_CHARS or any(sign.isdigit() for sign in word):
            return None
        near = {other for other in _one_error_away(word, self.alphabet) if other in self.words}
        return min(near, key=lambda other: (-self.words[other], other)) if near else None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return {
            "version": VOCABULARY_VERSION,
            "phrases": {phrase: list(map(list, named)) for phrase, named in self.phrases.items()},
            "words": dict(self.words),
        }

    @staticmethod
    def from_json(raw: Any) -> "SearchVocabulary":
        """Raises ValueError, KeyError, TypeError or AttributeError if this is no vocabulary."""
        if raw["version"] != VOCABULARY_VERSION:
            raise ValueError(f"vocabulary version {raw['version']!r}, need {VOCABULARY_VERSION}")
        attributes = {name: name for name in TEXT_ATTRIBUTES}
        return SearchVocabulary(
            {
                str(phrase): tuple((attributes[name], str(value)) for name, value in named)
                for phrase, named in raw["phrases"].items()
            },
            {str(word): int(count) for word, count in raw["words"].items()},
        )


def learn_vocabulary(
    texts: Iterable[str], values: Mapping[TextAttribute, Iterable[str]]
) -> SearchVocabulary:
    """From every product's searchable text, and every value of each attribute."""
    phrases: dict[str, dict[Value, None]] = {}
    for attribute in TEXT_ATTRIBUTES:
        for value in sorted(set(values.get(attribute, ())) - {""}):
            for phrase in _phrases_for(words_of(value)):
                phrases.setdefault(phrase, {})[(attribute, value)] = None
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({form for word in words_of(text) for form in forms(word)})
    return SearchVocabulary(
        {phrase: tuple(named) for phrase, named in phrases.items()},
        {word: counts[word] for word in sorted(counts)},
    )


def _phrases_for(words: tuple[str, ...]) -> tuple[str, ...]:
    """How people write a value: its words, the last one singular too, in two pieces or in one."""
    if not 0 < len(words) <= MAX_PHRASE_WORDS or set(words) <= STOP_WORDS:
        return ()
    phrases = [" ".join((*words[:-1], last)) for last in forms(words[-1])]
    return tuple(dict.fromkeys([*phrases, *(each.replace(" ", "") for each in phrases)]))


def _one_error_away(word: str, alphabet: str) -> set[str]:
    splits = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    shorter = {head + tail[1:] for head, tail in splits if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    mistaken = {head + sign + tail[1:] for head, tail in splits if tail for sign in alphabet}
    longer = {head + sign + tail for head, tail in splits for sign in alphabet}
    return (shorter | swapped | mistaken | longer) - {word}
