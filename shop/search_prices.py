"""Search prices: "under $50", "between 20 and 40 euros" and their like, out of a query's text.

The words are English and few; amounts may be written as 1,299.00, 1.299,00 or 49,90. A number is a
price only where a word or a currency says so: "2 seat sofa" and "under 50 cm" name none. There are
no exchange rates here, so every amount counts in the shop's currency; which one the shopper wrote
is told, so that the answer can say so.
"""

import re
from dataclasses import dataclass

from shop.filter_grammar import AllOf, Comparator, Expression, PriceIs

_MINOR_PER_MAJOR = 100
_MOST_MAJOR = 1e9  # above every price; a number of a hundred digits is no reason to fail
_AROUND = 0.15  # "around 50" is 42.50 to 57.50
_MOST_CLAUSES = 4

_CURRENCY_OF = {
    **dict.fromkeys(("€", "eur", "euro", "euros"), "EUR"),
    **dict.fromkeys(("$", "usd", "dollar", "dollars", "bucks"), "USD"),
    **dict.fromkeys(("£", "gbp", "pound", "pounds", "quid"), "GBP"),
    **dict.fromkeys(("chf", "franc", "francs"), "CHF"),
    **dict.fromkeys(("¥", "jpy", "yen"), "JPY"),
}
_NAMED = "|".join(sorted(map(re.escape, _CURRENCY_OF), key=len, reverse=True))
_UNITS = (
    "mm|cm|m|km|in|inch|inches|ft|feet|mg|g|kg|ml|cl|l|litres?|liters?|w|watts?|v|volts?|"
    "years?|months?|days?|hours?|minutes?|people|persons?|pieces?|pcs|stars?|seats?|degrees?"
)


def _number(name: str) -> str:
    """A number with its currency before or behind; possessive, so that 50 cm is not taken for 5."""
    return (
        rf"(?:(?P<{name}_before>{_NAMED})\s*+)?"
        rf"(?P<{name}>(?>[0-9]++(?:[.,][0-9]++)*+))"
        rf"(?:\s*+(?P<{name}_behind>{_NAMED})(?!\w)|(?!\w)(?!\s*+(?:[%°\"]|(?:{_UNITS})\b)))"
    )


_ONE, _TWO = _number("one"), _number("two")
_WORDS_BEFORE: tuple[tuple[Comparator, str], ...] = (
    ("<=", r"\b(?:up\s+to|at\s+most|(?:no|not)\s+more\s+than|max(?:imum)?|within)\b|<=|≤"),
    (">=", r"\b(?:at\s+least|(?:no|not)\s+less\s+than|min(?:imum)?|from|starting\s+at)\b|>=|≥"),
    ("<", r"\b(?:under|below|(?:less|cheaper|lower)\s+than)\b|<"),
    (">", r"\b(?:over|above|(?:more|dearer|higher)\s+than)\b|>"),
)
_WORDS_BEHIND: tuple[tuple[Comparator, str], ...] = (
    ("<=", r"(?:or\s+(?:less|under|below|cheaper)|max(?:imum)?)\b"),
    (">=", r"(?:or\s+(?:more|over|above)|and\s+up|min(?:imum)?)\b"),
)
_BETWEEN = re.compile(rf"\b(?:between|from)\s+{_ONE}\s*(?:and|to|-|–)\s*{_TWO}")
_RANGE = re.compile(rf"(?<![\w.,]){_ONE}\s*(?:to|-|–)\s*{_TWO}")
_AROUND_ONE = re.compile(rf"(?:\b(?:around|about|roughly|approximately|circa)\s+|~\s*){_ONE}")
_COMPARED = (
    *((op, re.compile(rf"(?:{words})\s*(?:of\s+)?{_ONE}")) for op, words in _WORDS_BEFORE),
    *((op, re.compile(rf"(?<![\w.,]){_ONE}\s*{words}")) for op, words in _WORDS_BEHIND),
)
_BARE = re.compile(rf"(?:\bfor\s+)?(?<![\w.,]){_ONE}")


@dataclass(frozen=True, slots=True)
class PricePhrases:
    """What a text says of prices."""

    constraints: tuple[Expression, ...]
    currency: str  # ISO 4217 of the first one that was named; "" = none
    rest: str  # the text without those phrases


def find_prices(text: str) -> PricePhrases:
    """From a text that is `plain`. A currency alone before a number ("$50") is a most."""
    found: list[Expression] = []
    currency = ""
    rest = text
    for pattern, comparator in _PATTERNS:
        at = 0
        while len(found) < _MOST_CLAUSES and (match := pattern.search(rest, at)) is not None:
            named = _currency_in(match)
            if pattern in (_RANGE, _BARE) and not named:
                at = match.end()
                continue
            found.append(_meaning(match, comparator))
            currency = currency or named
            # Not a blank: what stood before and behind is not one phrase now.
            rest = f"{rest[: match.start()]} | {rest[match.end() :]}"
            at = match.start()
    return PricePhrases(tuple(found), currency, rest)


_PATTERNS: tuple[tuple[re.Pattern[str], Comparator | None], ...] = (
    (_BETWEEN, None),
    (_RANGE, None),
    (_AROUND_ONE, None),
    *((pattern, comparator) for comparator, pattern in _COMPARED),
    (_BARE, "<="),
)


def _meaning(match: re.Match[str], comparator: Comparator | None) -> Expression:
    one = _amount_minor(match["one"])
    if comparator is not None:
        return PriceIs(comparator, one)
    two = _amount_minor(match["two"]) if "two" in match.re.groupindex else None
    low, high = (one * (1 - _AROUND), one * (1 + _AROUND)) if two is None else (one, two)
    low, high = min(low, high), max(low, high)
    return AllOf((PriceIs(">=", round(low, 4)), PriceIs("<=", round(high, 4))))


def _currency_in(match: re.Match[str]) -> str:
    named = (match.group(name) for name in match.re.groupindex if name not in ("one", "two"))
    return next((_CURRENCY_OF[each] for each in named if each), "")


def _amount_minor(written: str) -> float:
    """The last separator is a decimal one if one or two digits follow it."""
    head, separator, tail = _split_at_last_separator(written)
    whole = re.sub("[.,]", "", head)
    text = f"{whole}.{tail}" if separator and len(tail) <= 2 else whole + tail
    return round(min(float(text), _MOST_MAJOR) * _MINOR_PER_MAJOR, 4)


def _split_at_last_separator(written: str) -> tuple[str, str, str]:
    at = max(written.rfind("."), written.rfind(","))
    return (written, "", "") if at < 0 else (written[:at], written[at], written[at + 1 :])
