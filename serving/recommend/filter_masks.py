"""Filter masks: recent filters, judged on the whole catalogue before anything is searched.

What a filter asks by name (category, brand) is worked out once for a release and shared by all
filters that ask for it. Prices and stock are compared anew whenever any of them changed. Where that
would hold up the event loop it is done in a thread, and then a mask serves for the time to live
though prices have moved meanwhile. The final offers are judged by the filter itself in any case.
What all this takes is measured by `vitrine bench filters`.

One for each release: its rows are the release's, and a new catalogue begins with an empty one.
Shapes: R catalogue rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.recommend.lookups import OfferCache
from serving.recommend.recently_used import RecentlyUsed
from shop.catalogue import Catalogue
from shop.filter_grammar import Expression
from shop.filters import Filter
from shop.popularity import RowMask
from shop.rule_clauses import Box, TooManyBoxes
from shop.split_filters import (
    ByName,
    asks_price,
    boxes_on_sale,
    by_name,
    comparisons_in,
    passing,
)

# Of masks, and as much again of what holds by name: a byte per product, 64 filters of a million.
_KEPT_BYTES = 64_000_000
_MOST_KEPT, _FEWEST_KEPT = 512, 8
# A comparison looks at a million rows in 0.5 to 0.7 ms, so this is a third of a millisecond.
_INLINE_ROWS = 500_000
_GATHER = 16  # a row picked out of a large column takes as long as so many in a row

InThread = Callable[[Callable[[], RowMask]], Awaitable[RowMask]]


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    changes: int  # of the figures, when it was made
    made_ms: int
    mask: RowMask


@dataclass(frozen=True, slots=True)
class _Parts:
    boxes: tuple[Box, ...] | None  # None: it has too many alternatives


class FilterMasks:
    """The masks of the filters seen last. Asked on the event loop only."""

    def __init__(
        self,
        catalogue: Catalogue,
        offers: OfferCache,
        *,
        ttl_ms: int,
        inline_rows: int = _INLINE_ROWS,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        self._catalogue = catalogue
        self._offers = offers
        self._ttl_ms = ttl_ms
        self._inline_rows = inline_rows
        self._in_thread = in_thread
        self._row_count = catalogue.product_count + 1
        most = max(_FEWEST_KEPT, min(_MOST_KEPT, _KEPT_BYTES // self._row_count))
        self._judged = RecentlyUsed[Expression, _Judged](most)
        self._parts = RecentlyUsed[Expression, _Parts](_MOST_KEPT)
        self._named = RecentlyUsed[tuple[Expression, ...], ByName](most)
        self._under_way: dict[Expression, asyncio.Task[RowMask]] = {}

    async def of(self, wanted: Filter, now_ms: int) -> RowMask:
        """[R] rows that match and are not known to be gone. Read only: others share it."""
        expression = wanted.expression
        judged = self._judged.get(expression)
        if judged is not None and judged.changes == self._offers.changes:
            return judged.mask
        if self._rows_to_compare(expression) <= self._inline_rows:
            return self._keep(expression, self._offers.changes, now_ms, self._judge(wanted))
        if judged is not None and abs(now_ms - judged.made_ms) <= self._ttl_ms:
            return judged.mask
        return await asyncio.shield(self._judging(wanted, now_ms))

    def _judging(self, wanted: Filter, now_ms: int) -> asyncio.Task[RowMask]:
        """In a thread, once for all who want it now; who goes away leaves it to the others."""
        expression = wanted.expression
        task = self._under_way.get(expression)
        if task is None:
            task = asyncio.ensure_future(self._judged_beside(wanted, now_ms))
            self._under_way[expression] = task
            task.add_done_callback(lambda _: self._under_way.pop(expression, None))
        return task

    async def _judged_beside(self, wanted: Filter, now_ms: int) -> RowMask:
        changes = self._offers.changes  # before: what changes meanwhile may or may not be seen
        mask = await self._in_thread(lambda: self._judge(wanted))
        return self._keep(wanted.expression, changes, now_ms, mask)

    def _keep(self, expression: Expression, changes: int, now_ms: int, mask: RowMask) -> RowMask:
        self._judged.put(expression, _Judged(changes, now_ms, mask))
        return mask

    def _rows_to_compare(self, expression: Expression) -> int:
        """What judging it now would look at."""
        boxes = self._boxes(expression)
        if boxes is None:
            return self._row_count * comparisons_in(expression)
        return sum(self._rows_of(box) for box in boxes)

    def _rows_of(self, box: Box) -> int:
        named = self._named.get(box.by_name)
        if named is None:  # to be worked out first
            unknown = 1 + sum(comparisons_in(part) for part in box.by_name)
            return self._row_count * (unknown + asks_price(box))
        rows = self._row_count if named.rows is None else _GATHER * int(named.rows.size)
        return rows * (1 + asks_price(box))

    def _judge(self, wanted: Filter) -> RowMask:
        """Perhaps in a thread."""
        price_minor, in_stock = self._offers.price_minor, self._offers.maybe_in_stock
        boxes = self._boxes(wanted.expression)
        if boxes is not None:
            with_names = ((box, self._rows_by_name(box.by_name)) for box in boxes)
            return passing(with_names, price_minor, in_stock)
        mask = wanted.mask(self._catalogue, price_minor=price_minor, in_stock=in_stock)
        mask &= in_stock
        return mask

    def _boxes(self, expression: Expression) -> tuple[Box, ...] | None:
        parts = self._parts.get(expression)
        if parts is None:
            try:
                parts = _Parts(boxes_on_sale(expression))
            except TooManyBoxes:
                parts = _Parts(None)
            self._parts.put(expression, parts)
        return parts.boxes

    def _rows_by_name(self, parts: tuple[Expression, ...]) -> ByName:
        found = self._named.get(parts)
        return self._named.put(parts, by_name(parts, self._catalogue)) if found is None else found
