"""Samples: real shoppers at real moments, as the gateway would describe them to the models.

Drawn through `shop.features` one shopper at a time, not through training's batched code, so that a
model that passes on them has been tried on what it will be asked.

Shapes: B samples, T history, C context codes, V context values, N candidates, F candidate values,
R catalogue rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.catalogue import NO_PRODUCT
from shop.events import History
from shop.features import (
    FeatureSchema,
    ShopperFeatures,
    candidate_values,
    mean_log_price,
    shopper_features,
)
from shop.neighbours import Neighbours, score_neighbours
from shop.tensors import MAX_CANDIDATES
from training.data.snapshot import Snapshot
from training.examples import context_of, moments_of_events
from training.histories import Histories, build_histories
from training.model_folder import list_prices

_DISCOUNTS = (0.0, 0.0, 0.1, 0.3)
_PADDING = 3  # the last candidates of every sample are padding, as in the gateway

Inputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs of both models under their tensors' names, batch first; the user vector aside."""

    shoppers: Inputs  # history_rows [B, T], …, context_values [B, V]
    candidates: Inputs  # candidate_rows [B, N], candidate_values [B, N, F]

    def __len__(self) -> int:
        return int(self.shoppers["history_rows"].shape[0])


def draw_samples(
    snapshot: Snapshot,
    schema: FeatureSchema,
    neighbours: Neighbours,
    *,
    count: int,
    rng: np.random.Generator,
) -> Samples:
    """`count` moments just before random events; one in eight is a shopper nobody has seen."""
    events_at = rng.integers(0, len(snapshot.events), count)
    moments = moments_of_events(snapshot, schema, events_at)
    histories = build_histories(snapshot)
    prices = list_prices(snapshot)
    shoppers, rows, values = [], [], []
    for at in range(count):
        history = (
            History.empty()
            if at % 8 == 7
            else _history(histories, moments.user_rows, moments.times_ms, moments.session_ids, at)
        )
        shoppers.append(shopper_features(history, context_of(moments, at, schema), schema))
        drawn = _candidates(history, prices.size, rng)
        rows.append(drawn)
        values.append(_values(drawn, history, neighbours, prices, rng))
    return Samples(
        {
            name: np.stack([getattr(features, name) for features in shoppers])
            for name in ShopperFeatures.__slots__
        },
        {"candidate_rows": np.stack(rows), "candidate_values": np.stack(values)},
    )


def _history(
    histories: Histories,
    user_rows: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    session_ids: NDArray[np.int64],
    at: int,
) -> History:
    return histories.history_at(int(user_rows[at]), int(times_ms[at]), int(session_ids[at]))


def _candidates(history: History, row_count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[N] products at random, some that the shopper knows, and padding at the end."""
    rows = rng.integers(1, row_count, MAX_CANDIDATES)
    known = history.product_rows[-10:]
    rows[: known.size] = known
    rows[-_PADDING:] = NO_PRODUCT
    return rows


def _values(
    rows: NDArray[np.int64],
    history: History,
    neighbours: Neighbours,
    prices: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    discount = rng.choice(np.array(_DISCOUNTS, np.float32), rows.size)
    values = candidate_values(
        price_minor=np.round(prices[rows] * (1.0 - discount)).astype(np.int64),
        discount=discount,
        item_item=score_neighbours(history, neighbours).of(rows),
        taste_log_price=mean_log_price(history, prices),
    )
    values[-_PADDING:] = 0.0
    return values
