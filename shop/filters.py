"""Filters: which products a caller allows, judged on columns. The grammar is in `filter_grammar`.

A filter is judged twice: on the whole catalogue before retrieval, with what was last seen of prices
and stock, and on the final offers, so that what is shown satisfies it. A category or brand that the
catalogue does not know matches nothing.

Shapes: R catalogue rows, N offers.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT, Catalogue
from shop.filter_grammar import (
    AllOf,
    AnyOf,
    Comparator,
    Expression,
    InStock,
    Not,
    OneOf,
    PriceIs,
    TextAttribute,
    parse,
)
from shop.offers import Offers


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter: which products may be in the list."""

    text: str  # as it was written; who compares filters compares expressions
    expression: Expression

    def mask(
        self,
        catalogue: Catalogue,
        *,
        price_minor: NDArray[np.int64],
        in_stock: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """[R] catalogue rows that match, as far as these columns know.

        price_minor [R] and in_stock [R] hold what was last seen of each product.
        """
        every = slice(None)
        matches = _holds(self.expression, _Columns(catalogue, every, price_minor, in_stock))
        matches[NO_PRODUCT] = False
        return matches

    def admits(self, offers: Offers, catalogue: Catalogue) -> NDArray[np.bool_]:
        """[N] offers that match with the price and stock that will be shown.

        Unknown stock is not in stock: the caller asked for certainty.
        """
        in_stock = ~offers.stock_tracked | (offers.stock_known & (offers.stock > 0))
        columns = _Columns(catalogue, offers.rows, offers.price_minor, in_stock)
        return np.logical_and(_holds(self.expression, columns), offers.price_known)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    catalogue: Catalogue
    rows: NDArray[np.int64] | slice
    price_minor: NDArray[np.int64]
    in_stock: NDArray[np.bool_]


def holds_by_name(expression: Expression, catalogue: Catalogue) -> NDArray[np.bool_]:
    """[R] rows for which an expression holds that asks for neither price nor stock."""
    nothing = np.zeros(0, dtype=np.int64)
    return _holds(expression, _Columns(catalogue, slice(None), nothing, nothing.astype(np.bool_)))


def only_category(expression: Expression) -> str:
    """The one category that every match is of, where the expression says so plainly; else ""."""
    match expression:
        case OneOf("category", (name,)):
            return name
        case AllOf(parts):
            return next((name for part in parts if (name := only_category(part))), "")
        case _:
            return ""


def _holds(expression: Expression, columns: _Columns) -> NDArray[np.bool_]:
    """A new array, as long as the columns."""
    match expression:
        case OneOf(attribute, values):
            return _is_one_of(attribute, values, columns)
        case PriceIs(comparator, amount_minor):
            return _compared(columns.price_minor, comparator, amount_minor)
        case InStock():
            return columns.in_stock.copy()
        case Not(part):
            return ~_holds(part, columns)
        case AllOf(parts):
            held = _holds(parts[0], columns)
            for part in parts[1:]:
                held &= _holds(part, columns)
            return held
        case AnyOf(parts):
            held = _holds(parts[0], columns)
            for part in parts[1:]:
                held |= _holds(part, columns)
            return held


def _is_one_of(
    attribute: TextAttribute, values: tuple[str, ...], columns: _Columns
) -> NDArray[np.bool_]:
    column = columns.catalogue.texts.get(attribute)
    if column is None:  # this catalogue does not tell it, so nothing is known to match
        return np.zeros(columns.catalogue.category_codes[columns.rows].size, dtype=np.bool_)
    wanted = np.zeros(len(column.names), dtype=np.bool_)
    wanted[[column.code_of[value] for value in values if value in column.code_of]] = True
    return wanted[column.codes[columns.rows]]


def _compared(
    price_minor: NDArray[np.int64], comparator: Comparator, amount_minor: float
) -> NDArray[np.bool_]:
    match comparator:
        case "=":
            holds = price_minor == amount_minor
        case "!=":
            holds = price_minor != amount_minor
        case "<":
            holds = price_minor < amount_minor
        case "<=":
            holds = price_minor <= amount_minor
        case ">":
            holds = price_minor > amount_minor
        case ">=":
            holds = price_minor >= amount_minor
    return np.asarray(holds, dtype=np.bool_)


@lru_cache(maxsize=256)  # pages send the same few filters; parsing one takes 20 µs, at most 1 ms
def parse_filter(text: str) -> Filter:
    """Raises InvalidRequest("filter", …), saying at which character and what is allowed there."""
    return Filter(text, parse(text))
