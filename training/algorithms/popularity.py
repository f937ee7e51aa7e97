"""Popularity: what is bought most, lately. The floor for every other algorithm, and the fallback.

Shapes: P products, R = P + 1 catalogue rows, E events, B moments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODE_COUNT, EVENT_CODES, EventType
from training.data.snapshot import Events, Snapshot
from training.examples import Moments
from training.model_folder import PopularityTable

_MS_PER_DAY = 86_400_000.0


@dataclass(frozen=True, slots=True)
class PopularitySettings:
    """What a deed counts, and how fast it fades."""

    half_life_days: float = 14.0  # Online Retail: 30 days find 4–11 % less, the world cannot tell
    purchase: float = 1.0
    cart: float = 0.1  # smooths the order of products that are rarely or never bought
    click: float = 0.02


def fit_popularity(
    snapshot: Snapshot, *, before_ms: int, settings: PopularitySettings | None = None
) -> PopularityTable:
    """From the events strictly before `before_ms`; equally popular products keep their order."""
    settings = settings or PopularitySettings()
    events = snapshot.events
    known = events.times_ms < before_ms
    weights = deed_weights(events.where(known), settings)
    row_count = snapshot.products.num_rows + 1
    totals = np.bincount(events.product_rows[known], weights=weights, minlength=row_count)
    totals[0] = 0.0
    popularity = (totals / (totals.max() or 1.0)).astype(np.float32)
    rows = np.lexsort((np.arange(1, row_count), -popularity[1:])) + 1
    return PopularityTable(rows.astype(np.int64), popularity)


def deed_weights(events: Events, settings: PopularitySettings) -> NDArray[np.float64]:
    """[E] what each event counts, faded by its age at the newest of them."""
    weight_of = np.zeros(EVENT_CODE_COUNT)
    weight_of[EVENT_CODES[EventType.PURCHASE]] = settings.purchase
    weight_of[EVENT_CODES[EventType.CART]] = settings.cart
    weight_of[EVENT_CODES[EventType.CLICK]] = settings.click
    newest_ms = events.times_ms.max(initial=0)  # the data's own end: old data is not faint
    age_days = (newest_ms - events.times_ms) / _MS_PER_DAY
    faded: NDArray[np.float64] = weight_of[events.codes] * 0.5 ** (
        age_days / settings.half_life_days
    )
    return faded


@dataclass(frozen=True, slots=True, eq=False)
class PopularRetriever:
    """The same list for everyone."""

    popularity: PopularityTable

    def best_rows(self, moments: Moments, count: int) -> NDArray[np.int64]:
        """[B, count] the most popular products."""
        best = np.zeros(count, dtype=np.int64)
        rows = self.popularity.popular_rows[:count]
        best[: rows.size] = rows
        return np.broadcast_to(best, (len(moments), count))
