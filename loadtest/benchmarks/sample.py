"""Sample: real shoppers of a release as the models read them, for measuring without a stack.

Shapes: N candidates, F candidate values.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.adapters.release_files import load_tables
from serving.recommend.ports import ReleaseTables
from shop.events import History
from shop.features import (
    Context,
    ShopperFeatures,
    candidate_values,
    mean_log_price,
    shopper_features,
)
from shop.neighbours import score_neighbours
from shop.release import HISTORIES_FILE, Manifest
from shop.tensors import MAX_CANDIDATES


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One call's inputs to both models; the candidates are drawn at random."""

    features: ShopperFeatures
    rows: NDArray[np.int64]  # [N]
    values: NDArray[np.float32]  # [N, F]


def sample_of(release_folder: Path, manifest: Manifest, count: int, *, seed: int) -> list[Sample]:
    """`count` shoppers with a history, with repetition if there are fewer."""
    rng = np.random.default_rng(seed)
    tables = load_tables(release_folder, manifest)
    histories = pq.read_table(release_folder / HISTORIES_FILE)
    lengths = histories["product_ids"].combine_chunks().value_lengths().to_numpy()
    chosen = rng.choice(np.flatnonzero(lengths), size=count)
    candidate_count = min(MAX_CANDIDATES, tables.catalogue.product_count)
    samples = []
    for shopper in histories.take(chosen).to_pylist():
        history = History(
            tables.catalogue.rows_of(shopper["product_ids"]),
            np.array(shopper["event_codes"], np.int64),
            np.array(shopper["times_ms"], np.int64),
            np.zeros(len(shopper["product_ids"]), np.bool_),
        )
        context = Context(
            now_ms=int(history.times_ms[-1]) + 3_600_000,
            utc_offset_minutes=0,
            placement="home",
            device=shopper["device"],
            country=shopper["country"],
            segment=shopper["segment"],
        )
        rows = rng.choice(tables.catalogue.product_count, candidate_count, replace=False) + 1
        samples.append(_sample(tables, history, context, np.sort(rows).astype(np.int64)))
    return samples


def _sample(
    tables: ReleaseTables, history: History, context: Context, rows: NDArray[np.int64]
) -> Sample:
    list_price = tables.catalogue.list_price_minor
    values = candidate_values(
        price_minor=list_price[rows],
        discount=np.zeros(rows.size, np.float32),
        item_item=score_neighbours(history, tables.neighbours).of(rows),
        taste_log_price=mean_log_price(history, list_price),
    )
    return Sample(shopper_features(history, context, tables.schema), rows, values)
