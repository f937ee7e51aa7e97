"""Relaxing: what a filter becomes when its conditions are given up one after the other.

A list that would stay short is filled with what meets the filter but for its least important
condition, then but for two, and so on; products that meet none come last. Giving a condition up
means that wherever the filter speaks of that attribute, either way is right.
"""

from dataclasses import dataclass
from functools import lru_cache

from shop.filter_grammar import ATTRIBUTES, AllOf, AnyOf, Expression, InStock, Not, OneOf, PriceIs
from shop.filters import Filter

_KEPT_LONGEST = ("price", "category")
# Given up first to last. What is known to be gone is never shown: `in_stock` only keeps out what is
# not known. A brand is a preference, a price a budget, and the category is what the page is about.
DROP_ORDER = (
    "in_stock",
    *(name for name in reversed(ATTRIBUTES) if name not in ("in_stock", *_KEPT_LONGEST)),
    *_KEPT_LONGEST,
)


@dataclass(frozen=True, slots=True)
class Relaxed:
    """What is left of a filter without some of its conditions."""

    dropped: tuple[str, ...]  # attributes, as in DROP_ORDER
    filter: Filter | None  # None: everything passes


@lru_cache(maxsize=256)
def relaxations(wanted: Expression) -> tuple[Relaxed, ...]:
    """Ever weaker filters; everything that passes one passes the next, and the last passes all."""
    found: list[Relaxed] = []
    dropped: tuple[str, ...] = ()
    left: Expression | None = wanted
    for attribute in DROP_ORDER:
        if left is None or attribute not in attributes_of(left):
            continue
        dropped = (*dropped, attribute)
        left = without(attribute, left)
        text = f"without {', '.join(dropped)}"
        found.append(Relaxed(dropped, None if left is None else Filter(text, left)))
    return tuple(found)


def attributes_of(expression: Expression) -> frozenset[str]:
    """The attributes that it speaks of."""
    match expression:
        case OneOf(attribute, _):
            return frozenset((attribute,))
        case PriceIs():
            return frozenset(("price",))
        case InStock():
            return frozenset(("in_stock",))
        case Not(part):
            return attributes_of(part)
        case AllOf(parts) | AnyOf(parts):
            return frozenset().union(*(attributes_of(part) for part in parts))


def without(attribute: str, expression: Expression) -> Expression | None:
    """The expression where every comparison of this attribute is met; None if that meets it."""
    return _met(attribute, expression, holds=True)


def _met(attribute: str, expression: Expression, *, holds: bool) -> Expression | None:
    """What is left to ask for the expression to hold, or, if not `holds`, not to hold."""
    match expression:
        case Not(part):
            return _met(attribute, part, holds=not holds)
        case AllOf(parts) | AnyOf(parts):
            left = [_met(attribute, part, holds=holds) for part in parts]
            if isinstance(expression, AllOf) is holds:
                asked = tuple(part for part in left if part is not None)
                return AllOf(asked) if len(asked) > 1 else next(iter(asked), None)
            some = tuple(part for part in left if part is not None)
            return AnyOf(some) if len(some) == len(left) else None
        case _:
            if attribute in attributes_of(expression):
                return None
            return expression if holds else Not(expression)
