"""A log written by hand, event by event, for tests of what training reads out of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from shop.events import EventType
from training.data.coded import Coded
from training.data.snapshot import Snapshot, SnapshotWriter, load_snapshot
from training.data.tables import event_table, product_table, shopper_table

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
PRODUCTS = 12


@dataclass(frozen=True, slots=True)
class Deed:
    """One event. Products are named by their catalogue row, shoppers by their number."""

    hours: float  # after START_MS
    type: EventType
    product: int
    shopper: int = 0
    session: int = 1
    request: int = 0
    position: int = 0
    price_minor: int = 500
    discount: float = 0.0
    amount: int = 0


def a_list(
    hours: float, request: int, products: list[int], shopper: int = 0, session: int = 1
) -> list[Deed]:
    """Impressions of one list, top to bottom."""
    return [
        Deed(hours, EventType.IMPRESSION, row, shopper, session, request, at, 100 * row, row / 100)
        for at, row in enumerate(products, start=1)
    ]


def written(deeds: list[Deed], folder: Path, *, shoppers: int = 3) -> Snapshot:
    """The deeds as a loaded snapshot; the first shopper and the products exist in any case."""
    deeds = sorted(deeds, key=lambda deed: deed.hours)
    product_ids = pa.array([f"p{row}" for row in range(1, PRODUCTS + 1)])
    users = [f"u{at}" for at in range(shoppers)]

    def column(name: str, dtype: type) -> np.ndarray:
        return np.array([getattr(deed, name) for deed in deeds], dtype=dtype)

    events = event_table(
        times_ms=START_MS + (column("hours", float) * HOUR_MS).astype(np.int64),
        users=Coded.of(pa.array([users[deed.shopper] for deed in deeds])),
        products=Coded.of(pa.array([f"p{deed.product}" for deed in deeds])),
        types=Coded.of(pa.array([str(deed.type) for deed in deeds])),
        session_ids=column("session", np.int64),
        price_minor=column("price_minor", np.int64),
    )
    for name, values in (
        ("request_id", column("request", np.int64)),
        ("position", column("position", np.int16)),
        ("discount", column("discount", np.float32)),
        ("amount", column("amount", np.int32)),
    ):
        events = events.set_column(events.schema.get_field_index(name), name, pa.array(values))
    products = product_table(
        product_ids,
        price_minor=np.arange(1, PRODUCTS + 1) * 150,
        available_from_ms=np.full(PRODUCTS, START_MS),
        categories=[f"shelf {row % 3}" for row in range(1, PRODUCTS + 1)],
    )
    SnapshotWriter(folder, "test", "EUR").finish(products, shopper_table(pa.array(users)), events)
    return load_snapshot(folder)
