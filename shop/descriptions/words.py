"""Words of a text, as validators compare them: lower case, without endings, with their places."""

import re
from dataclasses import dataclass
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_VOWELS = frozenset("aeiouy")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text: what it is compared by, and where it stands."""

    stem: str
    start: int
    end: int


def words_of(text: str) -> tuple[Word, ...]:
    """All words in order; a hyphen separates words."""
    return tuple(Word(stem(m.group()), m.start(), m.end()) for m in _WORD.finditer(text))


def stems_of(text: str) -> tuple[str, ...]:
    """Their stems alone."""
    return tuple(stem(found) for found in _WORD.findall(text))


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """`word` without the endings that only grammar asks for: "Shelves" and "shelf" are alike."""
    plain = word.casefold().replace("’", "'")
    plain = plain.removesuffix("'s").removesuffix("'")
    if len(plain) < 4 or not plain.isalpha():
        return plain
    return _without_e(_without_verb_ending(_singular(plain)))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("ves") and len(word) > 5:
        return word[:-3] + "f"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_verb_ending(word: str) -> str:
    for ending, least in (("ing", 6), ("ed", 5)):
        if word.endswith(ending) and len(word) >= least:
            root = word[: -len(ending)]
            if not _VOWELS & set(root):
                return word
            if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz":
                return root[:-1]
            return root
    return word


def _without_e(word: str) -> str:
    if word.endswith("f") and len(word) > 3:
        return word  # shelf, and shelves by _singular
    if word.endswith("ve") and len(word) > 4:
        return word[:-2] + "f"  # so that "sleeve" and "sleeves" agree
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
