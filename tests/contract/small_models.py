"""A snapshot and a model folder made in a moment: the real modules, their weights left as drawn."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from shop.events import EventType
from shop.features import CONTEXT_VALUES
from shop.neighbours import Neighbours
from training.data.coded import Coded
from training.data.snapshot import Snapshot, SnapshotWriter, load_snapshot
from training.data.tables import event_table, product_table, shopper_table
from training.model_folder import (
    PopularityTable,
    add_metrics,
    schema_of,
    write_catalogue,
    write_item_vectors,
    write_neighbours,
    write_popularity,
    write_schema,
)
from training.models.ranker import Ranker, RankerConfig, save_ranker
from training.models.two_tower import TwoTower, TwoTowerConfig, save_two_tower

START_MS = 1_700_000_000_000
_TYPES = (EventType.CLICK, EventType.CART, EventType.PURCHASE, EventType.RETURN)


def a_snapshot(
    folder: Path,
    *,
    products: int = 60,
    shoppers: int = 40,
    events: int = 2000,
    seed: int = 0,
    titles: bool = True,
) -> Snapshot:
    """Random shoppers doing random things, every kind of deed among them."""
    rng = np.random.default_rng(seed)
    product_ids = pa.array([f"p{at:03d}" for at in range(products)])
    table = product_table(
        product_ids,
        price_minor=rng.integers(100, 10_000, products),
        available_from_ms=np.full(products, START_MS),
        titles=[f"Thing {at}" if titles else "" for at in range(products)],
        categories=[f"shelf {at % 5}" for at in range(products)],
    )
    users = [f"u{at}" for at in range(shoppers)]
    deeds = event_table(
        times_ms=START_MS + np.sort(rng.integers(0, 10**9, events)),
        users=Coded.of(pa.array([users[at] for at in rng.integers(0, shoppers, events)])),
        products=Coded.of(product_ids.take(pa.array(rng.integers(0, products, events)))),
        types=Coded.of(pa.array([str(_TYPES[at]) for at in rng.integers(0, 4, events)])),
        session_ids=rng.integers(1, 500, events),
        price_minor=np.full(events, 250),
    )
    writer = SnapshotWriter(folder, "world", "EUR")
    writer.finish(table, shopper_table(pa.array(users), countries=["DE"] * shoppers), deeds)
    return load_snapshot(folder)


def a_model_folder(snapshot: Snapshot, folder: Path, *, history_length: int = 12) -> Path:
    """Everything training leaves for export."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    schema = schema_of(snapshot, history_length=history_length, vector_size=16)
    rows = snapshot.products.num_rows + 1
    two_tower = TwoTower(
        TwoTowerConfig(
            row_count=rows,
            token_slots=4,
            token_buckets=50,
            history_length=history_length,
            context_code_counts=schema.code_counts(),
            context_value_count=len(CONTEXT_VALUES),
            vector_size=16,
        )
    ).eval()
    two_tower.items.is_warm_R.fill_(1.0)  # else products without words would all be the same
    ranker = Ranker(
        RankerConfig(
            heads=schema.heads,
            context_code_counts=schema.code_counts(),
            product_code_counts=(rows, 6, 2),
            static_count=2,
            vector_size=16,
        )
    )
    save_two_tower(two_tower, folder)
    save_ranker(ranker.eval(), folder)
    write_catalogue(snapshot, folder)
    write_schema(schema, folder)
    with torch.no_grad():
        write_item_vectors(two_tower.all_items().numpy(), folder)
    _write_tables(folder, rows)
    add_metrics({"hr@10": 0.5}, folder)
    return folder


def _write_tables(folder: Path, rows: int) -> None:
    near = (np.arange(rows)[:, None] + np.arange(1, 5)) % rows
    write_neighbours(Neighbours(near.astype(np.int32), np.ones((rows, 4), np.float32)), folder)
    order = np.arange(1, rows)
    write_popularity(PopularityTable(order, np.linspace(0, 1, rows, dtype=np.float32)), folder)
