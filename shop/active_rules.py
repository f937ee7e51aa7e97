"""Active rules: what of a compiled book holds for one kind of call, worked out once and kept.

Shapes: R catalogue rows, G groups, N offers, J rules of one family.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shop.code_caps import CodeCaps, code_caps
from shop.compiled_rules import (
    Boxes,
    CompiledBook,
    asks_for_names_alone,
    in_stock_matters,
)
from shop.offers import Offers
from shop.rule_clauses import Shelf
from shop.rulebook import (
    MAX_PRIORITY,
    BackOrder,
    BookRule,
    Exclude,
    MarginFloor,
    Pin,
    Weigh,
)

_NO_RULE = -MAX_PRIORITY - 1  # a priority below every rule's
# Above this share of the catalogue a search that does not know of it would find too little: of 600
# candidates 500 are needed.
_TELL_THE_SEARCH = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Rules to be put to a call's offers."""

    boxes: Boxes
    amounts: NDArray[np.float64]  # [J] each rule's figure; 0 for those that have none
    # Priorities, ascending, and which rules have each.
    levels: tuple[tuple[int, NDArray[np.intp]], ...]
    asks_stock: bool
    marks: tuple[str, ...]  # [J] the rules' names in an explanation

    @staticmethod
    def of(boxes: Boxes) -> "Asked":
        """The same boxes, looked through once."""
        priorities = np.array([rule.priority for rule in boxes.rules], dtype=np.int32)
        levels = tuple(
            (int(level), np.flatnonzero(priorities == level)) for level in np.unique(priorities)
        )
        amounts = np.array([_amount(rule) for rule in boxes.rules], dtype=np.float64)
        marks = tuple(rule.mark for rule in boxes.rules)
        return Asked(boxes, amounts, levels, in_stock_matters(boxes), marks)

    def hits(self, groups: NDArray[np.int32], offers: Offers) -> NDArray[np.bool_]:
        """[J, N] which rules hold for which offers."""
        boxes = self.boxes
        held = boxes.by_name.take(groups, axis=1)
        held &= offers.price_minor >= boxes.low[:, None]
        held &= offers.price_minor <= boxes.high[:, None]
        if self.asks_stock:
            in_stock = ~offers.stock_tracked | (offers.stock_known & (offers.stock > 0))
            shelf = boxes.shelf[:, None]
            held &= (shelf == Shelf.ANY) | ((shelf == Shelf.IN_STOCK) == in_stock)
        return boxes.per_rule(held)


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """One figure for each product, and the priority of the rules that it comes from."""

    value: NDArray[np.float64]  # [G] or [N]
    priority: NDArray[np.int32]  # [G] or [N]


Strictest = Literal["product", "highest", "lowest"]
_NEUTRAL: dict[Strictest, float] = {"product": 1.0, "highest": -np.inf, "lowest": np.inf}


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Rules that give products a figure: a factor, or a limit."""

    strictest: Strictest  # how the figures of equal rules become one
    by_name: Figures  # [G] of the rules that ask for names alone
    asked: Asked | None  # the others
    every: Asked  # all of them, to explain

    def of(self, groups: NDArray[np.int32], offers: Offers) -> Figures:
        """[N] each offer's figure, by the rules of the highest priority that hold for it."""
        named = Figures(self.by_name.value[groups], self.by_name.priority[groups])
        if self.asked is None:
            return named
        return _higher(
            named, figures(self.asked, self.asked.hits(groups, offers), self.strictest),
            self.strictest,
        )  # fmt: skip


def figures(asked: Asked, hits: NDArray[np.bool_], strictest: Strictest) -> Figures:
    """From which rules hold, [J, N], to one figure each, [N]."""
    neutral = _NEUTRAL[strictest]
    value = np.full(hits.shape[1], neutral)
    priority = np.full(hits.shape[1], _NO_RULE, dtype=np.int32)
    for level, at in asked.levels:
        held = hits[at]
        some = held.any(axis=0)
        joined = _joined(np.where(held, asked.amounts[at, None], neutral), strictest)
        value = np.where(some, joined, value)
        priority[some] = level
    return Figures(value, priority)


def _amount(rule: BookRule) -> float:
    match rule.effect:
        case Weigh(factor):
            return factor
        case MarginFloor(share):
            return share
        case BackOrder(risk):
            return risk
        case _:
            return 0.0


def _joined(each: NDArray[np.float64], strictest: Strictest) -> NDArray[np.float64]:
    match strictest:
        case "product":
            with np.errstate(all="ignore"):  # hundreds of factors; `ruling` bounds them
                joined = each.prod(axis=0)
        case "highest":
            joined = each.max(axis=0)
        case "lowest":
            joined = each.min(axis=0)
    return np.asarray(joined, dtype=np.float64)


