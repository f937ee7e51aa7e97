"""REES46: raw shop events (view, cart, purchase) of one multi-category store.

What a row means here:
- view is a CLICK (the product's page was opened), cart a CART, remove_from_cart a REMOVE, purchase
  a PURCHASE of one piece. A `user_session` is a session.
- The list price and the category are the most recent that an event gave; prices are in USD.
- The data has no titles. The title is derived: the brand and the last part of the category.
- Cost, stock, country and device are unknown.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shop.events import EventType
from training.data import columns
from training.data.coded import Coded
from training.data.progress import Progress
from training.data.sieve import Sieve
from training.data.snapshot import SnapshotManifest, SnapshotWriter
from training.data.tables import (
    event_table,
    first_of_each,
    last_of_each,
    latest_text,
    product_table,
    shopper_table,
)
from training.data.tabular import read_source
from training.data.times import in_time_order, times_ms

COLUMNS = (
    "event_time",
    "event_type",
    "product_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)
_TYPES: dict[str, str] = {
    "view": EventType.CLICK,
    "cart": EventType.CART,
    "remove_from_cart": EventType.REMOVE,
    "purchase": EventType.PURCHASE,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Sound events in time order. E events."""

    times_ms: NDArray[np.int64]  # [E]
    types: Coded
    products: Coded
    users: Coded
    sessions: Coded
    categories: Coded
    brands: Coded
    price_minor: NDArray[np.int64]  # [E]


def import_rees46(file: Path, out: Path, progress: Progress) -> SnapshotManifest:
    """Write the snapshot of one REES46 event file to `out`."""
    writer = SnapshotWriter(out, "rees46", "USD")
    writer.notes.append("title is derived: the brand and the last part of the category")
    progress("reading", 0.0)
    source = read_source(file, COLUMNS)
    writer.notes += source.notes
    sieve = Sieve(source)
    progress("checking", 0.3)
    rows = _checked_rows(sieve, writer)
    progress("setting bad rows aside", 0.7)
    sieve.hand_over(writer)
    progress("writing", 0.8)
    events = event_table(
        times_ms=rows.times_ms,
        users=rows.users,
        products=rows.products,
        types=rows.types,
        session_ids=rows.sessions.codes.astype(np.int64) + 1,
        price_minor=rows.price_minor,
    )
    return writer.finish(_products(rows), shopper_table(rows.users.names), events)


def _checked_rows(sieve: Sieve, writer: SnapshotWriter) -> _Rows:
    when_ms = times_ms(sieve, "event_time")
    types = columns.choice(sieve, "event_type", _TYPES)
    products = columns.identifier(sieve, "product_id")
    users = columns.identifier(sieve, "user_id")
    sessions = columns.identifier(sieve, "user_session")
    price_minor = columns.price_minor(sieve, "price")
    categories = columns.text(sieve, "category_code")
    brands = columns.text(sieve, "brand")
    sieve.fault_duplicates(list(COLUMNS))
    order = in_time_order(when_ms, sieve.sound, writer.notes)
    return _Rows(
        times_ms=when_ms[order],
        types=types.take(order),
        products=products.take(order),
        users=users.take(order),
        sessions=sessions.take(order),
        categories=categories.take(order),
        brands=brands.take(order),
        price_minor=price_minor[order],
    )


def _products(rows: _Rows) -> pa.Table:
    codes, count = rows.products.codes, len(rows.products.names)
    categories = latest_text(rows.products, rows.categories)
    brands = latest_text(rows.products, rows.brands)
    return product_table(
        rows.products.names,
        titles=[_title(*pair) for pair in zip(brands, categories, strict=True)],
        categories=categories,
        brands=brands,
        price_minor=rows.price_minor[last_of_each(codes, count)],
        available_from_ms=rows.times_ms[first_of_each(codes, count)],
    )


def _title(brand: str, category: str) -> str:
    return f"{brand} {category.rpartition('.')[2].replace('_', ' ')}".strip()
