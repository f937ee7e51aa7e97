"""World: the raw tables of a simulated shop, checked as any other outside data.

A world folder holds `products.parquet`, `shoppers.parquet` and `events.parquet` in the columns of a
snapshot, and `world.json`, of which currency and time zone are read. Nothing is translated; every
row is checked, and an event must name a shopper and, unless it is a search, a product that passed.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shop.errors import DataRejected
from shop.events import EventType
from shop.features import PLACEMENTS
from shop.local_time import UTC_ZONE, is_time_zone
from training.data import columns
from training.data.coded import Coded
from training.data.progress import Progress
from training.data.sieve import Sieve
from training.data.snapshot import (
    EVENT_COLUMNS,
    EVENTS,
    FIRST_MS,
    LAST_MS,
    MAX_AMOUNT,
    MAX_PRICE_MINOR,
    MAX_QUANTITY,
    PRODUCT_COLUMNS,
    PRODUCTS,
    SHOPPER_COLUMNS,
    SHOPPERS,
    SnapshotManifest,
    SnapshotWriter,
)
from training.data.tabular import read_source
from training.data.times import in_time_order

ABOUT = "world.json"
FILES = (PRODUCTS, SHOPPERS, EVENTS, ABOUT)
_MAX_ABOUT_BYTES = 1 << 20
_MAX_ID = 2**62
_MAX_STOCK = 1_000_000_000
_MAX_POSITION = 10_000
_MAX_SUPPLY_DAYS = 3_650
_TEXTS = ("title", "category", "brand", "material", "use", "season", "style", "colour")
_TYPES: dict[str, str] = {event: event for event in EventType}
_PLACEMENTS = {"": "", **{placement: placement for placement in PLACEMENTS}}


def import_world(folder: Path, out: Path, progress: Progress) -> SnapshotManifest:
    """Write the snapshot of one world folder to `out`."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataRejected(f"{folder} is no world: it lacks {', '.join(missing)}")
    about = _about(folder / ABOUT)
    writer = SnapshotWriter(
        out,
        "world",
        _currency(folder / ABOUT, about),
        time_zone=_time_zone(folder / ABOUT, about),
    )
    progress("reading products", 0.0)
    products = _products(folder / PRODUCTS, writer)
    progress("reading shoppers", 0.05)
    shoppers = _shoppers(folder / SHOPPERS, writer)
    progress("reading events", 0.1)
    sieve = Sieve(read_source(folder / EVENTS, EVENT_COLUMNS.names))
    progress("checking events", 0.3)
    events = _events(sieve, products["product_id"], shoppers["user_id"], writer)
    progress("writing", 0.8)
    return writer.finish(products, shoppers, events)


