"""Relevance: which lines of the shown products a question asks about, by its words.

"What is the seat height?" asks for the line of that name, "anything for the winter?" for the lines
that say so, "how much?" for the price, "coats" for nothing in particular: then every line answers.
A question that names something which no line has, and nothing else, is answered by none.
"""

import re
from collections.abc import Sequence
from functools import cache

from shop.asking.facts import AVAILABILITY, PRICE
from shop.descriptions.claim_words import MEASURE_WORDS
from shop.descriptions.fact_index import stands_in
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.plain_words import FUNCTION_WORDS
from shop.descriptions.words import stem, stems_of

Lines = tuple[Attribute, ...]
Words = tuple[str, ...]  # stems
# Words that ask, and name nothing.
_ASKING = """
    anything buy consider do does find get give have help hello hey hi interested know like
    list looking love mean need offer offers options please product products recommend say search
    searching sell shop show something suggest tell thank thanks thing things want wish would
"""
_OF_PRICE = """
    budget cheap cheaper cheapest cost costs dear euro euros dollar dollars expensive money much pay
    pounds price priced prices spend under
"""
_OF_STOCK = "available availability stock sold"
_HAVE_IT = re.compile(r"\b(?:have|buy|get|order)\s+(?:it|this|these|them|one)\b", re.IGNORECASE)
_NOTHING = (0.0, 0)
# Of names that many lines have: alone they ask for none of them.
_VAGUE = frozenset(stem(word) for word in ("number", "type", "name", "kind", "ideal", "other"))


def asked_lines(question: str, products: Sequence[Facts]) -> tuple[Lines, ...]:
    """For each product, in order, the lines that answer; all of each where nothing is named."""
    words = stems_of(question)
    said = frozenset(words)
    wants_it = _HAVE_IT.search(question) is not None
    named = frozenset(one for one in said if one not in _empty_words())
    measured = named | {_measures()[one] for one in named if one in _measures()}
    lines = [line for facts in products for line in facts.attributes]
    by_name = max((_overlap(line, measured, words) for line in lines), default=_NOTHING)
    found = tuple(
        tuple(
            line
            for line in facts.attributes
            if _is_offer(line, said)
            or (wants_it and by_name == _NOTHING and not named and line.name == AVAILABILITY)
            or (by_name > _NOTHING and _overlap(line, measured, words) == by_name)
            or (by_name == _NOTHING and _told(line) & named)
        )
        for facts in products
    )
    if any(found):
        return found
    known = {one for facts in products for one in stems_of(f"{facts.title} {facts.category}")}
    if named - known:
        return tuple(() for _ in products)
    return tuple(facts.attributes for facts in products)


def _overlap(line: Attribute, named: frozenset[str], words: Words) -> tuple[float, int]:
    """The share (0..1) of a line's name that is named, and in how many words.

    A name of nothing but small or vague words ("use", "goes with", "type") is named as a whole.
    """
    whole = stems_of(line.name)
    name = frozenset(one for one in whole if one not in _function_stems())
    if not name - _VAGUE:
        return (1.0, len(whole)) if stands_in(whole, words) else _NOTHING
    if not (name - _VAGUE) & named:
        return _NOTHING
    return len(name & named) / len(name), len(name & named)


def _told(line: Attribute) -> frozenset[str]:
    """Words of its value; a number alone asks for no line, for it may be a price."""
    empty = _function_stems()
    return frozenset(
        one for one in stems_of(line.text) if any(map(str.isalpha, one)) and one not in empty
    )


def _is_offer(line: Attribute, said: frozenset[str]) -> bool:
    asked_by = {PRICE: _stems(_OF_PRICE), AVAILABILITY: _stems(_OF_STOCK)}.get(line.name)
    return asked_by is not None and bool(said & asked_by)


@cache
def _stems(words: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words.split())


@cache
def _function_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in FUNCTION_WORDS)


@cache
def _empty_words() -> frozenset[str]:
    return _function_stems() | _stems(_ASKING)


@cache
def _measures() -> dict[str, str]:
    """ "wide" asks for a width."""
    return {stem(word): stem(measure) for word, measure in MEASURE_WORDS.items()}
