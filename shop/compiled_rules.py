"""Compiled rules: a rule book fitted to one release, so that a call asks arrays instead of rules.

Products that every rule treats alike by name (id, category, brand) form a group; there are far
fewer groups than products, and what the rules of a call say by name is worked out per group and
kept. Price and stock are the call's: rules that ask for them are columns, compared at once.

Shapes: R catalogue rows, G groups, B boxes of all rules, D boxes of some rules, J of these rules.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT, Catalogue
from shop.countries import UNKNOWN_COUNTRY, country_of
from shop.filters import Filter, holds_by_name, only_category
from shop.rule_clauses import Box, Shelf, boxes_of
from shop.rulebook import BookRule, Cap, Kind, Pin, RuleBook, Selection
from shop.surroundings import NOTHING_TRENDS, Trending

_COLUMNS_AT_ONCE = 30  # bits of a key, beside 31 bits of the group before


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of some rules, as columns; a rule's boxes stand together."""

    by_name: NDArray[np.bool_]  # [D, G] holds for the group, as far as names tell
    low: NDArray[np.int64]  # [D] prices, both allowed
    high: NDArray[np.int64]  # [D]
    shelf: NDArray[np.int8]  # [D]
    starts: NDArray[np.intp]  # [J] the first box of each rule
    rules: tuple[BookRule, ...]  # [J]

    @property
    def any_by_name(self) -> NDArray[np.bool_]:
        """[J, G] groups for which a rule may hold; it does, if it asks for names alone."""
        return self.per_rule(self.by_name)

    def per_rule(self, boxes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[J, …] from [D, …]: any box of a rule is enough."""
        if self.starts.size == boxes.shape[0]:
            return boxes
        return np.logical_or.reduceat(boxes, self.starts, axis=0)

    def of(self, rules: Sequence[BookRule]) -> "Boxes":
        """Those of these rules, which are some of ours."""
        wanted = {rule.id for rule in rules}
        ends = np.append(self.starts[1:], self.low.size)
        spans = [
            np.arange(start, end)
            for start, end, rule in zip(self.starts, ends, self.rules, strict=True)
            if rule.id in wanted
        ]
        at = np.concatenate(spans) if spans else np.zeros(0, dtype=np.intp)
        lengths = np.array([span.size for span in spans], dtype=np.intp)
        starts = np.cumsum(lengths) - lengths
        kept = tuple(rule for rule in self.rules if rule.id in wanted)
        return Boxes(self.by_name[at], self.low[at], self.high[at], self.shelf[at], starts, kept)


class ScopeKey(NamedTuple):
    """All of a call that decides which rules are for it. There are few: they can be kept."""

    placement: str
    country: str  # one that some rule names, UNKNOWN_COUNTRY, or _OTHER
    page_category: str  # one that some rule names, or ""
    era: int  # between which window's edges
    weather: str  # one that some rule names, or "": another, or not known


_OTHER = "other"  # a country that no rule names


@dataclass(frozen=True, slots=True, eq=False)
class CompiledBook:
    """A book and what this release's products mean to it."""

    book: RuleBook
    catalogue: Catalogue
    group_of_row: NDArray[np.int32]  # [R]
    boxes: Boxes  # [B] of every rule that selects products
    pinned_row: dict[str, int]  # by rule id; without products that the catalogue lacks
    edges: tuple[int, ...]  # Unix ms at which some window opens or closes, ascending
    countries: frozenset[str]  # that some rule names
    page_categories: frozenset[str]
    weathers: frozenset[str]
    asks_around: bool  # some rule asks for weather or trends
    trending: Trending

    def key(
        self,
        *,
        placement: str,
        country: str,
        page_filter: Filter | None,
        now_ms: int,
        weather: str = "",
    ) -> ScopeKey:
        """Where a call stands."""
        code = country_of(country)
        if code != UNKNOWN_COUNTRY and code not in self.countries:
            code = _OTHER
        page_category = ""
        if self.page_categories and page_filter is not None:
            page_category = only_category(page_filter.expression)
            if page_category not in self.page_categories:
                page_category = ""
        if weather not in self.weathers:
            weather = ""
        era = bisect_right(self.edges, now_ms)
        return ScopeKey(placement, code, page_category, era, weather)

    def rules_for(self, key: ScopeKey) -> tuple[BookRule, ...]:
        """The rules that hold there."""
        return tuple(
            rule
            for rule in self._meant_for(key)
            if (not rule.scope.weathers or key.weather in rule.scope.weathers)
            and (not rule.scope.trending or rule.scope.trending & self.trending.terms)
        )

    def asks(self, key: ScopeKey) -> tuple[bool, bool]:
        """Whether some rule there depends on the weather, and on what people look for."""
        rules = self._meant_for(key)
        return (
            any(rule.scope.weathers for rule in rules),
            any(rule.asks_trends for rule in rules),
        )

    def _meant_for(self, key: ScopeKey) -> list[BookRule]:
        """The rules that hold there, whatever goes on around the shop."""
        # Every instant of an era is like its first; before the first edge nothing has opened.
        now_ms = self.edges[key.era - 1] if key.era else -(2**62)
        return [rule for rule in self.book.rules if _is_for(rule, key, now_ms)]


def _is_for(rule: BookRule, key: ScopeKey, now_ms: int) -> bool:
    scope = rule.scope
    unknown_is_legal = rule.kind is Kind.LEGAL and key.country == UNKNOWN_COUNTRY
    return (
        scope.window.holds_at(now_ms)
        and (not scope.placements or key.placement in scope.placements)
        and (not scope.countries or key.country in scope.countries or unknown_is_legal)
        and (not scope.page_categories or key.page_category in scope.page_categories)
    )


def compile_book(
    book: RuleBook, catalogue: Catalogue, trending: Trending = NOTHING_TRENDS
) -> CompiledBook:
    """About 3 ms per rule and million products: not for an event loop.

    What the catalogue does not know is not there: such a part of a rule selects nothing. What
    trends is fitted in with it; a change of it takes a new fit.
    """
    selecting = [rule for rule in book.rules if not isinstance(rule.effect, Cap | Pin)]
    boxes_by_rule = [boxes_of(rule.selection.condition) for rule in selecting]
    boxes = [
        (rule, box)
        for rule, its in zip(selecting, boxes_by_rule, strict=True)
        for box in its or (Box(low=1, high=0),)  # a condition that nothing can meet
    ]
    group_of_row, by_name = _grouped(boxes, catalogue, trending.products)
    lengths = np.array([max(1, len(its)) for its in boxes_by_rule], dtype=np.intp)
    windows = [rule.scope.window for rule in book.rules]
    edges = {edge for w in windows for edge in (w.from_ms, w.until_ms) if edge is not None}
    row_of = catalogue.row_of
    pins = [(rule.id, rule.effect) for rule in book.rules if isinstance(rule.effect, Pin)]
    return CompiledBook(
        book=book,
        catalogue=catalogue,
        group_of_row=group_of_row,
        boxes=Boxes(
            by_name=by_name,
            low=np.array([box.low for _, box in boxes], dtype=np.int64),
            high=np.array([box.high for _, box in boxes], dtype=np.int64),
            shelf=np.array([box.shelf for _, box in boxes], dtype=np.int8),
            starts=np.cumsum(lengths) - lengths,
            rules=tuple(selecting),
        ),
        pinned_row={name: row_of[p.product_id] for name, p in pins if p.product_id in row_of},
        edges=tuple(sorted(edges)),
        countries=frozenset().union(*(rule.scope.countries for rule in book.rules)),
        page_categories=frozenset().union(*(rule.scope.page_categories for rule in book.rules)),
        weathers=frozenset().union(*(rule.scope.weathers for rule in book.rules)),
        asks_around=book.asks_trends or any(rule.scope.weathers for rule in book.rules),
        trending=trending,
    )


def _grouped(
    boxes: Sequence[tuple[BookRule, Box]],
    catalogue: Catalogue,
    trending: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """[R] the group of each row, and [B, G] which boxes hold for it by name."""
    count = catalogue.product_count + 1
    group = np.zeros(count, dtype=np.int64)
    first = np.zeros(1, dtype=np.intp)  # [G] a row of each group
    keys = []
    for start in range(0, len(boxes), _COLUMNS_AT_ONCE):
        key = np.zeros(count, dtype=np.int64)
        for bit, (rule, box) in enumerate(boxes[start : start + _COLUMNS_AT_ONCE]):
            chosen = _selected(rule.selection, box, catalogue)
            if rule.selection.trending:
                chosen &= False if trending is None else trending
            key |= chosen.astype(np.int64) << bit
        keys.append(key)
        _, first, group = np.unique(
            (group << _COLUMNS_AT_ONCE) | key, return_index=True, return_inverse=True
        )
    by_name = np.zeros((len(boxes), first.size), dtype=np.bool_)
    for at in range(len(boxes)):
        key = keys[at // _COLUMNS_AT_ONCE][first]
        by_name[at] = (key >> (at % _COLUMNS_AT_ONCE)) & 1
    return group.astype(np.int32), by_name


def _selected(selection: Selection, box: Box, catalogue: Catalogue) -> NDArray[np.bool_]:
    """[R]"""
    chosen = np.zeros(catalogue.product_count + 1, dtype=np.bool_)
    if selection.has_lists:
        chosen[catalogue.rows_of(list(selection.product_ids))] = True
        for names, code_of, codes, count in (
            (
                selection.categories,
                catalogue.category_code_of,
                catalogue.category_codes,
                len(catalogue.category_names),
            ),
            (
                selection.brands,
                catalogue.brand_code_of,
                catalogue.brand_codes,
                len(catalogue.brand_names),
            ),
        ):
            if names:
                listed = np.zeros(count, dtype=np.bool_)
                listed[[code_of[name] for name in names if name in code_of]] = True
                chosen |= listed[codes]
    else:
        chosen[:] = True
    for expression in box.by_name:
        chosen &= holds_by_name(expression, catalogue)
    chosen[NO_PRODUCT] = False
    return chosen


def asks_for_names_alone(rule: BookRule) -> bool:
    """Whether neither price nor stock decides about any product."""
    return all(box.is_by_name for box in boxes_of(rule.selection.condition))


def in_stock_matters(boxes: Boxes) -> bool:
    """Whether any box asks for the stock."""
    return bool((boxes.shelf != Shelf.ANY).any())
