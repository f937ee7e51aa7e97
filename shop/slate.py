"""Slate: from values to the ordered list to show.

`arrange` orders the whole list, not one page of it, so that later pages can follow. By value first,
boosts included; then diversity over all of it, promotions on the first page, caps over the first
pages (`Caps.pages`), and exploration, which trades places between the first page and what lies
behind the capped ones, so that it breaks no cap there and takes no promoted place. What lies
outside the filter comes last and only fills up the first page.

Shapes: N contenders, M products inside the filter, K products of a slate, P promotions.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shop.explore import ExplorationSettings, explore
from shop.merchandising import boosted
from shop.rules import Caps, Rule, choose_promoted, keep_caps, spread


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """Products in the order shown, as aligned columns."""

    rows: NDArray[np.int64]  # [K] catalogue rows
    at: NDArray[np.intp]  # [K] positions in the offers and scores of this call
    values: NDArray[np.float64]  # [K] expected value, minor units
    propensities: NDArray[np.float64]  # [K] probability of this product at this position
    moved: NDArray[np.uint8]  # [K] a bit for every rule that moved the product

    def __len__(self) -> int:
        return int(self.rows.size)

    @property
    def explored(self) -> NDArray[np.bool_]:
        """[K] put into an exploration slot."""
        return (self.moved & _BIT[Rule.EXPLORATION]) > 0

    @property
    def promoted(self) -> NDArray[np.bool_]:
        """[K] has one of the places promised to a promotion."""
        return (self.moved & _BIT[Rule.PROMOTION]) > 0

    @property
    def rules(self) -> tuple[tuple[str, ...], ...]:
        """[K] names of the rules that moved the product, in the order in which they applied."""
        return tuple([_NAMES[bits] for bits in self.moved.tolist()])

    def first(self, count: int) -> "Slate":
        """The top `count` products."""
        return Slate(
            self.rows[:count],
            self.at[:count],
            self.values[:count],
            self.propensities[:count],
            self.moved[:count],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Contenders:
    """Eligible products, aligned with the offers and scores of this call."""

    rows: NDArray[np.int64]  # [N] no duplicates
    values: NDArray[np.float64]  # [N] what orders the list; not finite counts as the least
    categories: NDArray[np.int64]  # [N] codes, 0 = unknown
    brands: NDArray[np.int64]  # [N]
    inside: NDArray[np.bool_]  # [N] False: outside the caller's filter
    explorable: NDArray[np.bool_]  # [N] may be put into an exploration slot
    factors: NDArray[np.float64]  # [N] what boosts multiply the value by; 1 = none
    promotable: NDArray[np.bool_]  # [P, N] which products each promotion is for


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller and the shop want of the list."""

    page_size: int
    diversity: float  # 0..1
    caps: Caps
    exploration: ExplorationSettings
    promoted_slots: tuple[int, ...] = ()  # [P] places of the first page for each promotion


_RULES = tuple(Rule)  # at most eight: `moved` has a bit for each
_BIT = {rule: np.uint8(1 << at) for at, rule in enumerate(_RULES)}
# Every combination of rules, by its bits: naming 500 products' rules is then 500 look-ups.
_NAMES = tuple(
    tuple(rule.value for rule in _RULES if bits & int(_BIT[rule]))
    for bits in range(1 << len(_RULES))
)


