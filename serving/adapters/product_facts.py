"""Product facts: the shop's product data for descriptions, from the tables of a snapshot.

`products.parquet` tells titles, categories, brands, prices and the coded attributes;
`specifications.parquet`, if there is one, the lines of specifications (product_id, name, value,
unit), which then stand for the coded ones too; `events.parquet` how often a product was clicked.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.describe.ports import Product
from shop.catalogue import SPECIFICATION
from shop.descriptions.facts import Attribute, Facts, facts_of
from shop.descriptions.page_facts import category_facts
from shop.errors import DependencyUnavailable, NotFound

_HEADS = ("product_id", "title", "category", "brand", "price_minor", "cost_minor")
_MINOR = 100.0
_MOST_OF_CATEGORY = 200  # cleaning their facts takes a tenth of a second


class SnapshotFacts:
    """All of a shop's products, in memory; read anew at every start."""

    def __init__(self, snapshot: Path, specifications: Path | None) -> None:
        """Raises DependencyUnavailable if the tables cannot be read."""
        try:
            self._products = _products(snapshot / "products.parquet")
            self._clicks = _clicks(snapshot / "events.parquet")
            self._lines = _lines(specifications) if specifications is not None else {}
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DependencyUnavailable("product data", str(error)) from error
        self._most_clicks = max(self._clicks.values(), default=0)
        self._of_category = _by_category(self._products, self._clicks)
        self._most_category_clicks = max(
            (self._clicks_of(ids) for ids in self._of_category.values()), default=0
        )

    async def product(self, product_id: str) -> Product:
        """Raises NotFound. Cleaning hostile values of any size takes milliseconds: in a thread."""
        row = self._products.get(product_id)
        if row is None:
            raise NotFound(f"the shop has no product {product_id[:40]!r}")
        return await asyncio.to_thread(self._product, row)

    async def category(self, name: str) -> Product:
        """Raises NotFound. Told of by its busiest products."""
        ids = self._of_category.get(name)
        if not ids:
            raise NotFound(f"the shop has no category {name[:40]!r}")
        return await asyncio.to_thread(self._category, name, ids)

    async def whole_shop(self) -> Product:
        """Every click, and the mean margin; no facts."""
        margins = [_margin(row) for row in self._products.values()]
        margin = sum(margins) / len(margins) if margins else 0.0
        return Product(Facts("", "", "", "", ()), float(sum(self._clicks.values())), 1.0, margin)

    def _category(self, name: str, ids: list[str]) -> Product:
        known = [self._product(self._products[each]) for each in ids[:_MOST_OF_CATEGORY]]
        facts = category_facts(name, len(ids), [each.facts for each in known])
        clicks, most = self._clicks_of(ids), self._most_category_clicks
        margin = sum(each.margin for each in known) / len(known)
        return Product(facts, float(clicks), clicks / most if most else 0.0, margin)

    def _clicks_of(self, ids: list[str]) -> int:
        return sum(self._clicks.get(each, 0) for each in ids)

    def _product(self, row: dict[str, Any]) -> Product:
        product_id = row["product_id"]
        lines = self._lines.get(product_id) or [
            Attribute(name, row.get(name) or "") for name in SPECIFICATION if row.get(name)
        ]
        facts = facts_of(
            product_id, row["title"] or "", row["category"] or "", row["brand"] or "", lines
        )
        clicks = self._clicks.get(product_id, 0)
        share = clicks / self._most_clicks if self._most_clicks else 0.0
        return Product(facts, float(clicks), share, _margin(row))


def _products(file: Path) -> dict[str, dict[str, Any]]:
    there = set(pq.read_schema(file).names)
    columns = [name for name in (*_HEADS, *SPECIFICATION) if name in there]
    rows = pq.read_table(file, columns=columns).to_pylist()
    return {row["product_id"]: {**dict.fromkeys(_HEADS), **row} for row in rows}


def _margin(row: dict[str, Any]) -> float:
    return ((row["price_minor"] or 0) - (row["cost_minor"] or 0)) / _MINOR


def _by_category(
    products: dict[str, dict[str, Any]], clicks: dict[str, int]
) -> dict[str, list[str]]:
    """Products of each category, the most clicked first."""
    found: dict[str, list[str]] = {}
    for product_id, row in products.items():
        found.setdefault(row["category"] or "", []).append(product_id)
    found.pop("", None)
    for ids in found.values():
        ids.sort(key=lambda each: (-clicks.get(each, 0), each))
    return found


def _clicks(file: Path) -> dict[str, int]:
    if not file.exists():
        return {}
    found: Counter[str] = Counter()
    # Bit by bit: five million events at once would take half a gigabyte that is never given back.
    for events in pq.ParquetFile(file).iter_batches(columns=["product_id", "type"]):
        clicked = events["product_id"].filter(pc.equal(events["type"].cast(pa.string()), "click"))
        for each in pc.value_counts(clicked.cast(pa.string())).to_pylist():
            found[each["values"] or ""] += each["counts"]
    found.pop("", None)
    return dict(found)


def _lines(file: Path) -> dict[str, list[Attribute]]:
    found: dict[str, list[Attribute]] = {}
    columns = ("product_id", "name", "value", "unit")
    for row in pq.read_table(file, columns=list(columns)).to_pylist():
        product_id, *line = (row[name] or "" for name in columns)
        found.setdefault(product_id, []).append(Attribute(*line))
    return found
