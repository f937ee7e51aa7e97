"""Lookups: what the shop's five systems say of every candidate, as of now, within one budget.

`OfferCache` keeps the last good answers for every product of one release. A call asks only for what
is older than the system's time to live, one bulk question per system, all side by side. A system
that is slow is asked once more, one that keeps failing is left alone for a while
(`second_calls`, `breaker`), and its loss is named; what holds then is for `figures` to say.

Shapes: R catalogue rows, N candidates of a call, M rows of one question.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.deadline import Clock
from serving.recommend.breaker import CircuitBreaker
from serving.recommend.figures import Figures
from serving.recommend.freshness import Freshness
from serving.recommend.ports import (
    BusinessSystems,
    Costs,
    Discounts,
    Prices,
    Stock,
    SupplyRisks,
)
from serving.recommend.refresh import Answer, AskAbout, Questions, Refresh, Store
from serving.recommend.request import Degradation, Losses, Stage
from serving.recommend.second_calls import SecondCalls
from serving.recommend.settings import OfferSettings, SystemSettings
from shop.catalogue import Catalogue
from shop.offers import Offers

_LOOP_IS_LATE_S = 0.001  # asyncio rounds a wait up to whole milliseconds
LOST_BY = {  # each system with the reason that its loss has in the reply
    "price": Degradation.STALE_PRICE,
    "stock": Degradation.STALE_STOCK,
    "promotion": Degradation.DEFAULT_OFFER,
    "cost": Degradation.DEFAULT_OFFER,
    "supply": Degradation.DEFAULT_OFFER,
}


class OfferCache:
    """Last known answers of the shop's systems. One per release, because rows are the release's."""

    def __init__(
        self,
        catalogue: Catalogue,
        systems: BusinessSystems,
        settings: OfferSettings,
        clock: Clock,
    ) -> None:
        self._systems = systems
        self._settings = settings
        self._clock = clock
        # [R] the catalogue's own strings, which costs nothing, as objects: ready to be sent
        self._product_ids = np.array(["", *catalogue.row_of], dtype=object)
        self._asked_rows = b""  # of the last question; `_asked_ids` are its products
        self._asked_ids: list[str] = []
        self._figures = figures = Figures(catalogue, settings)
        self._freshness = Freshness(catalogue.product_count + 1)
        self._promotions = self._refresh(
            self._ask_promotions, figures.store_promotions, settings.promotion
        )
        self._refreshes: Mapping[str, Refresh[Any]] = {
            "price": self._refresh(self._ask_prices, figures.store_prices, settings.price),
            "stock": self._refresh(self._ask_stock, figures.store_stock, settings.stock),
            "promotion": self._promotions,
            "cost": self._refresh(self._ask_costs, figures.store_costs, settings.cost),
            "supply": self._refresh(self._ask_supply, figures.store_supply, settings.supply),
        }

    def _refresh(
        self, ask: AskAbout[Answer], store: Store[Answer], system: SystemSettings
    ) -> Refresh[Answer]:
        settings = self._settings
        return Refresh(
            ask,
            store,
            CircuitBreaker(
                self._clock,
                failures=settings.breaker_failures,
                open_s=settings.breaker_open_ms / 1000.0,
            ),
            SecondCalls(self._clock, share=settings.second_call_share),
            self._freshness,
            ttl_ms=system.ttl_ms,
            ask_s=system.ask_ms / 1000.0,
        )

    @property
    def price_minor(self) -> NDArray[np.int64]:
        """[R] the price last seen, the catalogue's where none was. Read only."""
        return self._figures.shown_price

    @property
    def maybe_in_stock(self) -> NDArray[np.bool_]:
        """[R] False where the product is known to be gone. Read only."""
        return self._figures.maybe_in_stock

    @property
    def changes(self) -> int:
        """Another number than before whenever `price_minor` or `maybe_in_stock` has changed."""
        return self._figures.changes

    def cost_as_of_ms(self, rows: NDArray[np.int64], now_ms: int) -> NDArray[np.float64]:
        """[N] since when the costs that `look_up` gives hold, in Unix ms.

        0 for the catalogue's own. NaN where there is none and a usual margin was assumed: good to
        rank by, not to promise a margin by.
        """
        return self._figures.cost_as_of_ms(rows, now_ms)

    @property
    def questions(self) -> dict[str, Questions]:
        """What became of the questions so far, by system."""
        return {system: refresh.questions for system, refresh in self._refreshes.items()}

    async def look_up(
        self, rows: NDArray[np.int64], *, now_ms: int, within_s: float, losses: Losses
    ) -> Offers:
        """Offers for `rows` [N] (no duplicates), aligned with them. Never fails; notes losses."""
        self._freshness.needed_ms[rows] = now_ms
        for refresh in self._refreshes.values():
            refresh.ask_ahead(now_ms)
        if self._freshness.is_all_current(rows, now_ms):
            return self._figures.offers(rows, now_ms, promoted=None)
        until_s = self._clock() + within_s
        refreshes = self._refreshes.items()
        questions = set().union(*(refresh.start(rows, now_ms) for _, refresh in refreshes))
        if questions:
            left_s = max(0.0, until_s - self._clock() - _LOOP_IS_LATE_S)
            answered, _ = await asyncio.wait(questions, timeout=left_s)
            for question in answered:
                question.result()  # a bug in a question is a bug of the call, not a lost system
        for system, refresh in refreshes:
            if not refresh.is_current(rows, now_ms).all():
                losses.add(Stage.LOOKUPS, LOST_BY[system])
        return self._figures.offers(rows, now_ms, self._promotions.is_current(rows, now_ms))

    async def close(self) -> None:
        """End the questions still under way. Call it when no request uses this release any more."""
        for refresh in self._refreshes.values():
            await refresh.close()

    async def _ask_prices(self, rows: NDArray[np.int64]) -> Prices:
        return await self._systems.pricing.prices(
            self._ids(rows), timeout_s=self._settings.price.ask_ms / 1000.0
        )

    async def _ask_stock(self, rows: NDArray[np.int64]) -> Stock:
        return await self._systems.inventory.stock(
            self._ids(rows), timeout_s=self._settings.stock.ask_ms / 1000.0
        )

    async def _ask_promotions(self, rows: NDArray[np.int64]) -> Discounts:
        return await self._systems.promotions.promotions(
            self._ids(rows), timeout_s=self._settings.promotion.ask_ms / 1000.0
        )

    async def _ask_costs(self, rows: NDArray[np.int64]) -> Costs:
        return await self._systems.costs.costs(
            self._ids(rows), timeout_s=self._settings.cost.ask_ms / 1000.0
        )

    async def _ask_supply(self, rows: NDArray[np.int64]) -> SupplyRisks:
        return await self._systems.supply.supply_risks(
            self._ids(rows), timeout_s=self._settings.supply.ask_ms / 1000.0
        )

    def _ids(self, rows: NDArray[np.int64]) -> list[str]:
        """[M] the same list for the same rows: all systems are mostly asked about the same."""
        asked_rows = rows.tobytes()
        if asked_rows != self._asked_rows:
            self._asked_rows, self._asked_ids = asked_rows, self._product_ids[rows].tolist()
        return self._asked_ids