def arrange(contenders: Contenders, wishes: Wishes, generator: np.random.Generator) -> Slate:
    """The whole order, best first. Equal values keep the order in which they came.

    Costs one draw pair per exploration slot from `generator`, however the draws fall.
    """
    contenders = replace(contenders, values=boosted(contenders.values, contenders.factors))
    by_value = _by_value(contenders.values)
    inside = by_value[contenders.inside[by_value]]
    outside = by_value[~contenders.inside[by_value]][: max(0, wishes.page_size - inside.size)]
    moved = np.zeros(contenders.rows.size, dtype=np.uint8)
    moved[outside] |= _BIT[Rule.OUTSIDE_FILTER]
    moved[contenders.factors != 1.0] |= _BIT[Rule.BOOST]

    order = _spread(inside, contenders, wishes, moved)
    order = _capped(order, contenders, wishes, moved)
    pool = _pool(order, contenders, wishes)
    explored = explore(
        order.size,
        pool,
        wishes.exploration,
        first_page=wishes.page_size,
        generator=generator,
        kept=np.flatnonzero(moved[order[: wishes.page_size]] & _BIT[Rule.PROMOTION]).tolist(),
    )
    _note_exploration(order, explored.order, explored.explored, moved)
    at = np.concatenate([order[explored.order], outside])
    return Slate(
        rows=contenders.rows[at],
        at=at,
        values=contenders.values[at],
        propensities=np.concatenate([explored.propensities, np.ones(outside.size)]),
        moved=moved[at],
    )


def _by_value(values: NDArray[np.float64]) -> NDArray[np.intp]:
    least = np.where(np.isfinite(values), values, -np.inf)  # one NaN would win every sort
    return np.argsort(-least, kind="stable")


def _spread(
    order: NDArray[np.intp], contenders: Contenders, wishes: Wishes, moved: NDArray[np.uint8]
) -> NDArray[np.intp]:
    places = spread(contenders.values[order], contenders.categories[order], wishes.diversity)
    lowered = places < np.arange(places.size)  # stood higher by value alone
    moved[order[places[lowered]]] |= _BIT[Rule.DIVERSITY]
    return order[places]


def _capped(
    order: NDArray[np.intp], contenders: Contenders, wishes: Wishes, moved: NDArray[np.uint8]
) -> NDArray[np.intp]:
    caps = wishes.caps
    if caps.pages == 0:  # the first page has its promotions all the same
        caps = Caps(category_share=1.0, brand_share=1.0, pages=1)
    categories, brands = contenders.categories[order], contenders.brands[order]
    promoted = choose_promoted(
        contenders.promotable[:, order],
        wishes.promoted_slots,
        categories,
        brands,
        caps,
        page_size=wishes.page_size,
    )
    capped = keep_caps(categories, brands, caps, page_size=wishes.page_size, promoted=promoted)
    moved[order[sorted(promoted)]] |= _BIT[Rule.PROMOTION]
    moved[order[capped.by_category]] |= _BIT[Rule.CATEGORY_CAP]
    moved[order[capped.by_brand]] |= _BIT[Rule.BRAND_CAP]
    return order[capped.order]


def _pool(order: NDArray[np.intp], contenders: Contenders, wishes: Wishes) -> NDArray[np.intp]:
    """Places behind the capped pages whose products fit on page one without breaking a cap."""
    behind = wishes.page_size * max(1, wishes.caps.pages)
    page, rest = order[: wishes.page_size], order[behind:]
    slots = len(wishes.exploration.slots)
    free = np.ones(rest.size, dtype=np.bool_)
    for codes, share in (
        (contenders.categories, wishes.caps.category_share),
        (contenders.brands, wishes.caps.brand_share),
    ):
        if share < 1.0 and wishes.caps.pages:
            # Room for every slot's draw at once, so that the slots stay independent.
            room = int(np.ceil(share * wishes.page_size)) - slots
            kin = np.bincount(codes[page], minlength=int(codes.max(initial=0)) + 1)
            free &= (codes[rest] == 0) | (kin[codes[rest]] <= room)
    return np.flatnonzero(free & contenders.explorable[rest]) + behind


def _note_exploration(
    order: NDArray[np.intp],
    traded: NDArray[np.intp],
    explored: NDArray[np.bool_],
    moved: NDArray[np.uint8],
) -> None:
    moved[order[traded[explored]]] |= _BIT[Rule.EXPLORATION]
    moved[order[np.flatnonzero(explored)]] |= _BIT[Rule.MADE_WAY]
