"""Ruled order: the rule book's part in arranging one list, and the notes that explain it.

Shapes: N contenders, M places of an order, P promotions.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from shop.code_caps import CodeCaps
from shop.rules import Capped, Caps, PageLimits, stand_in
from shop.ruling import PinnedOffer, Ruling

_NOTHING: Mapping[int, tuple[str, ...]] = {}


class RuledOrder:
    """What a ruling, if there is one, does to an order of contenders. Made anew for every list."""

    def __init__(self, ruling: Ruling | None, inside: NDArray[np.bool_]) -> None:
        self._ruling = ruling
        self._pins = {} if ruling is None else _placed(ruling.pins, inside)
        self._demoted: NDArray[np.bool_] | None = None  # [N]
        if ruling is not None and ruling.demoted is not None:
            self._demoted = ruling.demoted.copy()
            self._demoted[list(self._pins)] = False  # a pin is stronger
        self._told: dict[int, tuple[str, ...]] = {}  # by contender
        if ruling is not None and ruling.explains:
            self._tell_weights(ruling)

    @property
    def category_caps(self) -> CodeCaps | None:
        """Caps on categories, if a rule has any."""
        return None if self._ruling is None else self._ruling.category_caps

    @property
    def brand_caps(self) -> CodeCaps | None:
        """Caps on brands, if a rule has any."""
        return None if self._ruling is None else self._ruling.brand_caps

    def demoted_last(self, order: NDArray[np.intp]) -> NDArray[np.intp]:
        """The order [M] with what is demoted behind, and what stands in for it in its place."""
        if self._ruling is None or self._demoted is None:
            return order
        moved, stands_for = stand_in(order, self._demoted, self._ruling.stand_ins, self._pins)
        if self._ruling.explains:
            for stand, back_ordered in stands_for.items():
                named = self._ruling.marks.get(back_ordered, ())
                rules = [mark for mark in named if mark.startswith("back_order:")]
                self._tell(stand, tuple(f"stands_in:{rule.partition(':')[2]}" for rule in rules))
        return moved

    def limits(
        self,
        categories: NDArray[np.int64],
        brands: NDArray[np.int64],
        caps: Caps,
        page_size: int,
    ) -> tuple[PageLimits, PageLimits]:
        """What settings and rules together let each category, and each brand, take of a page."""
        return (
            _limits(categories, self.category_caps, caps.category_share, page_size),
            _limits(brands, self.brand_caps, caps.brand_share, page_size),
        )

    def pinned_places(self, order: NDArray[np.intp]) -> dict[int, int]:
        """Places of the order [M] that are pinned, and the 0-based position of each."""
        if not self._pins:
            return {}
        place_of = dict(zip(order.tolist(), range(order.size), strict=True))
        return {place_of[at]: position for at, (position, _) in self._pins.items()}

    def promotable(self, promotable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[P, N] less what is demoted."""
        return promotable if self._demoted is None else promotable & ~self._demoted

    def explorable(self, explorable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[N] less what is demoted or pinned."""
        if self._demoted is None and not self._pins:
            return explorable
        left = explorable.copy() if self._demoted is None else explorable & ~self._demoted
        left[list(self._pins)] = False
        return left

    def tell_capped(
        self,
        order: NDArray[np.intp],
        capped: Capped,
        categories: NDArray[np.int64],
        brands: NDArray[np.int64],
    ) -> None:
        """Notes which rule made a place of the order [M] wait; categories and brands [N]."""
        if self._ruling is None or not self._ruling.explains:
            return
        for caps, codes, places in (
            (self.category_caps, categories, capped.by_category),
            (self.brand_caps, brands, capped.by_brand),
        ):
            if caps is not None:
                for at in order[places].tolist():
                    self._tell(at, caps.marks[caps.rule[codes[at]]])

    def marks(self, rows: NDArray[np.int64]) -> Mapping[int, tuple[str, ...]]:
        """By catalogue row, what was noted of contenders [N] with these rows."""
        if not self._told:
            return _NOTHING
        return {int(rows[at]): told for at, told in self._told.items()}

    def _tell_weights(self, ruling: Ruling) -> None:
        self._told = dict(ruling.marks)
        for at, (_, mark) in self._pins.items():
            self._told[at] = (*_weights(self._told.get(at, ())), mark)

    def _tell(self, at: int, told: tuple[str, ...]) -> None:
        if told:
            self._told[at] = self._told.get(at, ()) + told


def _weights(told: tuple[str, ...]) -> Iterator[str]:
    """Without demotions, which do nothing to what is pinned."""
    return (mark for mark in told if mark.startswith(("boost:", "bury:")))


def _limits(
    codes: NDArray[np.int64], ruled: CodeCaps | None, share: float, page_size: int
) -> PageLimits:
    if ruled is None:
        return PageLimits.by_share(codes, share, page_size)
    most = ruled.limits(codes, page_size=page_size, otherwise=math.ceil(share * page_size))
    return PageLimits(codes.tolist(), most.tolist())


def _placed(pins: tuple[PinnedOffer, ...], inside: NDArray[np.bool_]) -> dict[int, tuple[int, str]]:
    """By contender: its 0-based position, the next free one if it is taken, and its rule."""
    taken: set[int] = set()
    placed: dict[int, tuple[int, str]] = {}
    for pin in pins:
        if not inside[pin.at]:
            continue
        position = pin.position - 1
        while position in taken:
            position += 1
        taken.add(position)
        placed[pin.at] = (position, pin.mark)
    return placed
