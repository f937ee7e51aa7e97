"""Slate: from values to the ordered list to show.

`arrange` orders the whole list, not one page of it, so that later pages can follow. By value first,
boosts included; then diversity over all of it; what the rule book demotes goes behind, and a
back-ordered product's place to one like it; pins at their positions, promotions on the first page,
caps over the first pages (`Caps.pages`), and exploration, which trades places between the first
page and what lies behind the capped ones, so that it breaks no cap there and takes no pinned or
promoted place. What lies outside the filter comes last, the least relaxed first, and only fills up
the first page. Who wins where two rules meet is in `rulebook`.

Shapes: N contenders, M products inside the filter, K products of a slate, P promotions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shop.explore import ExplorationSettings, explore
from shop.merchandising import boosted
from shop.ruled_order import RuledOrder
from shop.rules import Caps, Rule, choose_promoted, keep_caps, spread
from shop.ruling import Ruling


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """Products in the order shown, as aligned columns."""

    rows: NDArray[np.int64]  # [K] catalogue rows
    at: NDArray[np.intp]  # [K] positions in the offers and scores of this call
    values: NDArray[np.float64]  # [K] expected value, minor units
    propensities: NDArray[np.float64]  # [K] probability of this product at this position
    moved: NDArray[np.uint8]  # [K] a bit for every rule that moved the product
    # By catalogue row: rules of the book that moved the product. Empty unless it is to explain.
    marks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.rows.size)

    @property
    def explored(self) -> NDArray[np.bool_]:
        """[K] put into an exploration slot."""
        return (self.moved & _BIT[Rule.EXPLORATION]) > 0

    @property
    def promoted(self) -> NDArray[np.bool_]:
        """[K] has one of the places promised to a promotion, or is pinned."""
        return (self.moved & _BIT[Rule.PROMOTION]) > 0

    @property
    def rules(self) -> tuple[tuple[str, ...], ...]:
        """[K] names of the rules that moved the product, in the order in which they applied.

        Then those of the rule book among them, each as `kind:id`.
        """
        names = [_NAMES[bits] for bits in self.moved.tolist()]
        if self.marks:
            rows = self.rows.tolist()
            names = [n + self.marks.get(row, ()) for n, row in zip(names, rows, strict=True)]
        return tuple(names)

    def first(self, count: int) -> "Slate":
        """The top `count` products."""
        return Slate(
            self.rows[:count],
            self.at[:count],
            self.values[:count],
            self.propensities[:count],
            self.moved[:count],
            self.marks,
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
    ruling: Ruling | None = None  # of the rule book; None: it has no say in this order
    # [N] of those outside the filter, how far it was relaxed for them; the least comes first
    relaxed: NDArray[np.int8] | None = None


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
    contenders = _weighed(contenders)
    by_value = _by_value(contenders.values)
    inside = by_value[contenders.inside[by_value]]
    outside = _outside(by_value, contenders)[: max(0, wishes.page_size - inside.size)]
    moved = np.zeros(contenders.rows.size, dtype=np.uint8)
    moved[outside] |= _BIT[Rule.OUTSIDE_FILTER]
    moved[contenders.factors != 1.0] |= _BIT[Rule.BOOST]

    order = _spread(inside, contenders, wishes, moved)
    book = RuledOrder(contenders.ruling, contenders.inside)
    order = book.demoted_last(order)
    order = _capped(order, contenders, wishes, moved, book)
    pool = _pool(order, contenders, wishes, book)
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
        marks=book.marks(contenders.rows),
    )


def _weighed(contenders: Contenders) -> Contenders:
    factors = contenders.factors
    if contenders.ruling is not None and contenders.ruling.factors is not None:
        factors = factors * contenders.ruling.factors
    return replace(contenders, factors=factors, values=boosted(contenders.values, factors))


def _by_value(values: NDArray[np.float64]) -> NDArray[np.intp]:
    least = np.where(np.isfinite(values), values, -np.inf)  # one NaN would win every sort
    return np.argsort(-least, kind="stable")


def _outside(by_value: NDArray[np.intp], contenders: Contenders) -> NDArray[np.intp]:
    outside = by_value[~contenders.inside[by_value]]
    if contenders.relaxed is None:
        return outside
    return outside[np.argsort(contenders.relaxed[outside], kind="stable")]


def _spread(
    order: NDArray[np.intp], contenders: Contenders, wishes: Wishes, moved: NDArray[np.uint8]
) -> NDArray[np.intp]:
    places = spread(contenders.values[order], contenders.categories[order], wishes.diversity)
    lowered = places < np.arange(places.size)  # stood higher by value alone
    moved[order[places[lowered]]] |= _BIT[Rule.DIVERSITY]
    return order[places]


def _capped(
    order: NDArray[np.intp],
    contenders: Contenders,
    wishes: Wishes,
    moved: NDArray[np.uint8],
    book: RuledOrder,
) -> NDArray[np.intp]:
    caps = wishes.caps
    if caps.pages == 0:  # the first page has its promotions, pins and the book's caps all the same
        caps = Caps(category_share=1.0, brand_share=1.0, pages=1)
    limits = book.limits(
        contenders.categories[order], contenders.brands[order], caps, wishes.page_size
    )
    pinned = book.pinned_places(order)
    promoted = choose_promoted(
        book.promotable(contenders.promotable)[:, order],
        wishes.promoted_slots,
        limits,
        page_size=wishes.page_size,
        pinned=pinned,
    )
    capped = keep_caps(
        limits, caps.pages, page_size=wishes.page_size, promoted=promoted, pinned=pinned
    )
    moved[order[[*sorted(promoted), *pinned]]] |= _BIT[Rule.PROMOTION]
    moved[order[capped.by_category]] |= _BIT[Rule.CATEGORY_CAP]
    moved[order[capped.by_brand]] |= _BIT[Rule.BRAND_CAP]
    book.tell_capped(order, capped, contenders.categories, contenders.brands)
    return order[capped.order]


def _pool(
    order: NDArray[np.intp], contenders: Contenders, wishes: Wishes, book: RuledOrder
) -> NDArray[np.intp]:
    """Places behind the capped pages whose products fit on page one without breaking a cap."""
    behind = wishes.page_size * max(1, wishes.caps.pages)
    page, rest = order[: wishes.page_size], order[behind:]
    slots = len(wishes.exploration.slots)
    free = book.explorable(contenders.explorable)[rest]
    for codes, share, ruled in (
        (contenders.categories, wishes.caps.category_share, book.category_caps),
        (contenders.brands, wishes.caps.brand_share, book.brand_caps),
    ):
        if ruled is None and (share == 1.0 or not wishes.caps.pages):
            continue
        limit = int(np.ceil(share * wishes.page_size)) if wishes.caps.pages else wishes.page_size
        # Room for every slot's draw at once, so that the slots stay independent.
        room: int | NDArray[np.int64] = limit - slots
        if ruled is not None:
            most = ruled.limits(codes[rest], page_size=wishes.page_size, otherwise=limit)
            room = np.where(most < wishes.page_size, most - slots, wishes.page_size)
        kin = np.bincount(codes[page], minlength=int(codes.max(initial=0)) + 1)
        free &= (codes[rest] == 0) | (kin[codes[rest]] <= room)
    return np.flatnonzero(free) + behind


def _note_exploration(
    order: NDArray[np.intp],
    traded: NDArray[np.intp],
    explored: NDArray[np.bool_],
    moved: NDArray[np.uint8],
) -> None:
    moved[order[traded[explored]]] |= _BIT[Rule.EXPLORATION]
    moved[order[np.flatnonzero(explored)]] |= _BIT[Rule.MADE_WAY]