def _about(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _MAX_ABOUT_BYTES:
        raise DataRejected(f"{file} is larger than {_MAX_ABOUT_BYTES} bytes")
    try:
        about = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise DataRejected(f"{file} is no JSON: {error}") from error
    return about if isinstance(about, dict) else {}


def _currency(file: Path, about: dict[str, Any]) -> str:
    currency = about.get("currency")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise DataRejected(f'{file}: "currency" is {currency!r}; need three capitals, as in "EUR"')
    return currency


def _time_zone(file: Path, about: dict[str, Any]) -> str:
    zone = about.get("time_zone", UTC_ZONE)
    if not isinstance(zone, str) or not is_time_zone(zone):
        raise DataRejected(f'{file}: "time_zone" is {zone!r}; need one such as "Europe/Berlin"')
    return zone


def _products(file: Path, writer: SnapshotWriter) -> pa.Table:
    sieve = Sieve(read_source(file, PRODUCT_COLUMNS.names))
    ids = columns.identifier(sieve, "product_id")
    _fault_repeated(sieve, ids, "product_id")
    texts = {name: columns.text(sieve, name) for name in _TEXTS}
    whole = {
        "price_minor": (1, MAX_PRICE_MINOR),
        "cost_minor": (0, MAX_PRICE_MINOR),
        "stock": (0, _MAX_STOCK),
        "supply_days": (0, _MAX_SUPPLY_DAYS),
        "available_from_ms": (FIRST_MS, LAST_MS),
    }
    numbers = {
        name: columns.known_integers(sieve, name, low=low, high=high)
        for name, (low, high) in whole.items()
    }
    for name in ("price_minor", "available_from_ms"):
        sieve.fault(pc.is_null(numbers[name]), f"{name} is empty")
    sieve.hand_over(writer)
    rows = np.flatnonzero(sieve.sound)
    kept = ids.take(rows)
    given = {
        "product_id": kept.column(),
        **{name: text.take(rows).column() for name, text in texts.items()},
        "compatible_with": _compatible(sieve, kept.names, writer).take(rows),
        **{name: values.take(rows) for name, values in numbers.items()},
    }
    return pa.table({name: given[name] for name in PRODUCT_COLUMNS.names}).cast(PRODUCT_COLUMNS)


def _compatible(sieve: Sieve, known: pa.Array, writer: SnapshotWriter) -> pa.Array:
    """[N] per product the compatible ones that are in the catalogue; others are dropped, since a
    missing accessory does not make a product wrong."""
    cells = sieve.source.table["compatible_with"]
    if not pa.types.is_list(cells.type) and not pa.types.is_large_list(cells.type):
        raise DataRejected(f"{sieve.source.file}: compatible_with is {cells.type}; need lists")
    lists = pa.concat_arrays(cells.chunks) if cells.num_chunks else pa.array([], cells.type)
    flat = Coded.of(lists.flatten().cast(pa.string()))
    keep = flat.rows_where(pc.is_in(flat.names, value_set=known))
    dropped = int(keep.size - np.count_nonzero(keep))
    if dropped:
        writer.notes.append(f"{dropped} unknown products dropped from compatible_with")
    owners = pc.list_parent_indices(lists).to_numpy()
    sizes = np.bincount(owners[keep], minlength=len(lists))
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    values = flat.take(np.flatnonzero(keep)).column().dictionary_decode()
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _shoppers(file: Path, writer: SnapshotWriter) -> pa.Table:
    sieve = Sieve(read_source(file, SHOPPER_COLUMNS.names))
    ids = columns.identifier(sieve, "user_id")
    _fault_repeated(sieve, ids, "user_id")
    texts = {name: columns.text(sieve, name) for name in SHOPPER_COLUMNS.names[1:]}
    sieve.hand_over(writer)
    rows = np.flatnonzero(sieve.sound)
    given = {"user_id": ids, **texts}
    table = pa.table({name: text.take(rows).column() for name, text in given.items()})
    return table.cast(SHOPPER_COLUMNS)


def _fault_repeated(sieve: Sieve, ids: Coded, column: str) -> None:
    _, first = np.unique(ids.codes, return_index=True)
    sieve.fault(~np.isin(np.arange(len(ids)), first), f"{column} is there twice")


def _events(
    sieve: Sieve, product_ids: pa.ChunkedArray, user_ids: pa.ChunkedArray, writer: SnapshotWriter
) -> pa.Table:
    whole = {
        "time_ms": (FIRST_MS, LAST_MS - 1),
        "session_id": (0, _MAX_ID),
        "request_id": (0, _MAX_ID),
        "position": (0, _MAX_POSITION),
        "quantity": (0, MAX_QUANTITY),
        "price_minor": (0, MAX_PRICE_MINOR),
        "amount": (0, MAX_AMOUNT),
    }
    given: dict[str, pa.Array] = {
        name: pa.array(columns.integers(sieve, name, low=low, high=high))
        for name, (low, high) in whole.items()
    }
    given["discount"] = pa.array(columns.numbers(sieve, "discount", low=0.0, high=1.0))
    types = columns.choice(sieve, "type", _TYPES)
    products = columns.identifier(sieve, "product_id", required=False)
    users = columns.identifier(sieve, "user_id")
    is_search = types.rows_where(pc.equal(types.names, EventType.SEARCH))
    is_unnamed = products.rows_where(pc.equal(products.names, ""))
    sieve.fault(is_search & ~is_unnamed, "a search names a product")
    sieve.fault(~is_search & is_unnamed, "product_id is empty")
    is_free = given["price_minor"].to_numpy() == 0
    sieve.fault(~is_search & is_free, f"price_minor is outside 1..{MAX_PRICE_MINOR}")
    _fault_unknown(sieve, products, product_ids, "product_id")
    sieve.fault(users.rows_where(pc.equal(users.names, "")), "user_id is empty")
    _fault_unknown(sieve, users, user_ids, "user_id")
    texts = {
        "type": types,
        "product_id": products,
        "user_id": users,
        "placement": columns.choice(sieve, "placement", _PLACEMENTS),
        "device": columns.text(sieve, "device"),
        "country": columns.text(sieve, "country"),
    }
    sieve.fault_duplicates(EVENT_COLUMNS.names)
    order = in_time_order(given["time_ms"].to_numpy(), sieve.sound, writer.notes)
    sieve.hand_over(writer)
    given = {name: values.take(pa.array(order)) for name, values in given.items()}
    given |= {name: text.take(order).column() for name, text in texts.items()}
    return pa.table({name: given[name] for name in EVENT_COLUMNS.names}).cast(EVENT_COLUMNS)


def _fault_unknown(sieve: Sieve, ids: Coded, known: pa.ChunkedArray, column: str) -> None:
    is_known = pc.or_(
        pc.is_in(ids.names, value_set=known.combine_chunks()), pc.equal(ids.names, "")
    )
    sieve.fault(ids.rows_where(pc.invert(is_known)), f"{column} is unknown or was quarantined")
