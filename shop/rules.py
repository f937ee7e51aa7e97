"""Rules: what moves a product in the list apart from its value. Each rule is a function.

What a shop may say about them is in `rulebook`, with who wins where two meet.

Rules work on an order that is already by value, and answer with a new order of its places.
An unknown category or brand (code 0) is nobody's kin: it is neither spread nor capped.

Shapes: M places of the order, N candidates, P promotions.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import is_one_of
from shop.offers import Offers


class Rule(StrEnum):
    """Names of the rules, as an explanation shows them, in the order in which they apply."""

    BOOST = "boost"  # its value was raised or lowered at the caller's wish
    DIVERSITY = "diversity"  # put lower, because its category stood above already
    PROMOTION = "promotion"  # has one of the places promised to a promotion, or is pinned
    CATEGORY_CAP = "category_cap"  # put on a later page: the category had its share
    BRAND_CAP = "brand_cap"
    EXPLORATION = "exploration"  # put into an exploration slot
    MADE_WAY = "made_way"  # gave its place to an explored product
    OUTSIDE_FILTER = "outside_filter"  # fills a list that the filter left short


@dataclass(frozen=True, slots=True)
class Caps:
    """The most of a page that one category or brand may take. 1.0 is no cap.

    The shares are choices: half a page still reads as a shop window, not as a shelf.
    """

    category_share: float = 0.5
    brand_share: float = 0.5
    pages: int = 2  # few shoppers look further; beyond these pages value alone decides

    def __post_init__(self) -> None:
        for name in ("category_share", "brand_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: must be above 0 and at most 1")
        if self.pages < 0:
            raise ValueError("pages: must not be below 0")


def is_eligible(
    offers: Offers, *, excluded_rows: NDArray[np.int64], sell_unknown_stock: bool
) -> NDArray[np.bool_]:
    """[N] which offers may be shown at all: sellable now, and not excluded by the caller."""
    sellable = offers.is_sellable(sell_unknown_stock=sell_unknown_stock)
    if excluded_rows.size == 0:
        return sellable
    return sellable & ~is_one_of(offers.rows, excluded_rows)


def spread(
    values: NDArray[np.float64], categories: NDArray[np.int64], diversity: float
) -> NDArray[np.intp]:
    """[M] places in their new order, given `values` best first.

    The second product of a category counts (1 - diversity) of its value, the third that squared,
    and so on: whoever passed by the first lamp wants the next one less. At 0 nothing moves, at 1
    the categories take turns. A value of 0 or less is left alone.

    This is the greedy choice of maximal marginal relevance with "same category" as similarity:
    within a category the order cannot change, so each product's discount is known beforehand and
    one sort replaces the loop.
    """
    if diversity <= 0.0 or values.size < 2:
        return np.arange(values.size, dtype=np.intp)
    before = _same_before(categories)
    with np.errstate(invalid="ignore"):  # -inf × 0 on values that are left alone
        worth = np.where(values > 0.0, values * (1.0 - diversity) ** before, values)
    return np.asarray(np.lexsort((before, -worth)), dtype=np.intp)


def _same_before(categories: NDArray[np.int64]) -> NDArray[np.int64]:
    """[M] how many places above have the same known category."""
    by_category = np.argsort(categories, kind="stable")
    ordered = categories[by_category]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, ordered.size])
    before = np.empty(categories.size, dtype=np.int64)
    before[by_category] = np.arange(ordered.size) - np.repeat(starts, lengths)
    before[categories == 0] = 0
    return before


@dataclass(frozen=True, slots=True, eq=False)
class PageLimits:
    """For categories, or brands: the codes, and the most of a page that each may take."""

    codes: list[int]  # [M]
    most: list[int]  # [M] places of a page, at each place that of its code

    @staticmethod
    def by_share(codes: NDArray[np.int64], share: float, page_size: int) -> "PageLimits":
        """The same share for all."""
        return PageLimits(codes.tolist(), [math.ceil(share * page_size)] * codes.size)

    def is_full(self, place: int, count: "_Count") -> bool:
        """Whether the page has as many of this place's code as it may."""
        code = self.codes[place]
        return bool(code) and count[code] >= self.most[place]


_Count = defaultdict[int, int]


def _counted(limits: Sequence[PageLimits], places: Iterable[int]) -> list[_Count]:
    """How many of each code these places have."""
    counts = [_Count(int) for _ in limits]
    for place in places:
        for limit, count in zip(limits, counts, strict=True):
            count[limit.codes[place]] += 1
    return counts


