"""Snapshot: the one versioned form in which training reads a shop's data.

A folder with `products.parquet`, `shoppers.parquet`, `events.parquet`, `quarantine.jsonl` and
`manifest.json` (schema version, source, counts, time range, SHA-256 of every table). Readers write
it through `SnapshotWriter`; everything after them knows only this form.

Shapes: P products, U shoppers, E events.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.errors import DataRejected
from shop.events import EVENT_CODES, EventType
from shop.local_time import UTC_ZONE, is_time_zone

SNAPSHOT_SCHEMA = 2
PRODUCTS, SHOPPERS, EVENTS = "products.parquet", "shoppers.parquet", "events.parquet"
QUARANTINE, MANIFEST = "quarantine.jsonl", "manifest.json"

# What no shop's data exceeds; a value outside is a fault of the row. Checked here and at import.
FIRST_MS, LAST_MS = 631_152_000_000, 4_102_444_800_000  # 1990 to 2100
MAX_ID_CHARACTERS = 128
MAX_TEXT_CHARACTERS = 2_000
MAX_PRICE_MINOR = 100_000_000
# Five of Online Retail's 541 909 lines are beyond it: two mistyped, their cancellations, one gift.
MAX_QUANTITY = 10_000
MAX_AMOUNT = 2_000_000_000  # a dwell of three weeks; results of a search
NO_CURRENCY = "XXX"  # ISO 4217: none; a source without prices, which are all 0 then
# Quarantined rows written out in full; beyond it they are counted only, so that a file of nothing
# but bad rows fills neither the memory nor the disk.
MAX_QUARANTINE_LINES = 100_000
_MAX_RAW_CHARACTERS = 200

PRODUCT_COLUMNS = pa.schema(
    [
        ("product_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),  # "" = unknown, here and below
        ("brand", pa.string()),
        ("material", pa.string()),
        ("use", pa.string()),
        ("season", pa.string()),
        ("style", pa.string()),
        ("colour", pa.string()),
        ("compatible_with", pa.list_(pa.string())),  # product ids
        ("price_minor", pa.int64()),
        ("cost_minor", pa.int64()),  # null = unknown
        ("stock", pa.int64()),  # null = not tracked
        ("supply_days", pa.int32()),  # null = unknown; days until more can be had
        ("available_from_ms", pa.int64()),
    ]
)
SHOPPER_COLUMNS = pa.schema(
    [
        ("user_id", pa.string()),
        ("segment", pa.string()),
        ("country", pa.string()),
        ("device", pa.string()),
    ]
)
EVENT_COLUMNS = pa.schema(
    [
        ("time_ms", pa.int64()),  # not decreasing down the file
        ("user_id", pa.dictionary(pa.int32(), pa.string())),
        ("session_id", pa.int64()),
        ("request_id", pa.int64()),  # the list that showed the product; 0 = none
        ("product_id", pa.dictionary(pa.int32(), pa.string())),  # "" for a search
        ("type", pa.dictionary(pa.int32(), pa.string())),  # shop.events.EventType values
        ("placement", pa.dictionary(pa.int32(), pa.string())),
        ("position", pa.int16()),  # 1-based; 0 = none
        ("quantity", pa.int32()),
        ("price_minor", pa.int64()),  # paid or shown
        ("discount", pa.float32()),  # share of the list price taken off, 0..1
        ("amount", pa.int32()),  # dwell: milliseconds, 0 = not told; search: results; else 0
        ("device", pa.dictionary(pa.int32(), pa.string())),
        ("country", pa.dictionary(pa.int32(), pa.string())),
    ]
)

# Columns that may hold null, which means unknown. A null anywhere else is a bug of the reader.
MAY_BE_NULL = frozenset({"cost_minor", "stock", "supply_days"})
# How many different values `Events` has room for.
_MOST_DISTINCT = {"placement": 127, "device": 127, "country": 32_767}


@dataclass(frozen=True, slots=True)
class SnapshotManifest:
    """What a snapshot holds and where it came from."""

    snapshot: str  # id: source and the first 12 hex digits of its tables' hash
    schema: int
    source: str  # world, online-retail, sequences, rees46
    currency: str
    counts: dict[str, int]  # products, shoppers, events, quarantined, and events per type
    first_ms: int
    last_ms: int
    time_is_real: bool  # False where only the order is known (sequence benchmarks)
    repeats: bool  # shoppers come back for the same product, so seen products stay candidates
    sha256: dict[str, str]  # table -> digest
    notes: tuple[str, ...] = ()
    faults: dict[str, int] = field(default_factory=dict)  # quarantined rows per fault
    time_zone: str = UTC_ZONE  # the shop's, by whose clock shoppers live
    left_out: dict[str, int] = field(default_factory=dict)  # sound rows not used, per reason

    def event_types(self) -> frozenset[EventType]:
        """The event types this data really has."""
        return frozenset(t for t in EventType if self.counts.get(f"events_{t}", 0) > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """All events as columns, in time order. Rows are 1-based into the snapshot's tables."""

    times_ms: NDArray[np.int64]  # [E]
    user_rows: NDArray[np.int32]  # [E] 0-based into Snapshot.user_ids
    session_ids: NDArray[np.int64]  # [E]
    request_ids: NDArray[np.int64]  # [E] 0 = none
    product_rows: NDArray[np.int32]  # [E] 1..P catalogue rows, 0 = a search, which names none
    codes: NDArray[np.int8]  # [E] shop.events.EVENT_CODES
    placements: NDArray[np.int8]  # [E] index into Snapshot.placements
    positions: NDArray[np.int16]  # [E] 1-based, 0 = none
    quantities: NDArray[np.int32]  # [E]
    price_minor: NDArray[np.int64]  # [E]
    discounts: NDArray[np.float32]  # [E]
    amounts: NDArray[np.int32]  # [E] as the column
    devices: NDArray[np.int8]  # [E] index into Snapshot.devices
    countries: NDArray[np.int16]  # [E] index into Snapshot.countries

    def __len__(self) -> int:
        return int(self.times_ms.size)

    def where(self, mask: NDArray[np.bool_]) -> "Events":
        """The events where `mask` [E] holds, order kept."""
        return Events(**{name: getattr(self, name)[mask] for name in Events.__slots__})


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A loaded snapshot. Product row r (1..P) is table row r - 1, in the table's order."""

    folder: Path
    manifest: SnapshotManifest
    products: pa.Table  # PRODUCT_COLUMNS, P rows
    shoppers: pa.Table  # SHOPPER_COLUMNS, U rows
    user_ids: NDArray[np.str_]  # [U]
    placements: tuple[str, ...]
    devices: tuple[str, ...]
    countries: tuple[str, ...]
    events: Events


