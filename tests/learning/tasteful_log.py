"""A log of shoppers with one taste each, so that a model that learns has something to find.

Products come in groups, told apart by category and title. A shopper wants products of one group.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from shop.features import FeatureSchema
from training.algorithms.two_tower import TwoTowerSettings, TwoTowerTask
from training.algorithms.two_tower_steps import StepSettings
from training.data.snapshot import Snapshot, SnapshotWriter, load_snapshot
from training.histories import build_histories
from training.model_folder import schema_of
from training.retrieval import window_questions
from training.split import SplitSettings, time_split
from training.wishes import WishSettings, wishes_before

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
GROUPS = ("lamps", "kettles", "tents", "scarves")


def a_tasteful_log(
    folder: Path,
    *,
    shopper_count: int = 40,
    sessions: int = 6,
    wishes_per_session: int = 4,
    products_per_group: int = 8,
    days: int = 60,
    seed: int = 0,
) -> Snapshot:
    """A written and loaded snapshot; shopper u likes group u modulo the number of groups."""
    random = np.random.default_rng(seed)
    product_count = products_per_group * len(GROUPS)
    columns: dict[str, list] = {name: [] for name in ("time_ms", "user_id", "session_id", "type")}
    columns["product_id"] = []
    for user in range(shopper_count):
        for session in range(sessions):
            start = START_MS + int((session + random.random()) * days / sessions * DAY_MS)
            liked = random.choice(products_per_group, wishes_per_session, replace=False)
            for at, product in enumerate(liked):
                columns["time_ms"].append(start + at * 60_000)
                columns["user_id"].append(f"u{user}")
                columns["session_id"].append(user * 1000 + session)
                columns["type"].append("purchase" if at % 2 else "click")
                columns["product_id"].append(f"p{int(product) * len(GROUPS) + user % len(GROUPS)}")
    order = np.argsort(columns["time_ms"], kind="stable")
    events = pa.table({name: [values[i] for i in order] for name, values in columns.items()})
    writer = SnapshotWriter(folder, "test", "EUR")
    writer.finish(_products(product_count), _shoppers(shopper_count), _completed(events))
    return load_snapshot(folder)


def _products(count: int) -> pa.Table:
    empty = [""] * count
    return pa.table(
        {
            "product_id": [f"p{i}" for i in range(count)],
            "title": [f"{GROUPS[i % len(GROUPS)]} number {i}" for i in range(count)],
            "category": [GROUPS[i % len(GROUPS)] for i in range(count)],
            **dict.fromkeys(("brand", "material", "use", "season", "style", "colour"), empty),
            "compatible_with": pa.array([[]] * count, pa.list_(pa.string())),
            "price_minor": [1000 + 10 * i for i in range(count)],
            "cost_minor": pa.nulls(count, pa.int64()),
            "stock": pa.nulls(count, pa.int64()),
            "supply_days": pa.nulls(count, pa.int32()),
            "available_from_ms": [START_MS] * count,
        }
    )


def _shoppers(count: int) -> pa.Table:
    return pa.table(
        {
            "user_id": [f"u{i}" for i in range(count)],
            "segment": [""] * count,
            "country": ["DE"] * count,
            "device": ["phone"] * count,
        }
    )


def _completed(events: pa.Table) -> pa.Table:
    count = events.num_rows
    for name, value in (
        ("request_id", 0),
        ("placement", "home"),
        ("position", 0),
        ("quantity", 1),
        ("price_minor", 1000),
        ("discount", 0.0),
        ("amount", 0),
        ("device", "phone"),
        ("country", "DE"),
    ):
        events = events.append_column(name, pa.array([value] * count))
    return events


def a_task(snapshot: Snapshot, *, epochs: int = 2, seed: int = 0, size: int = 16) -> TwoTowerTask:
    """A small two-tower training on the first part of the log."""
    schema: FeatureSchema = schema_of(snapshot, history_length=12, vector_size=size)
    split = time_split(snapshot, SplitSettings(test_share=0.15, calibration_share=0.15))
    settings = TwoTowerSettings(
        epochs=epochs,
        patience=epochs,
        token_buckets=256,
        protocol="window",
        steps=StepSettings(batch_size=32, uniform_negatives=16, learning_rate=1e-2),
        wishes=WishSettings(horizon_days=1.0, wanted_count=4),
    )
    return TwoTowerTask(
        snapshot,
        schema,
        build_histories(snapshot),
        wishes_before(snapshot, schema, before_ms=split.train_end_ms, settings=settings.wishes),
        window_questions(
            snapshot, schema, start_ms=split.train_end_ms, end_ms=split.calibration_end_ms
        ),
        settings,
        seed,
    )
