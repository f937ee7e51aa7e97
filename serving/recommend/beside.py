"""Beside: the candidate sources that are read from the release's own tables, for one call.

None of them waits on anything: they run while the user tower is at work on its own machine or
core. One that names what the catalogue does not have is lost: noted, and left out.

Shapes: R catalogue rows, M proposed by one source.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.history import Past
from serving.recommend.request import Degradation, Stage
from shop.blend import Proposal
from shop.candidates import Source
from shop.events import History
from shop.neighbours import ItemItemScores, score_neighbours
from shop.popularity import RowMask
from shop.source_tables import Listed
from shop.sources import (
    cart_scores,
    content_scores,
    fresh_rows,
    from_chance,
    from_fresh,
    from_history,
    from_list,
    from_neighbours,
    from_popularity,
)

# Of the newest products of a history: enough to tell what this visit is about.
_NEARBY_PRODUCTS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What the sources beside the two-tower model go by."""

    call: Call
    past: Past
    item_item: ItemItemScores  # also a feature of the ranker
    seeds: ItemItemScores  # the same with the cart first; what item–item proposes by
    nearby: NDArray[np.int64]  # category codes of what the visit is about

    @staticmethod
    def of(call: Call, past: Past) -> "Beside":
        tables, history = call.deps.release.tables, past.history
        catalogue = tables.catalogue
        ids = [*call.ask.context_product_ids, *call.ask.cart_product_ids]
        rows = catalogue.rows_of(ids)
        if not rows.any():
            rows = history.product_rows[-_NEARBY_PRODUCTS:]
        nearby = catalogue.category_codes[rows]
        item_item = item_item_scores(call, history)
        with_cart = cart_scores(history, tables.neighbours)
        seeds = item_item if with_cart is None else _scored(call, with_cart)
        return Beside(call, past, item_item, seeds, nearby)

    def proposals(self, allowed: RowMask | None) -> list[Proposal]:
        """Of every source that has a quota."""
        deps = self.call.deps
        quotas = deps.settings.quotas
        sources: tuple[tuple[int, Callable[[int, RowMask | None], Proposal]], ...] = (
            (quotas.item_item, self.item_item_first),
            (quotas.history, self.own_history),
            (quotas.content, self.alike),
            (quotas.user_user, self.bought_by_others),
            (quotas.segment_popular, self.popular_in_segment),
            (quotas.popular, self.popular_nearby),
            (quotas.fresh, self.fresh),
            (quotas.exploration, self.by_chance),
        )
        return [ask(quota, allowed) for quota, ask in sources if quota]

    def instead(self, allowed: RowMask | None) -> list[Proposal]:
        """What stands in for the two-tower model, the best guess first."""
        quotas = self.call.deps.settings.quotas
        return [
            self.item_item_first(quotas.looked_up, allowed),
            self.own_history(quotas.history, allowed),
            self.bought_by_others(quotas.user_user, allowed),
            self.alike(quotas.content, allowed),
            self.popular_nearby(quotas.looked_up, allowed),
        ]

    def item_item_first(self, count: int, allowed: RowMask | None) -> Proposal:
        """By the cart and the last views."""
        return from_neighbours(self.seeds, count, allowed)

    def nearby_and_alike(self, count: int, allowed: RowMask | None) -> list[Proposal]:
        """What a short list is filled up from, the best guess first."""
        return [self.item_item_first(count, allowed), self.popular_nearby(count, allowed)]

    def own_history(self, count: int, allowed: RowMask | None) -> Proposal:
        """What this shopper wanted before."""
        return from_history(self.past.history, count, allowed)

    def alike(self, count: int, allowed: RowMask | None) -> Proposal:
        """By specification and title."""
        content = self.call.deps.release.tables.sources.content
        scored = _scored(self.call, content_scores(self.past.history, content))
        return from_neighbours(scored, count, allowed, Source.CONTENT)

    def bought_by_others(self, count: int, allowed: RowMask | None) -> Proposal:
        """By shoppers like this one; nothing for one whom the release does not know."""
        listed = self.call.deps.release.tables.sources.user_user.of(self.call.ask.shopper)
        return self._from_list(Source.USER_USER, listed, count, allowed)

    def popular_in_segment(self, count: int, allowed: RowMask | None) -> Proposal:
        """By what the call tells of its shopper."""
        listed = self.call.deps.release.tables.sources.segments.of(self.past.context)
        return self._from_list(Source.SEGMENT_POPULAR, listed, count, allowed)

    def popular_nearby(self, count: int, allowed: RowMask | None) -> Proposal:
        """In the categories at hand, then anywhere."""
        return from_popularity(self.call.deps.popularity, self.nearby, count, allowed)

    def fresh(self, count: int, allowed: RowMask | None) -> Proposal:
        """The latest arrivals."""
        catalogue = self.call.deps.release.tables.catalogue
        return from_fresh(self._fresh_rows(), catalogue, self.nearby, count, allowed)

    def by_chance(self, count: int, allowed: RowMask | None) -> Proposal:
        """To be tried."""
        deps = self.call.deps
        share = deps.settings.exploration.fresh_share
        return from_chance(
            deps.release.tables.catalogue.product_ids.size,
            count,
            allowed,
            self.call.pool_generator(),
            fresh=self._fresh_rows() if share else None,
            fresh_share=share,
        )

    def _fresh_rows(self) -> NDArray[np.int64]:
        deps = self.call.deps
        arrivals = deps.release.tables.sources.arrivals
        return fresh_rows(arrivals, self.call.ask.context.now_ms, deps.settings.fresh_days)

    def _from_list(
        self, source: Source, listed: Listed, count: int, allowed: RowMask | None
    ) -> Proposal:
        if listed.rows.size and not _is_known(self.call, int(listed.rows.max())):
            listed = Listed(np.zeros(0, np.int64), np.zeros(0, np.float32))
        return from_list(source, listed, count, allowed)


def item_item_scores(call: Call, history: History) -> ItemItemScores:
    """What the ranker hears of item–item; empty, and noted as lost, if its table is not ours."""
    return _scored(call, score_neighbours(history, call.deps.release.tables.neighbours))


def _scored(call: Call, scored: ItemItemScores) -> ItemItemScores:
    """`scored`; nothing if the table names products that the catalogue does not have."""
    if scored.rows.size == 0 or _is_known(call, int(scored.rows[-1])):
        return scored
    return ItemItemScores(np.zeros(0, np.int64), np.zeros(0, np.float32))


def _is_known(call: Call, row: int) -> bool:
    """Whether the catalogue has this row; notes that a source is lost if not."""
    if row < call.deps.release.tables.catalogue.product_ids.size:
        return True
    call.losses.add(Stage.CANDIDATES, Degradation.SOURCE_LOST)
    return False