@dataclass(slots=True)
class SnapshotWriter:
    """Collects a snapshot; its manifest appears only once everything else is written."""

    folder: Path
    source: str
    currency: str
    time_is_real: bool = True
    repeats: bool = True
    time_zone: str = UTC_ZONE
    notes: list[str] = field(default_factory=list)
    _quarantine: list[str] = field(default_factory=list)
    _faults: Counter[str] = field(default_factory=Counter)
    _left_out: Counter[str] = field(default_factory=Counter)

    def quarantine(self, *, file: str, row: int, fault: str, raw: dict[str, Any]) -> None:
        """Set one bad row aside, with where it stood and what is wrong with it."""
        self._faults[fault] += 1
        if len(self._quarantine) < MAX_QUARANTINE_LINES:
            cells = {str(k): str(v)[:_MAX_RAW_CHARACTERS] for k, v in raw.items()}
            line = {"file": file, "row": row, "fault": fault, "raw": cells}
            self._quarantine.append(json.dumps(line))

    def leave_out(self, reason: str, count: int) -> None:
        """Count rows that are not wrong but are no interaction of a known shopper and a product."""
        self._left_out[reason] += count

    @property
    def quarantined_count(self) -> int:
        """Rows set aside so far."""
        return self._faults.total()

    def finish(self, products: pa.Table, shoppers: pa.Table, events: pa.Table) -> SnapshotManifest:
        """Write the tables and the manifest. Events must be in time order.

        Raises DataRejected if a table does not fit its columns, nothing is left to learn from, or
        the folder already holds a snapshot.
        """
        if (self.folder / MANIFEST).exists():
            raise DataRejected(f"{self.folder} already holds a snapshot; choose another --out")
        tables = {
            PRODUCTS: _fitted(products, PRODUCT_COLUMNS, PRODUCTS),
            SHOPPERS: _fitted(shoppers, SHOPPER_COLUMNS, SHOPPERS),
            EVENTS: _fitted(events, EVENT_COLUMNS, EVENTS),
        }
        if min(t.num_rows for t in tables.values()) == 0:
            raise DataRejected(f"nothing usable: { ({n: t.num_rows for n, t in tables.items()}) }")
        times = tables[EVENTS]["time_ms"].to_numpy()
        if np.any(np.diff(times) < 0):
            raise DataRejected("events are not in time order; sort by time_ms")
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            pq.write_table(table, self.folder / name, compression="zstd")
        (self.folder / QUARANTINE).write_text("".join(f"{line}\n" for line in self._quarantine))
        manifest = self._manifest(tables, times)
        part = self.folder / f"{MANIFEST}.part"
        part.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
        os.replace(part, self.folder / MANIFEST)
        return manifest

    def _manifest(self, tables: dict[str, pa.Table], times: NDArray[np.int64]) -> SnapshotManifest:
        counts = {
            "products": tables[PRODUCTS].num_rows,
            "shoppers": tables[SHOPPERS].num_rows,
            "events": tables[EVENTS].num_rows,
            "quarantined": self.quarantined_count,
        }
        for pair in tables[EVENTS]["type"].combine_chunks().value_counts().to_pylist():
            counts[f"events_{pair['values']}"] = int(pair["counts"])
        digests = {name: file_sha256(self.folder / name) for name in tables}
        joined = hashlib.sha256("".join(digests[n] for n in sorted(digests)).encode()).hexdigest()
        return SnapshotManifest(
            snapshot=f"{self.source}-{joined[:12]}",
            schema=SNAPSHOT_SCHEMA,
            source=self.source,
            currency=self.currency,
            counts=counts,
            first_ms=int(times[0]),
            last_ms=int(times[-1]),
            time_is_real=self.time_is_real,
            repeats=self.repeats,
            time_zone=self.time_zone,
            sha256=digests,
            notes=tuple(self.notes),
            faults=dict(self._faults),
            left_out=dict(self._left_out),
        )


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_snapshot_manifest(folder: Path) -> SnapshotManifest:
    """Raises DataRejected if the folder holds no snapshot of this schema."""
    try:
        manifest = _manifest_of(json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError as error:
        raise DataRejected(f"{folder} is no snapshot: it has no {MANIFEST}") from error
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise DataRejected(f"{folder / MANIFEST} cannot be read: {error}") from error
    if set(manifest.sha256) != {PRODUCTS, SHOPPERS, EVENTS}:
        # a digest left out would be a table that nothing verifies
        raise DataRejected(f"{folder / MANIFEST} must name a digest for each of the three tables")
    if manifest.schema != SNAPSHOT_SCHEMA:
        raise DataRejected(f"{folder}: snapshot schema {manifest.schema}, need {SNAPSHOT_SCHEMA}")
    return manifest


def _manifest_of(raw: dict[str, Any]) -> SnapshotManifest:
    """Raises TypeError or ValueError where the manifest is not what the writer writes."""
    if not isinstance(raw, dict):
        raise TypeError("need an object")
    manifest = SnapshotManifest(**(raw | {"notes": tuple(raw.get("notes", ()))}))
    for name in ("counts", "faults", "left_out"):
        counts = getattr(manifest, name)
        if not isinstance(counts, dict) or not all(_is_count(n) for n in counts.values()):
            raise ValueError(f"{name} must be whole numbers")
    if not (_is_count(manifest.first_ms) and _is_count(manifest.last_ms)):
        raise ValueError("first_ms and last_ms must be Unix milliseconds")
    if not isinstance(manifest.time_zone, str) or not is_time_zone(manifest.time_zone):
        raise ValueError(f"time_zone {manifest.time_zone!r} is none of the IANA database")
    if not isinstance(manifest.sha256, dict):
        raise TypeError("sha256 must be an object")
    return manifest


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def load_snapshot(folder: Path, *, verify: bool = True) -> Snapshot:
    """Everything in memory. With `verify`, a table whose digest differs raises DataRejected."""
    manifest = read_snapshot_manifest(folder)
    for name, digest in manifest.sha256.items() if verify else ():
        if file_sha256(folder / name) != digest:
            raise DataRejected(f"{folder / name} differs from its manifest: damaged or edited")
    products = pq.read_table(folder / PRODUCTS)
    shoppers = pq.read_table(folder / SHOPPERS)
    events = pq.read_table(folder / EVENTS).combine_chunks().unify_dictionaries()
    product_ids = products["product_id"].to_pylist()
    user_ids = shoppers["user_id"].to_pylist()
    code_of = {str(event): code for event, code in EVENT_CODES.items()}
    placements, placement_codes = _codes(events, "placement")
    devices, device_codes = _codes(events, "device")
    countries, country_codes = _codes(events, "country")
    columns = Events(
        times_ms=events["time_ms"].to_numpy(),
        user_rows=_mapped(events, "user_id", {u: i for i, u in enumerate(user_ids)}, np.int32),
        session_ids=events["session_id"].to_numpy(),
        request_ids=events["request_id"].to_numpy(),
        product_rows=_mapped(
            events, "product_id", {"": 0} | {p: i + 1 for i, p in enumerate(product_ids)}, np.int32
        ),
        codes=_mapped(events, "type", code_of, np.int8),
        placements=placement_codes.astype(np.int8),
        positions=events["position"].to_numpy(),
        quantities=events["quantity"].to_numpy(),
        price_minor=events["price_minor"].to_numpy(),
        discounts=events["discount"].to_numpy(),
        amounts=events["amount"].to_numpy(),
        devices=device_codes.astype(np.int8),
        countries=country_codes.astype(np.int16),
    )
    return Snapshot(
        folder,
        manifest,
        products,
        shoppers,
        np.array(user_ids, dtype=np.str_),
        placements,
        devices,
        countries,
        columns,
    )


def _fitted(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise DataRejected(f"{name} lacks the columns {', '.join(missing)}")
    try:
        fitted = table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataRejected(f"{name}: {error}") from error
    for column in schema.names:
        if column not in MAY_BE_NULL and fitted[column].null_count:
            raise DataRejected(f'{name}: column {column} has nulls; "" and 0 mean unknown')
        most = _MOST_DISTINCT.get(column) if schema is EVENT_COLUMNS else None
        if most and len(fitted[column].unique()) > most:
            raise DataRejected(f"{name}: column {column} has more than {most} different values")
    return fitted


def _chunks(table: pa.Table, column: str) -> Iterator[pa.DictionaryArray]:
    for chunk in table[column].chunks:
        yield chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()


def _codes(table: pa.Table, column: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    names = tuple(sorted(str(v) for v in table[column].unique().to_pylist()))
    return names, _mapped(table, column, {n: i for i, n in enumerate(names)}, np.int64)


def _mapped(table: pa.Table, column: str, codes: dict[str, int], dtype: type) -> NDArray[Any]:
    """[E] the code of every value. Raises DataRejected if a value has none."""
    parts = []
    for chunk in _chunks(table, column):
        names = chunk.dictionary.to_pylist()
        used = np.unique(chunk.indices.to_numpy())
        unknown = [names[i] for i in used if names[i] not in codes]
        if unknown:
            raise DataRejected(f"events.parquet: unknown {column} {unknown[0]!r}")
        lookup: NDArray[Any] = np.array([codes.get(name, 0) for name in names] or [0], dtype=dtype)
        parts.append(lookup[chunk.indices.to_numpy()])
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
