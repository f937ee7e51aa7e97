"""Guards: what a sentence of an answer may not do, beyond what a page's validators hold it to.

A page may praise in plain words; an answer is believed word for word, because somebody asked. So
it has only small words, words of the product's own facts and the few that it takes to tell a fact,
and it speaks of one product, of its price as it is, and of nothing that the shop would have to do.
"""

import re
from collections.abc import Sequence
from functools import cache

from shop.asking.facts import IN_STOCK, PRICE
from shop.descriptions.claim_words import MEASURE_WORDS
from shop.descriptions.facts import Facts
from shop.descriptions.plain_words import FUNCTION_WORDS
from shop.descriptions.quantities import quantities_in
from shop.descriptions.words import stem, stems_of, words_of

# Enough to tell a line of the facts.
ANSWER_WORDS = (
    *("cost", "costs", "priced", "named", "called", "brand", "category", "title", "colour"),
    *("color", "material", "season", "style", "use", "kind", "product", "item", "piece"),
    *("suited", "suits", "meant", "listed", "one"),
)
# Small words that praise, promise or compare; a fact may have them.
_NOT_SMALL = """
today tomorrow tonight soon ready useful most more less least few enough ever again right well good
same really simply very half quite rather last later nearly almost twice likely want wants need
needs fast
"""
_SEVERAL = re.compile(
    r"\b(?:both|all|each|every|others?|another|these|those|they|them|first|second|third|fourth"
    r"|fifth|together|products?\s+\d+)\b",
    re.IGNORECASE,
)
_REPLY = re.compile(r"\s*(?:yes|no|nope|sure|certainly|of course|indeed)\b\s*[,.!:;–—-]", re.I)
_COMPARES = re.compile(r"\bthan\b", re.IGNORECASE)
_PRICED = re.compile(r"\b(?:prices?|priced|costs?)\b", re.IGNORECASE)
# A price is told by its number, without a word about it.
_JUDGED_PRICE = re.compile(
    r"\b(?!the\b|its\b|a\b|this\b|and\b|with\b|has\b|for\b|at\b|of\b|is\b|as\b|current\b)"
    r"[\w-]+\s+prices?\b",
    re.IGNORECASE,
)
_STOCK = re.compile(r"\bstock\w*\b", re.IGNORECASE)
_TOLD_STOCK = re.compile(r"\bin\s+stock\b", re.IGNORECASE)
_GONE = re.compile(
    r"\b(?:not|no|never|out|n['’]t|hardly|barely|without|only|until|if|nothing)\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)
_CURRENCIES = {
    "EUR": ("€", "eur", "euro", "euros"),
    "USD": ("$", "usd", "dollar", "dollars"),
    "GBP": ("£", "gbp"),
    "INR": ("rs",),
}


def why_not(text: str, facts: Facts, others: Sequence[Facts], stems: frozenset[str]) -> str:
    """What is wrong with a sentence about this product; "" if nothing is.

    `others` are the products that stand beside it, `stems` all words of its own facts.
    """
    if _REPLY.match(text):
        return "yes or no without the fact"
    if _SEVERAL.search(_of_its_own(text, facts)) or _names_another(text, facts, others):
        return "another product"
    if _COMPARES.search(text):
        return "comparison"
    if _misprices(text, facts):
        return "price"
    if _STOCK.search(text) and (_GONE.search(text) or not _TOLD_STOCK.search(text)):
        return "availability"
    known = _small_stems() | stems | _measuring(stems)
    strange = (word for word in words_of(text) if word.stem not in known)
    if any(any(map(str.isalpha, word.stem)) for word in strange):
        return "word"
    return ""


def tells_a_fact(text: str, facts: Facts) -> bool:
    """Whether the value of any line but the title stands in it."""
    said = stems_of(text)
    return any(_stands(stems_of(line.value), said) for line in facts.lines if line.name != "title")


def _names_another(text: str, facts: Facts, others: Sequence[Facts]) -> bool:
    """Whether another product's title stands there that is no part of this one's."""
    said, own = stems_of(text), stems_of(facts.title)
    titles = (stems_of(each.title) for each in others)
    return any(_stands(title, said) and not _stands(title, own) for title in titles)


def _misprices(text: str, facts: Facts) -> bool:
    price = next((line for line in facts.lines if line.name == PRICE), None)
    if price is None:
        return True  # whatever is said of money; nothing is shown without a price
    numbers = quantities_in(_without(facts.title, text))  # a title's numbers are no prices
    known = quantities_in(price.text)
    monies = [each for each in numbers if each.unit == "money"]
    if any(not any(each.agrees_with(one) for one in known) for each in monies):
        return True
    if _other_currency(text, price.unit):
        return True
    if not _PRICED.search(text):
        return False
    bare = [each for each in numbers if not each.unit]
    if any(not any(each.number == one.number for one in known) for each in bare):
        return True
    return bool(_JUDGED_PRICE.search(text)) or not (monies or bare)


def _of_its_own(text: str, facts: Facts) -> str:
    """Without the lines' values: "all-year" is one season of one product."""
    for line in facts.lines:
        text = _without(line.text, text)
    return text


def _without(title: str, text: str) -> str:
    return re.sub(re.escape(title), " ", text, flags=re.IGNORECASE) if title else text


def _other_currency(text: str, currency: str) -> bool:
    words = set(re.findall(r"[€$£]|[^\W\d_]+", text.casefold()))
    others = (names for code, names in _CURRENCIES.items() if code != currency)
    return any(words & set(names) for names in others)


def _stands(phrase: Sequence[str], said: Sequence[str]) -> bool:
    length = len(phrase)
    return length > 0 and any(
        tuple(said[at : at + length]) == tuple(phrase) for at in range(len(said) - length + 1)
    )


def _measuring(stems: frozenset[str]) -> frozenset[str]:
    """How a measure is said that the facts have: "wide" where there is a width."""
    return frozenset(stem(word) for word, line in MEASURE_WORDS.items() if stem(line) in stems)


@cache
def _small_stems() -> frozenset[str]:
    small = {*FUNCTION_WORDS, *ANSWER_WORDS, *IN_STOCK.split()}
    small.update(*_CURRENCIES.values())  # which of them is right is asked before
    return frozenset(stem(word) for word in small) - {stem(word) for word in _NOT_SMALL.split()}
