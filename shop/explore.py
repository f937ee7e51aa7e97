"""Exploration: showing a product nobody would bet on yet, with a probability that is known exactly.

Chosen positions of the first page are exploration slots. At each of them, with probability ε, the
product that belongs there changes places with one drawn evenly from the slot's own pool. Pools are
disjoint, so the slots are independent and every probability can be written down:

    at a slot with a pool of m       the product that belongs there 1 - ε, each of the pool ε / m
    at a pool product's own place    itself 1 - ε / m, the slot's product ε / m
    anywhere else                    1

These are the propensities, given the candidates of the call. Learning from logs divides by them.

Shapes: M products of the order.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ExplorationSettings:
    """Where and how often to explore. `epsilon` 0 switches it off."""

    # 2 slots × 0.1: one list in five tries one product, about 1 % of the places of a page of 20.
    # A choice; what it costs is to be measured against the world's truth.
    epsilon: float = 0.1
    slots: tuple[int, ...] = (7, 14)  # 1-based; below the places that earn the most clicks
    # Of the products drawn to be tried, how many come from the latest arrivals: nobody knows these
    # yet, so a trial of one tells most. The propensities need not know: they are given the draw.
    fresh_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon < 1.0:
            raise ValueError("epsilon: must be 0 or more, and below 1")
        if not 0.0 <= self.fresh_share <= 1.0:
            raise ValueError("fresh_share: must be 0 to 1")
        if min(self.slots, default=1) < 1 or len(set(self.slots)) != len(self.slots):
            raise ValueError("slots: must be different positions, counted from 1")


@dataclass(frozen=True, slots=True, eq=False)
class Explored:
    """An order after exploration."""

    order: NDArray[np.intp]  # [M] positions in the order that was given
    propensities: NDArray[np.float64]  # [M] of the product at each place
    explored: NDArray[np.bool_]  # [M] True where a pool product took a slot


def explore(
    count: int,
    pool: NDArray[np.intp],
    settings: ExplorationSettings,
    *,
    first_page: int,
    generator: np.random.Generator,
    kept: Collection[int] = (),
) -> Explored:
    """Try products of `pool` (places in an order of `count`) at the slots of the first page.

    No pool place may lie on the first page; places `kept` give way to nobody. The
    generator is drawn from twice per slot, whether or not the slot explores, so that one slot's
    luck does not move the next one's.
    """
    order = np.arange(count, dtype=np.intp)
    propensities = np.ones(count)
    explored = np.zeros(count, dtype=np.bool_)
    slots = [slot - 1 for slot in settings.slots if slot <= min(first_page, count)]
    for slot, own_pool in zip(slots, _dealt(pool, len(slots)), strict=True):
        explores = generator.random() < settings.epsilon
        drawn = int(generator.random() * own_pool.size)
        if own_pool.size == 0 or settings.epsilon == 0.0 or slot in kept:
            continue
        each = settings.epsilon / own_pool.size
        propensities[slot] = 1.0 - settings.epsilon
        propensities[own_pool] = 1.0 - each
        if explores:
            place = own_pool[drawn]
            order[[slot, place]] = order[[place, slot]]
            propensities[[slot, place]] = each
            explored[slot] = True
    return Explored(order, propensities, explored)


def _dealt(pool: NDArray[np.intp], hands: int) -> Sequence[NDArray[np.intp]]:
    """The pool dealt out like cards, one hand per slot."""
    return [pool[hand::hands] for hand in range(hands)]