def _higher(one: Figures, other: Figures, strictest: Strictest) -> Figures:
    """[N] of each the figure of the higher priority; of equals the two joined."""
    match strictest:
        case "product":
            with np.errstate(all="ignore"):
                both = one.value * other.value
        case "highest":
            both = np.maximum(one.value, other.value)
        case "lowest":
            both = np.minimum(one.value, other.value)
    value = np.where(one.priority > other.priority, one.value, other.value)
    value = np.where(one.priority == other.priority, both, value)
    return Figures(value, np.maximum(one.priority, other.priority))


@dataclass(frozen=True, slots=True)
class ActivePin:
    """A product of this release to be pinned."""

    row: int
    position: int  # 1-based
    mark: str


@dataclass(frozen=True, slots=True, eq=False)
class ActiveRules:
    """The rules for one kind of call. What no rule is about is None or empty."""

    group_of_row: NDArray[np.int32]  # [R]
    excluded: NDArray[np.bool_] | None  # [G] by name
    excluding: Asked | None  # the exclusions that ask for price or stock
    allowed: NDArray[np.bool_] | None  # [R] where to search, if a search must know; read only
    factors: Family | None
    margin_floors: Family | None
    back_orders: Family | None
    pins: tuple[ActivePin, ...]  # the first has the first choice of places
    category_caps: CodeCaps | None
    brand_caps: CodeCaps | None

    @property
    def orders(self) -> bool:
        """Whether any rule has a say in the order."""
        return bool(
            self.pins
            or self.factors
            or self.margin_floors
            or self.back_orders
            or self.category_caps
            or self.brand_caps
        )


def active_rules(compiled: CompiledBook, rules: Sequence[BookRule]) -> ActiveRules | None:
    """These rules of the book, made ready for calls; None if there are none."""
    if not rules:
        return None
    excluded, excluding = _exclusions(compiled, rules)
    catalogue = compiled.catalogue
    return ActiveRules(
        group_of_row=compiled.group_of_row,
        excluded=excluded,
        excluding=excluding,
        allowed=_allowed(compiled, excluded),
        factors=_family(compiled, rules, Weigh, "product"),
        margin_floors=_family(compiled, rules, MarginFloor, "highest"),
        back_orders=_family(compiled, rules, BackOrder, "lowest"),
        pins=_pins(compiled, rules),
        category_caps=code_caps(rules, "category", catalogue.category_code_of),
        brand_caps=code_caps(rules, "brand", catalogue.brand_code_of),
    )


def _exclusions(
    compiled: CompiledBook, rules: Sequence[BookRule]
) -> tuple[NDArray[np.bool_] | None, Asked | None]:
    by_name, asking = _parted(rule for rule in rules if isinstance(rule.effect, Exclude))
    excluded = None
    if by_name:
        excluded = np.asarray(compiled.boxes.of(by_name).any_by_name.any(axis=0), dtype=np.bool_)
    return excluded, Asked.of(compiled.boxes.of(asking)) if asking else None


def _parted(rules: Iterable[BookRule]) -> tuple[list[BookRule], list[BookRule]]:
    """Rules that ask for names alone, and the others."""
    by_name: list[BookRule] = []
    asking: list[BookRule] = []
    for rule in rules:
        (by_name if asks_for_names_alone(rule) else asking).append(rule)
    return by_name, asking


def _allowed(
    compiled: CompiledBook, excluded: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    if excluded is None:
        return None
    allowed = ~excluded[compiled.group_of_row]
    if np.count_nonzero(~allowed) <= _TELL_THE_SEARCH * allowed.size:
        return None
    return np.asarray(allowed, dtype=np.bool_)


def _family(
    compiled: CompiledBook,
    rules: Sequence[BookRule],
    effect: type[Weigh | MarginFloor | BackOrder],
    strictest: Strictest,
) -> Family | None:
    of_it = [rule for rule in rules if isinstance(rule.effect, effect)]
    if not of_it:
        return None
    by_name, asking = _parted(of_it)
    named = Asked.of(compiled.boxes.of(by_name))
    groups = compiled.boxes.by_name.shape[1]
    hits = named.boxes.any_by_name if by_name else np.zeros((0, groups), dtype=np.bool_)
    return Family(
        strictest=strictest,
        by_name=figures(named, hits, strictest),
        asked=Asked.of(compiled.boxes.of(asking)) if asking else None,
        every=Asked.of(compiled.boxes.of(of_it)),
    )


def _pins(compiled: CompiledBook, rules: Sequence[BookRule]) -> tuple[ActivePin, ...]:
    """By priority; of a product that two rules pin, the first."""
    found: dict[int, ActivePin] = {}
    for rule in sorted(rules, key=lambda rule: (-rule.priority, rule.id)):
        if isinstance(rule.effect, Pin) and rule.id in compiled.pinned_row:
            row = compiled.pinned_row[rule.id]
            found.setdefault(row, ActivePin(row, rule.effect.position, rule.mark))
    return tuple(found.values())