def choose_promoted(
    matches: NDArray[np.bool_],
    slots: Sequence[int],
    limits: Sequence[PageLimits],
    *,
    page_size: int,
    pinned: Mapping[int, int],
) -> set[int]:
    """Places to promote onto the first page: the best matches [P, M] of each promotion in turn.

    A promotion gets fewer than its `slots` if too few match, or pins or the caps leave no room.
    """
    if not slots:
        return set()
    on_page = [place for place, position in pinned.items() if position < page_size]
    room = page_size - len(on_page)
    counts = _counted(limits, on_page)
    chosen: set[int] = set()
    for matched, wanted in zip(matches, slots, strict=True):
        missing = min(wanted, room - len(chosen))
        for place in np.flatnonzero(matched).tolist():
            if missing == 0:
                break
            if (
                place in chosen
                or place in pinned
                or any(
                    limit.is_full(place, count) for limit, count in zip(limits, counts, strict=True)
                )
            ):
                continue
            chosen.add(place)
            missing -= 1
            for limit, count in zip(limits, counts, strict=True):
                count[limit.codes[place]] += 1
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class Capped:
    """An order after caps."""

    order: NDArray[np.intp]  # [M] places of the order that was given
    by_category: NDArray[np.intp]  # places that had to wait for a later page
    by_brand: NDArray[np.intp]


NO_PINS: Mapping[int, int] = {}


def keep_caps(
    limits: tuple[PageLimits, PageLimits],
    pages: int,
    *,
    page_size: int,
    promoted: Collection[int] = (),
    pinned: Mapping[int, int] = NO_PINS,
) -> Capped:
    """Fill the first pages so that no category or brand takes more than its share of any of them.

    What is over the cap waits for the next page and comes first there. A page that nothing else can
    fill takes over-cap products after all: a full page of lamps beats half a page. Promoted places
    (from `choose_promoted`) are on the first page whatever stands above them. Pinned places, none
    of them promoted, stand at their position (0-based, each another), or last if the list is
    shorter.
    """
    over: tuple[set[int], set[int]] = (set(), set())
    order: list[int] = []
    taken = sorted(promoted)
    rest = list(range(len(limits[0].codes)))
    if promoted or pinned:
        rest = [place for place in rest if place not in promoted and place not in pinned]
    for number in range(pages):
        start = number * page_size
        on_page = [p for p, position in pinned.items() if start <= position < start + page_size]
        room = page_size - len(taken) - len(on_page)
        counts = _counted(limits, taken + on_page)
        page, waiting, looked_at = _fill_page(rest, limits, over, room, counts)
        missing = room - len(page)
        order += sorted(taken + page) + waiting[:missing] if taken else page + waiting[:missing]
        rest = waiting[missing:] + rest[looked_at:]
        taken = []
    order += rest
    for place, position in sorted(pinned.items(), key=lambda pin: pin[1]):
        order.insert(position, place)
    return Capped(np.array(order, dtype=np.intp), _places(over[0]), _places(over[1]))


def _fill_page(
    rest: list[int],
    limits: tuple[PageLimits, PageLimits],
    over: tuple[set[int], set[int]],
    room: int,
    counts: Sequence[_Count],
) -> tuple[list[int], list[int], int]:
    """Places for one page, places that must wait, and how many of `rest` those are together.

    `counts` say what the page has already beside its `room`; `over` collects what was over which
    cap.
    """
    page: list[int] = []
    waiting: list[int] = []
    # Written out for the two kinds: as a loop over kinds this was a twelfth of a call's CPU.
    categories, brands = limits
    category_of, category_most = categories.codes, categories.most
    brand_of, brand_most = brands.codes, brands.most
    over_category, over_brand = over
    in_category, in_brand = counts
    for looked_at, place in enumerate(rest):
        if len(page) == room:
            return page, waiting, looked_at
        category, brand = category_of[place], brand_of[place]
        if category and in_category[category] >= category_most[place]:
            over_category.add(place)
            waiting.append(place)
        elif brand and in_brand[brand] >= brand_most[place]:
            over_brand.add(place)
            waiting.append(place)
        else:
            page.append(place)
            in_category[category] += 1
            in_brand[brand] += 1
    return page, waiting, len(rest)


def _places(places: Iterable[int]) -> NDArray[np.intp]:
    return np.array(sorted(places), dtype=np.intp)


def stand_in(
    order: NDArray[np.intp],
    demoted: NDArray[np.bool_],
    stand_ins: Mapping[int, Sequence[int]],
    fixed: Collection[int] = (),
) -> tuple[NDArray[np.intp], dict[int, int]]:
    """`order` [M] with what is `demoted` [N] behind all others, and who stands in for whom.

    The place of something demoted goes to the first of its `stand_ins` that stands further down, is
    neither demoted itself nor `fixed`, each to one place only.
    """
    place_of = np.zeros(demoted.size, dtype=np.intp)  # the first place, or not in the order at all
    place_of[order] = np.arange(order.size)
    behind = demoted[order]
    key = np.where(behind, order.size, 0) + np.arange(order.size)
    stands_for: dict[int, int] = {}
    for place in np.flatnonzero(behind).tolist():
        each = int(order[place])
        for other in stand_ins.get(each, ()):
            if place_of[other] > place and not (
                demoted[other] or other in stands_for or other in fixed
            ):
                key[place_of[other]] = place
                stands_for[other] = each
                break
    return order[np.argsort(key, kind="stable")], stands_for
