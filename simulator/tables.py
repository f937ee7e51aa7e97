"""Tables: a world's products, shoppers and events as Parquet, in the columns training expects.

The names repeat `training/data/snapshot.py` on purpose: the simulator plays the shop, and a shop
does not import its supplier's code. A contract test holds the two together.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shop.events import EVENT_CODES
from simulator.catalogue import Products
from simulator.event_columns import EventColumns
from simulator.lexicon import COUNTRIES, DEVICES, SEGMENTS
from simulator.shoppers import Shoppers
from simulator.showing import PLACEMENTS

PRODUCTS, SHOPPERS, EVENTS = "products.parquet", "shoppers.parquet", "events.parquet"
_EVENT_NAMES = ["", *(str(event) for event, _ in sorted(EVENT_CODES.items(), key=lambda x: x[1]))]


def products_table(products: Products) -> pa.Table:
    """The catalogue as the shop knows it; what is hidden stays hidden."""
    ids = products.ids
    return pa.table(
        {
            "product_id": pa.array(ids[1:], pa.string()),
            "title": pa.array(products.titles[1:], pa.string()),
            **{
                name: pa.array(products.names(name), pa.string())
                for name in ("category", "brand", "material", "use", "season", "style", "colour")
            },
            "compatible_with": pa.array(
                [[ids[row] for row in rows] for rows in products.complements[1:].tolist()],
                pa.list_(pa.string()),
            ),
            "price_minor": pa.array(products.price_minor[1:], pa.int64()),
            "cost_minor": pa.array(products.cost_minor[1:], pa.int64()),
            "stock": pa.array(products.stock[1:], pa.int64()),
            "supply_days": pa.array(products.supply_days[1:], pa.int32()),
            "available_from_ms": pa.array(products.available_from_ms[1:], pa.int64()),
        }
    )


def shoppers_table(shoppers: Shoppers) -> pa.Table:
    """The shoppers as the shop knows them."""
    return pa.table(
        {
            "user_id": pa.array(shoppers.ids, pa.string()),
            "segment": pa.array([SEGMENTS[code] for code in shoppers.segment], pa.string()),
            "country": pa.array([COUNTRIES[code] for code in shoppers.country], pa.string()),
            "device": pa.array([DEVICES[code] for code in shoppers.device], pa.string()),
        }
    )


def write_events(
    path: Path, products: Products, shoppers: Shoppers, days: Iterable[EventColumns]
) -> int:
    """Write events that come in time order, a row group per day; returns how many."""
    product_ids = pa.array(products.ids, pa.string())
    user_ids = pa.array(shoppers.ids, pa.string())
    names = {
        "type": pa.array(_EVENT_NAMES, pa.string()),
        "placement": pa.array(PLACEMENTS, pa.string()),
        "device": pa.array(DEVICES, pa.string()),
        "country": pa.array(COUNTRIES, pa.string()),
    }

    def table(events: EventColumns) -> pa.Table:
        def named(codes: object, values: pa.Array) -> pa.DictionaryArray:
            return pa.DictionaryArray.from_arrays(pa.array(codes).cast(pa.int32()), values)

        return pa.table(
            {
                "time_ms": events.times_ms,
                "user_id": named(events.shoppers, user_ids),
                "session_id": events.sessions,
                "request_id": events.requests,
                "product_id": named(events.products, product_ids),
                "type": named(events.codes, names["type"]),
                "placement": named(events.placements, names["placement"]),
                "position": events.positions,
                "quantity": events.quantities,
                "price_minor": events.price_minor,
                "discount": events.discounts,
                "amount": events.amounts,
                "device": named(events.devices, names["device"]),
                "country": named(shoppers.country[events.shoppers], names["country"]),
            }
        )

    written = 0
    writer: pq.ParquetWriter | None = None
    try:
        for day in days:
            rows = table(day)
            if writer is None:
                writer = pq.ParquetWriter(path, rows.schema, compression="zstd")
            if rows.num_rows:
                writer.write_table(rows)
            written += rows.num_rows
    finally:
        if writer is not None:
            writer.close()
    return written
