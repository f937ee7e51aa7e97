"""Ruling: what the active rules say of one call's offers. `slate` puts it into the order.

Shapes: N offers, J rules of one family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.active_rules import ActiveRules, Family
from shop.code_caps import CodeCaps
from shop.merchandising import LEAST_FACTOR, MOST_FACTOR
from shop.neighbours import Neighbours
from shop.offers import Offers

_NEAREST = 20  # neighbours tried: what is further away is hardly alike
_NO_MARKS: Mapping[int, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class PinnedOffer:
    """An offer with a place of its own, if it may be shown."""

    at: int  # position in the offers of this call
    position: int  # 1-based
    mark: str


@dataclass(frozen=True, slots=True, eq=False)
class Ruling:
    """What rules say of N offers. None and empty: nothing."""

    factors: NDArray[np.float64] | None  # [N] on the value, LEAST_FACTOR to MOST_FACTOR
    demoted: NDArray[np.bool_] | None  # [N] behind all others
    # Of back-ordered offers: the offers that are like it and can be had, most similar first.
    stand_ins: Mapping[int, Sequence[int]]
    pins: tuple[PinnedOffer, ...]  # the first has the first choice of places
    category_caps: CodeCaps | None
    brand_caps: CodeCaps | None
    explains: bool
    marks: Mapping[int, tuple[str, ...]]  # by offer: rules that weigh or demote it, to explain


def is_excluded(active: ActiveRules, offers: Offers) -> NDArray[np.bool_]:
    """[N] offers that a rule keeps from being shown."""
    excluded = np.zeros(len(offers), dtype=np.bool_)
    groups = active.group_of_row[offers.rows]
    if active.excluded is not None:
        excluded |= active.excluded[groups]
    if active.excluding is not None:
        excluded |= active.excluding.hits(groups, offers).any(axis=0)
    return excluded


def back_ordered(active: ActiveRules, offers: Offers) -> NDArray[np.bool_]:
    """[N] offers whose risk is above the limit of a rule. An unknown risk is none."""
    if active.back_orders is None:
        return np.zeros(len(offers), dtype=np.bool_)
    limits = active.back_orders.of(active.group_of_row[offers.rows], offers).value
    return np.asarray(offers.backorder_risk > limits, dtype=np.bool_)


def rule_on(
    active: ActiveRules, offers: Offers, neighbours: Neighbours, *, explain: bool
) -> Ruling:
    """What the rules say of these offers, none of them excluded."""
    groups = active.group_of_row[offers.rows]
    factors = None if active.factors is None else active.factors.of(groups, offers)
    floors = None if active.margin_floors is None else active.margin_floors.of(groups, offers)
    risky = back_ordered(active, offers)
    low = np.zeros(0, np.bool_) if floors is None else _margin_share(offers) < floors.value
    demoted = risky | low if floors is not None else risky
    return Ruling(
        factors=None if factors is None else _bounded(factors.value),
        demoted=demoted if demoted.any() else None,
        stand_ins=similar_offers(offers.rows, risky, demoted, neighbours) if risky.any() else {},
        pins=_pinned(active, offers),
        category_caps=active.category_caps,
        brand_caps=active.brand_caps,
        explains=explain,
        marks=_marks(active, groups, offers) if explain else _NO_MARKS,
    )


def _bounded(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] Hundreds of factors may leave what a float can hold."""
    return np.asarray(np.fmin(np.fmax(factors, LEAST_FACTOR), MOST_FACTOR), dtype=np.float64)


def _margin_share(offers: Offers) -> NDArray[np.float64]:
    """[N] of the price; a product that costs nothing earns nothing."""
    return np.asarray(offers.margin_minor / np.maximum(offers.price_minor, 1), dtype=np.float64)


def _pinned(active: ActiveRules, offers: Offers) -> tuple[PinnedOffer, ...]:
    if not active.pins:
        return ()
    rows = np.array([pin.row for pin in active.pins], dtype=np.int64)
    which, at = np.nonzero(rows[:, None] == offers.rows)
    return tuple(
        PinnedOffer(place, active.pins[pin].position, active.pins[pin].mark)
        for pin, place in zip(which.tolist(), at.tolist(), strict=True)
    )


def similar_offers(
    rows: NDArray[np.int64],
    wanting: NDArray[np.bool_],
    unfit: NDArray[np.bool_],
    neighbours: Neighbours,
) -> dict[int, list[int]]:
    """For each `wanting` offer [N], those of `rows` [N] that are like it and not `unfit` [N].

    Most similar first, by the item–item table.
    """
    by_row = np.argsort(rows)
    ascending = rows[by_row]
    places = np.flatnonzero(wanting)
    near = neighbours.rows[rows[places], :_NEAREST].astype(np.int64)
    at = np.minimum(np.searchsorted(ascending, near), max(0, rows.size - 1))
    offer = by_row[at]
    fits = (ascending[at] == near) & (near > 0) & ~unfit[offer]
    similar: dict[int, list[int]] = {}
    which = places[np.nonzero(fits)[0]]
    for place, other in zip(which.tolist(), offer[fits].tolist(), strict=True):
        similar.setdefault(place, []).append(other)
    return similar


def _marks(
    active: ActiveRules, groups: NDArray[np.int32], offers: Offers
) -> dict[int, tuple[str, ...]]:
    """By offer: the rules of the priority that counts, if they move it."""
    marks: dict[int, tuple[str, ...]] = {}
    for family in (active.factors, active.margin_floors, active.back_orders):
        if family is None:
            continue
        counts = family.every.hits(groups, offers) & _moves(family, groups, offers)
        which, column = np.nonzero(counts.T)
        for at, told in zip(which.tolist(), column.tolist(), strict=True):
            marks[at] = (*marks.get(at, ()), family.every.marks[told])
    return marks


def _moves(family: Family, groups: NDArray[np.int32], offers: Offers) -> NDArray[np.bool_]:
    """[J, N] where a rule, should it hold, would do something."""
    figures, limits = family.of(groups, offers), family.every.amounts[:, None]
    priorities = np.array([rule.priority for rule in family.every.boxes.rules])
    counts = priorities[:, None] == figures.priority
    match family.strictest:
        case "product":
            moves = np.asarray(figures.value != 1.0)
        case "highest":
            moves = _margin_share(offers) < limits
        case "lowest":
            moves = offers.backorder_risk > limits
    return np.asarray(counts & moves, dtype=np.bool_)
