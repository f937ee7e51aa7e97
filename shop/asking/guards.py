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
from shop.descriptions.quantities import quantities_in
from shop.descriptions.words import stem, stems_of, words_of

# Enough to tell a line of the facts; beside pages' own, for the validators.
ANSWER_WORDS = (
    *("cost", "costs", "priced", "named", "called", "brand", "category", "title", "colour"),
    *("color", "material", "season", "style", "use", "kind", "product", "item", "piece"),
    *("suited", "suits", "meant", "listed", "one"),
)
# Small words by which a fact becomes a sentence. None of them denies, bounds, hedges or promises.
_SMALL = """
    a an the this it its it's itself here there is are be has have having with of in on at for from
    by to and as also made makes comes come you your we our us i my me can use used now which that
    what who do does
"""
# Of a title these are names, not offers: they stand in it, or nowhere.
_OFFERS = frozenset(
    stem(word)
    for word in (
        *("free", "sale", "discount", "gift", "new", "save", "saves", "cheap", "half", "deal"),
        *("offer", "bonus", "best", "extra", "limited", "more", "up", "off", "no", "not"),
    )
)
_MARKS = frozenset(" .,:;!'’\"“”()[]-–—/&+%€$£°²³×″·")
_SEVERAL = re.compile(
    r"\b(?:both|all|each|every|others?|another|these|those|they|them|first|second|third|fourth"
    r"|fifth|together|products?\s+\d+)\b",
    re.IGNORECASE,
)
_REPLY = re.compile(r"\s*(?:yes|no|nope|sure|certainly|of course|indeed)\b\s*[,.!:;–—-]", re.I)
_BOUNDS = re.compile(r"\b(?:from|to|as)\s+[€$£]?\s*\d", re.IGNORECASE)
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


def why_not(text: str, facts: Facts, others: Sequence[Facts], house: frozenset[str]) -> str:
    """What is wrong with a sentence about this product; "" if nothing is.

    `others` are the products that stand beside it, `house` [stems] words that claim nothing.
    """
    if _REPLY.match(text):
        return "yes or no without the fact"
    rest = _beside(text, [line.text for line in facts.lines])
    if _SEVERAL.search(rest) or _names_another(text, facts, others):
        return "another product"
    if _misprices(text, facts):
        return "price"
    if _STOCK.search(text) and (_GONE.search(text) or not _TOLD_STOCK.search(text)):
        return "availability"
    return "word" if _says_more(text, rest, facts, house) else ""


def _says_more(text: str, rest: str, facts: Facts, house: frozenset[str]) -> bool:
    """Whether it has a word or a mark that neither the facts nor telling them needs.

    `rest` is the text without the lines' values.
    """
    lines = [line for line in facts.lines if line.name != "title"]
    own = {one for line in lines for one in stems_of(f"{line.name} {line.text}")}
    own |= {one for one in stems_of(facts.title) if one not in _OFFERS}
    known = own | house | _small_stems() | _measuring(own)
    said = words_of(_beside(text, [facts.title]))
    if any(word.stem not in known and any(map(str.isalpha, word.stem)) for word in said):
        return True
    return any(not (mark.isalnum() or mark in _MARKS) for mark in rest)


def lines_told(text: str, facts: Facts) -> tuple[str, ...]:
    """Names of the lines, but the title, whose values stand in it.

    Of several lines with one value those that it names, too; where it names none of them, all.
    """
    said = stems_of(text)
    found: dict[tuple[str, ...], list[str]] = {}
    for line in facts.lines:
        value = stems_of(line.value)
        if line.name != "title" and _stands(value, said):
            found.setdefault(value, []).append(line.name)
    told: list[str] = []
    for names in found.values():
        named = [name for name in names if _stands(stems_of(name), said)]
        told += named or names
    return tuple(told)


def _names_another(text: str, facts: Facts, others: Sequence[Facts]) -> bool:
    """Whether another product's title stands there that is no part of this one's."""
    said, own = stems_of(text), stems_of(facts.title)
    titles = (stems_of(each.title) for each in others)
    return any(_stands(title, said) and not _stands(title, own) for title in titles)


def _misprices(text: str, facts: Facts) -> bool:
    price = next((line for line in facts.lines if line.name == PRICE), None)
    if price is None:
        return True  # whatever is said of money; nothing is shown without a price
    numbers = quantities_in(_beside(text, [facts.title]))  # a title's numbers are no prices
    known = quantities_in(price.text)
    monies = [each for each in numbers if each.unit == "money"]
    if any(not any(each.agrees_with(one) for one in known) for each in monies):
        return True
    if _other_currency(text, price.unit):
        return True
    if monies and _BOUNDS.search(text):
        return True
    if not _PRICED.search(text):
        return False
    bare = [each for each in numbers if not each.unit]
    if any(not any(each.number == one.number for one in known) for each in bare):
        return True
    return bool(_JUDGED_PRICE.search(text)) or not (monies or bare)


def _beside(text: str, values: Sequence[str]) -> str:
    """The text without these: "all-year" is one season of one product."""
    for value in filter(None, values):
        text = re.sub(re.escape(value), " ", text, flags=re.IGNORECASE)
    return text


def _other_currency(text: str, currency: str) -> bool:
    words = set(re.findall(r"[€$£]|[^\W\d_]+", text.casefold()))
    others = (names for code, names in _CURRENCIES.items() if code != currency)
    return any(words & set(names) for names in others)


def _stands(phrase: Sequence[str], said: Sequence[str]) -> bool:
    length = len(phrase)
    return length > 0 and any(
        tuple(said[at : at + length]) == tuple(phrase) for at in range(len(said) - length + 1)
    )


def _measuring(stems: set[str]) -> frozenset[str]:
    """How a measure is said that the facts have: "wide" where there is a width."""
    return frozenset(stem(word) for word, line in MEASURE_WORDS.items() if stem(line) in stems)


@cache
def _small_stems() -> frozenset[str]:
    small = {*_SMALL.split(), *ANSWER_WORDS, *IN_STOCK.split()}
    small.update(*_CURRENCIES.values())  # which of them is right is asked before
    return frozenset(stem(word) for word in small)
