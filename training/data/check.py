"""Check: is a snapshot still what its manifest says, and would training understand every row?

Everything is looked at even if something is wrong, so that one run shows all there is to mend.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shop.errors import DataRejected
from shop.events import EventType
from shop.features import PLACEMENTS
from training.data.snapshot import (
    EVENT_COLUMNS,
    EVENTS,
    FIRST_MS,
    LAST_MS,
    MAX_AMOUNT,
    MAX_PRICE_MINOR,
    MAX_QUANTITY,
    MAX_QUARANTINE_LINES,
    MAX_TEXT_CHARACTERS,
    MAY_BE_NULL,
    NO_CURRENCY,
    PRODUCT_COLUMNS,
    PRODUCTS,
    QUARANTINE,
    SHOPPER_COLUMNS,
    SHOPPERS,
    SnapshotManifest,
    file_sha256,
    read_snapshot_manifest,
)
from training.data.tabular import column_types, read_source

_SCHEMAS = {PRODUCTS: PRODUCT_COLUMNS, SHOPPERS: SHOPPER_COLUMNS, EVENTS: EVENT_COLUMNS}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at, and what is wrong with it ("" = nothing)."""

    name: str
    fault: str

    @property
    def is_passed(self) -> bool:
        """True if nothing is wrong."""
        return not self.fault


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that was looked at in one snapshot."""

    folder: Path
    snapshot: str  # "" if the manifest could not be read
    checks: tuple[Check, ...]

    @property
    def is_passed(self) -> bool:
        """True if nothing at all is wrong."""
        return all(check.is_passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        checks = [asdict(check) for check in self.checks]
        return {"snapshot": self.snapshot, "passed": self.is_passed, "checks": checks}


def check_snapshot(folder: Path) -> CheckReport:
    """Look at everything in the snapshot `folder`; never raises for what is wrong with it."""
    try:
        manifest = read_snapshot_manifest(folder)
    except DataRejected as error:
        return CheckReport(folder, "", (Check("manifest", str(error)),))
    checks = [Check("manifest", _manifest_fault(manifest))]
    tables: dict[str, pa.Table] = {}
    for name, schema in _SCHEMAS.items():
        checks.append(Check(f"digest of {name}", _digest_fault(folder / name, manifest)))
        try:
            tables[name] = _read(folder / name, schema)
        except DataRejected as error:
            checks.append(Check(f"columns of {name}", str(error)))
        else:
            checks.append(Check(f"columns of {name}", ""))
    checks.append(Check(QUARANTINE, _quarantine_fault(folder / QUARANTINE, manifest)))
    if len(tables) == len(_SCHEMAS):
        checks += _table_checks(manifest, tables)
    return CheckReport(folder, manifest.snapshot, tuple(checks))


def _manifest_fault(manifest: SnapshotManifest) -> str:
    if sum(manifest.faults.values()) != manifest.counts.get("quarantined"):
        return "the faults do not add up to the quarantined rows"
    return ""


def _digest_fault(file: Path, manifest: SnapshotManifest) -> str:
    try:
        differs = file_sha256(file) != manifest.sha256[file.name]
    except OSError as error:
        return f"cannot be read: {error}"
    return "differs from the manifest: damaged or edited since" if differs else ""


def _read(file: Path, schema: pa.Schema) -> pa.Table:
    if not file.is_file():
        raise DataRejected(f"{file} is missing")
    found = column_types(file)
    for field in schema:
        if found.get(field.name) != field.type:
            raise DataRejected(f"column {field.name} is {found.get(field.name)}; need {field.type}")
    table = read_source(file, schema.names).table.select(schema.names).unify_dictionaries()
    for name in schema.names:
        if name not in MAY_BE_NULL and table[name].null_count:
            raise DataRejected(f"column {name} has nulls")
        if _longest(table[name]) > MAX_TEXT_CHARACTERS:
            raise DataRejected(f"column {name} has a text longer than {MAX_TEXT_CHARACTERS}")
    return table


def _longest(column: pa.ChunkedArray) -> int:
    """Characters of the longest text; 0 where there is no text."""
    if not pa.types.is_dictionary(column.type) or not column.num_chunks:
        return 0
    return int(pc.max(pc.utf8_length(column.chunk(0).dictionary)).as_py() or 0)


def _quarantine_fault(file: Path, manifest: SnapshotManifest) -> str:
    counts: Counter[str] = Counter()
    try:
        with file.open() as lines:
            for line in lines:
                counts[str(json.loads(line)["fault"])] += 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"cannot be read: {error!r}"
    kept_all = manifest.counts.get("quarantined", 0) <= MAX_QUARANTINE_LINES
    if kept_all and counts != manifest.faults:
        return f"holds {counts.total()} rows, not those that the manifest counts"
    return ""


def _table_checks(manifest: SnapshotManifest, tables: dict[str, pa.Table]) -> Iterator[Check]:
    products, shoppers, events = tables[PRODUCTS], tables[SHOPPERS], tables[EVENTS]
    yield Check("counts", _counts_fault(manifest, tables))
    yield Check("product ids", _ids_fault(products["product_id"]))
    yield Check("user ids", _ids_fault(shoppers["user_id"]))
    yield Check("time order", _order_fault(events["time_ms"].to_numpy(), manifest))
    compatible = products["compatible_with"].combine_chunks().flatten()
    known = products["product_id"]
    is_search = pc.equal(events["type"].cast(pa.string()), EventType.SEARCH)
    searches, deeds = events.filter(is_search), events.filter(pc.invert(is_search))
    yield Check("events name known products", _reference_fault(deeds["product_id"], known))
    nothing = pa.array([""])
    yield Check("searches name no product", _reference_fault(searches["product_id"], nothing))
    yield Check("events name known users", _reference_fault(events["user_id"], shoppers["user_id"]))
    yield Check("compatible products are known", _reference_fault(compatible, known))
    types, placements = pa.array(list(EventType)), pa.array(["", *PLACEMENTS])
    yield Check("event types", _reference_fault(events["type"], types))
    yield Check("placements", _reference_fault(events["placement"], placements))
    lowest_price = 0 if manifest.currency == NO_CURRENCY else 1
    yield Check("ranges of products", _product_ranges(products, lowest_price))
    yield Check("ranges of events", _event_ranges(deeds, lowest_price))
    yield Check("ranges of searches", _event_ranges(searches, 0))


def _counts_fault(manifest: SnapshotManifest, tables: dict[str, pa.Table]) -> str:
    found = {
        "products": tables[PRODUCTS].num_rows,
        "shoppers": tables[SHOPPERS].num_rows,
        "events": tables[EVENTS].num_rows,
    }
    for pair in pc.value_counts(tables[EVENTS]["type"].combine_chunks()).to_pylist():
        found[f"events_{pair['values']}"] = pair["counts"]
    said = {k: n for k, n in manifest.counts.items() if k.startswith(("events", *found))}
    wrong = sorted(k for k in found | said if found.get(k, 0) != said.get(k, 0))
    return "; ".join(f"{k}: {found.get(k, 0)}, manifest says {said.get(k, 0)}" for k in wrong)


def _ids_fault(ids: pa.ChunkedArray) -> str:
    distinct = ids.unique().dictionary_decode()
    if pc.any(pc.equal(distinct, "")).as_py():
        return "an id is empty"
    return "an id is there twice" if len(distinct) != len(ids) else ""


def _order_fault(times_ms: np.ndarray[Any, np.dtype[np.int64]], manifest: SnapshotManifest) -> str:
    if times_ms.size == 0:
        return "there are no events"
    backwards = np.flatnonzero(np.diff(times_ms) < 0)
    if backwards.size:
        return f"row {int(backwards[0]) + 2} is earlier than the row before it"
    if (times_ms[0], times_ms[-1]) != (manifest.first_ms, manifest.last_ms):
        return "first or last time differs from the manifest"
    return ""


def _reference_fault(values: Any, known: Any) -> str:
    if pa.types.is_dictionary(values.type):
        values = values.unique().dictionary_decode()
    lost = values.filter(pc.invert(pc.is_in(values, value_set=pa.array(known.to_pylist()))))
    return f"{lost[0].as_py()!r} is unknown" if len(lost) else ""


def _product_ranges(products: pa.Table, lowest_price: int) -> str:
    return _first_outside(
        products,
        {
            "price_minor": (lowest_price, MAX_PRICE_MINOR),
            "cost_minor": (0, MAX_PRICE_MINOR),
            "stock": (0, None),
            "supply_days": (0, None),
            "available_from_ms": (FIRST_MS, LAST_MS),
        },
    )


def _event_ranges(events: pa.Table, lowest_price: int) -> str:
    return _first_outside(
        events,
        {
            "time_ms": (FIRST_MS, LAST_MS),
            "session_id": (0, None),
            "request_id": (0, None),
            "position": (0, None),
            "quantity": (0, MAX_QUANTITY),
            "price_minor": (lowest_price, MAX_PRICE_MINOR),
            "discount": (0.0, 1.0),
            "amount": (0, MAX_AMOUNT),
        },
    )


def _first_outside(table: pa.Table, limits: dict[str, tuple[float, float | None]]) -> str:
    for name, (low, high) in limits.items():
        values = table[name].drop_null().to_numpy()
        inside = values >= low if high is None else (values >= low) & (values <= high)  # not NaN
        if not inside.all():
            return f"{name}: {values[~inside][0]} is outside {low}..{'' if high is None else high}"
    return ""
