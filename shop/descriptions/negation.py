"""Negation: whether a text, or a line of a specification, says that something is not there."""

import re
from functools import cache

from shop.descriptions.plain_words import FUNCTION_WORDS, PLAIN_WORDS
from shop.descriptions.words import Word, stem

_NEGATIONS = frozenset(
    stem(word)
    for word in (
        *("no", "not", "without", "never", "lacks", "lack", "lacking", "non", "neither", "nor"),
        *("isn't", "doesn't", "don't", "aren't", "cannot", "can't", "hasn't", "won't"),
    )
)
_REACH = 3  # words: "without a single hood"
_LINKED = re.compile(r"[ \u00a0'’-]*")  # any other mark ends what a negation is about
_FREE_OF = re.compile(r"\bfree\s+(?:of|from)\s+(?:any\s+|all\s+)?$", re.IGNORECASE)
# Values by which a specification says that there is none of what its name names.
_NONE = re.compile(
    r"(?:no|not|none|nil|false|absent|without|n/?a|0)"
    r"(?:\s+(?:included|available|applicable|provided|present|required))?\s*(?:$|[,;.(].*)",
    re.IGNORECASE | re.DOTALL,
)


def is_negated(text: str, words: tuple[Word, ...], at: int, length: int) -> bool:
    """ "no hood", "without a hood", "hood-free"; not "no laces, hood" and not "not only a hood"."""
    if _FREE_OF.search(text, max(0, words[at].start - 20), words[at].start):
        return True
    following = words[at + length] if at + length < len(words) else None
    if following is not None and following.stem == "free" and text[following.start - 1] == "-":
        return True
    for back in range(at - 1, max(-1, at - 1 - _REACH), -1):
        word = words[back]
        if not _LINKED.fullmatch(text, word.end, words[back + 1].start):
            return False
        if word.stem in _NEGATIONS:
            return not (words[back + 1].stem in ("only", "just") and back + 1 < at)
        if word.stem not in _may_stand_between():
            return False
    return False


def says_none(value: str) -> bool:
    """Whether a value says that its attribute's name is not there: "No", "not included"."""
    return _NONE.fullmatch(value.strip()) is not None


@cache
def _may_stand_between() -> frozenset[str]:
    return frozenset(stem(word) for word in PLAIN_WORDS | FUNCTION_WORDS)
