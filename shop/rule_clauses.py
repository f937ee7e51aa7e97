"""Rule clauses: a rule's condition taken apart into what a release knows and what a call learns.

Category and brand are the release's; price and stock are the call's. A condition becomes boxes, of
which any is enough: something that holds by name, and a range of prices, and a state of stock. The
first is worked out once for a release, the other two are comparisons of columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from shop.filter_grammar import (
    AllOf,
    AnyOf,
    Comparator,
    Expression,
    InStock,
    Not,
    OneOf,
    PriceIs,
)

MAX_BOXES = 16  # each is a column that calls compare
HIGHEST_PRICE = 2**62


class Shelf(IntEnum):
    """What a box asks of the stock."""

    ANY = 0
    IN_STOCK = 1
    OUT_OF_STOCK = 2


@dataclass(frozen=True, slots=True)
class Box:
    """Holds by name, between these prices, and on this shelf."""

    by_name: tuple[Expression, ...] = ()  # all of them hold
    low: int = 0  # minor units, both allowed
    high: int = HIGHEST_PRICE
    shelf: Shelf = Shelf.ANY

    @property
    def is_by_name(self) -> bool:
        """Whether it asks for neither price nor stock."""
        return self.low <= 0 and self.high >= HIGHEST_PRICE and self.shelf is Shelf.ANY

    def and_also(self, other: "Box") -> "Box | None":
        """Both at once; None if nothing can be both."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        shelves = {self.shelf, other.shelf} - {Shelf.ANY}
        if low > high or len(shelves) > 1:
            return None
        return Box(self.by_name + other.by_name, low, high, next(iter(shelves), Shelf.ANY))


class TooManyBoxes(ValueError):
    """The condition has more alternatives than a call should compare."""


def boxes_of(condition: Expression | None) -> tuple[Box, ...]:
    """Boxes of which a product is in at least one if, and only if, the condition holds for it.

    Raises TooManyBoxes.
    """
    if condition is None:
        return (Box(),)
    return tuple(_boxes(condition, holds=True))


def _boxes(expression: Expression, *, holds: bool) -> list[Box]:
    """Where the expression holds, or, if not `holds`, where it does not."""
    if _is_by_name(expression):
        return [Box((expression if holds else Not(expression),))]
    match expression:
        case PriceIs(comparator, amount_minor):
            return _price_boxes(comparator if holds else _OPPOSITE[comparator], amount_minor)
        case InStock():
            return [Box(shelf=Shelf.IN_STOCK if holds else Shelf.OUT_OF_STOCK)]
        case Not(part):
            return _boxes(part, holds=not holds)
        case AllOf(parts):
            return _every(parts, holds=True) if holds else _any(parts, holds=False)
        case AnyOf(parts):
            return _any(parts, holds=True) if holds else _every(parts, holds=False)
        case OneOf():
            raise ValueError("holds by name")


def _any(parts: Sequence[Expression], *, holds: bool) -> list[Box]:
    return _few([box for part in parts for box in _boxes(part, holds=holds)])


def _every(parts: Sequence[Expression], *, holds: bool) -> list[Box]:
    met = [Box()]
    for part in parts:
        more = _boxes(part, holds=holds)
        both = [one.and_also(other) for one in met for other in more]
        met = _few([box for box in both if box is not None])
    return met


def _few(boxes: list[Box]) -> list[Box]:
    if len(boxes) > MAX_BOXES:
        raise TooManyBoxes(f"has more than {MAX_BOXES} alternatives of price and stock")
    return boxes


def _is_by_name(expression: Expression) -> bool:
    match expression:
        case OneOf():
            return True
        case PriceIs() | InStock():
            return False
        case Not(part):
            return _is_by_name(part)
        case AllOf(parts) | AnyOf(parts):
            return all(_is_by_name(part) for part in parts)


_OPPOSITE: dict[Comparator, Comparator] = {
    "=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"
}  # fmt: skip


def _price_boxes(comparator: Comparator, amount_minor: float) -> list[Box]:
    """Prices are whole numbers of minor units; amounts need not be."""
    below, above = math.floor(amount_minor), math.ceil(amount_minor)
    is_price = below == above
    under, over = Box(high=above - 1), Box(low=below + 1)
    match comparator:
        case "=":
            ranges = [Box(low=below, high=below)] if is_price else []
        case "!=":
            ranges = [under, over] if is_price else [Box()]
        case "<":
            ranges = [under]
        case "<=":
            ranges = [Box(high=below)]
        case ">":
            ranges = [over]
        case ">=":
            ranges = [Box(low=above)]
    return [box for box in ranges if box.low <= box.high]
