"""Tables: a snapshot's tables from columns; what a source does not know gets its stated default.

Shapes: P products, U shoppers, E events.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.data.coded import Coded
from training.data.snapshot import EVENT_COLUMNS, PRODUCT_COLUMNS, SHOPPER_COLUMNS


def event_table(
    *,
    times_ms: NDArray[np.int64],
    users: Coded,
    products: Coded,
    types: Coded,
    session_ids: NDArray[np.int64],
    quantities: NDArray[np.int64] | None = None,
    price_minor: NDArray[np.int64] | None = None,
    countries: Coded | None = None,
) -> pa.Table:
    """[E] events outside any list; quantity 1 and price 0 (unknown) where not given."""
    count = times_ms.size
    zeros = np.zeros(count, dtype=np.int64)
    unknown = Coded.constant("", count).column()
    return pa.table(
        {
            "time_ms": times_ms,
            "user_id": users.column(),
            "session_id": session_ids,
            "request_id": zeros,
            "product_id": products.column(),
            "type": types.column(),
            "placement": unknown,
            "position": zeros.astype(np.int16),
            "quantity": (zeros + 1 if quantities is None else quantities).astype(np.int32),
            "price_minor": zeros if price_minor is None else price_minor,
            "discount": zeros.astype(np.float32),
            "amount": zeros.astype(np.int32),
            "device": unknown,
            "country": unknown if countries is None else countries.column(),
        },
        schema=EVENT_COLUMNS,
    )


def product_table(
    product_ids: pa.Array,
    *,
    price_minor: NDArray[np.int64],
    available_from_ms: NDArray[np.int64],
    titles: "pa.Array | Sequence[str] | None" = None,
    categories: "pa.Array | Sequence[str] | None" = None,
    brands: "pa.Array | Sequence[str] | None" = None,
) -> pa.Table:
    """[P] products of a source without specifications: cost, stock and supply are unknown."""
    count = len(product_ids)
    given = {"title": titles, "category": categories, "brand": brands}
    texts = {name: _text(values, count) for name, values in given.items()}
    for name in ("material", "use", "season", "style", "colour"):
        texts[name] = _text(None, count)
    columns = {
        "product_id": product_ids.cast(pa.string()),
        **texts,
        "compatible_with": pa.array([[]] * count, pa.list_(pa.string())),
        "price_minor": pa.array(price_minor, pa.int64()),
        "cost_minor": pa.nulls(count, pa.int64()),
        "stock": pa.nulls(count, pa.int64()),
        "supply_days": pa.nulls(count, pa.int32()),
        "available_from_ms": pa.array(available_from_ms, pa.int64()),
    }
    return pa.table(columns, schema=PRODUCT_COLUMNS)


def shopper_table(user_ids: pa.Array, *, countries: Sequence[str] | None = None) -> pa.Table:
    """[U] shoppers of whom at most the country is known."""
    count = len(user_ids)
    columns = {
        "user_id": user_ids.cast(pa.string()),
        "segment": _text(None, count),
        "country": _text(countries, count),
        "device": _text(None, count),
    }
    return pa.table(columns, schema=SHOPPER_COLUMNS)


def first_of_each(codes: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """[count] position of the first occurrence of every code; every code must occur."""
    first = np.full(count, codes.size, dtype=np.int64)
    np.minimum.at(first, codes, np.arange(codes.size, dtype=np.int64))
    return first


def last_of_each(codes: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """[count] position of the last occurrence of every code; every code must occur."""
    last = np.zeros(count, dtype=np.int64)
    np.maximum.at(last, codes, np.arange(codes.size, dtype=np.int64))
    return last


def latest_text(owners: Coded, texts: Coded) -> list[str]:
    """For every owner the last text of its rows that is not "", else ""."""
    names = texts.names.to_pylist()
    latest = np.full(len(owners.names), -1, dtype=np.int64)
    rows = np.flatnonzero(texts.rows_where(pc.not_equal(texts.names, "")))
    np.maximum.at(latest, owners.codes[rows], rows)
    return [names[texts.codes[row]] if row >= 0 else "" for row in latest.tolist()]


def median_of_each(
    codes: NDArray[np.int32], values: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """[count] lower median of the values of every code; every code must occur."""
    order = np.lexsort((values, codes))
    starts = np.searchsorted(codes[order], np.arange(count))
    sizes = np.bincount(codes, minlength=count)
    medians: NDArray[np.int64] = values[order][starts + (sizes - 1) // 2]
    return medians


def _text(values: "pa.Array | Sequence[str] | None", count: int) -> pa.Array:
    if values is None:
        return pa.array([""] * count, pa.string())
    return (
        values.cast(pa.string()) if isinstance(values, pa.Array) else pa.array(values, pa.string())
    )
