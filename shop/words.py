"""Words: a text as the words that search compares, the same for products and for queries."""

import re
import unicodedata

_MARKS = re.compile("[\u0300-\u036f]")  # accents of Latin, Greek and Cyrillic, once decomposed
_APOSTROPHES = str.maketrans("", "", "'\u2018\u2019\u02bc")
_WORD = re.compile(r"[^\W_]+")
MAX_WORD_CHARS = 40  # as in the lexical index; longer ones are no words

# English words that carry no meaning by themselves. A catalogue in another language loses nothing.
_STOP_WORDS = """a an and any are as at by for from i in is it me my need of on or please show some
that the these this to want we with you"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def plain(text: str) -> str:
    """The text without case, accents, apostrophes and forms of the same sign (full width, …)."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    if not decomposed.isascii():  # digits of other scripts count as ours
        decomposed = "".join(
            str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in decomposed
        )
    return _MARKS.sub("", decomposed).casefold().translate(_APOSTROPHES)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in order: runs of letters and digits, plain."""
    return tuple(word for word in _WORD.findall(plain(text)) if len(word) <= MAX_WORD_CHARS)


def forms(word: str) -> tuple[str, ...]:
    """The word, then what its singular may be, if it looks like an English plural."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return (word,)
    singulars = [word[:-1]]
    if word.endswith("ies"):
        singulars.append(word[:-3] + "y")
    elif word.endswith("ves"):
        singulars += [word[:-3] + "f", word[:-3] + "fe"]
    elif word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        singulars.append(word[:-2])
    return (word, *singulars)
