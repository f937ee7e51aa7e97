"""Online Retail: the UCI giftware shop's invoice lines as purchases and returns.

What the lines mean here, and what is left out:
- A line of an invoice is a PURCHASE; its invoice is the session. Lines keep their order.
- A line of a cancellation (invoice "C…") is a RETURN if the same customer bought the same product
  before; otherwise the purchase lies before the data begins, and the line is left out.
- Lines without a customer are left out: nobody's taste can be learnt from them.
- Stock codes that are not five digits and up to three letters are postage, fees, vouchers and
  corrections, not products, and are left out. Codes are compared in upper case.
- The list price is the median paid; title and country are the most recent. Nothing is known of
  cost, stock, discounts or devices. The category is derived: the title's head noun, `head_nouns`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shop.events import EventType
from training.data import columns
from training.data.coded import Coded
from training.data.progress import Progress
from training.data.readers.head_nouns import head_nouns
from training.data.sieve import Sieve
from training.data.snapshot import MAX_QUANTITY, SnapshotManifest, SnapshotWriter
from training.data.tables import (
    event_table,
    first_of_each,
    latest_text,
    median_of_each,
    product_table,
    shopper_table,
)
from training.data.tabular import read_source
from training.data.times import in_time_order, times_ms

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
_PRODUCT_CODE = r"^[0-9]{5}[A-Z]{0,3}$"
_NOTES = (
    "category is derived: the head noun of the title",
    "list price is the median paid; lines name no promotions, so no discount is known",
)
_TYPES = (EventType.PURCHASE, EventType.RETURN)


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Sound lines, in time order. L lines."""

    invoices: Coded
    products: Coded
    customers: Coded
    titles: Coded
    countries: Coded
    times_ms: NDArray[np.int64]  # [L]
    quantities: NDArray[np.int64]  # [L] positive
    price_minor: NDArray[np.int64]  # [L]
    is_return: NDArray[np.bool_]  # [L]


def import_online_retail(file: Path, out: Path, progress: Progress) -> SnapshotManifest:
    """Write the snapshot of one Online Retail file to `out`."""
    writer = SnapshotWriter(out, "online-retail", "GBP")
    progress("reading", 0.0)
    source = read_source(file, COLUMNS)
    writer.notes += (*_NOTES, *source.notes)
    sieve = Sieve(source)
    progress("checking", 0.3)
    lines = _checked_lines(sieve, writer)
    progress("setting bad rows aside", 0.7)
    sieve.hand_over(writer)
    progress("writing", 0.8)
    events = event_table(
        times_ms=lines.times_ms,
        users=lines.customers,
        products=lines.products,
        types=Coded(lines.is_return.astype(np.int32), pa.array([str(t) for t in _TYPES])),
        session_ids=lines.invoices.codes.astype(np.int64) + 1,
        quantities=lines.quantities,
        price_minor=lines.price_minor,
        countries=lines.countries,
    )
    return writer.finish(_products(lines), _shoppers(lines), events)


def _checked_lines(sieve: Sieve, writer: SnapshotWriter) -> _Lines:
    invoices = columns.identifier(sieve, "InvoiceNo")
    codes = columns.identifier(sieve, "StockCode")
    products = codes.renamed(pc.utf8_upper(codes.names))
    is_product = pc.match_substring_regex(products.names, _PRODUCT_CODE)
    sieve.leave_out(
        products.rows_where(pc.invert(is_product)),
        "not a product (postage, fees, vouchers, corrections)",
    )
    is_return = invoices.rows_where(pc.starts_with(invoices.names, "C"))
    quantities = _quantities(sieve, is_return)
    when_ms = times_ms(sieve, "InvoiceDate")
    price_minor = columns.price_minor(sieve, "UnitPrice")
    titles = columns.text(sieve, "Description")
    countries = columns.text(sieve, "Country")
    customers = columns.identifier(sieve, "CustomerID", required=False)
    sieve.fault_duplicates(list(COLUMNS))
    sieve.leave_out(customers.rows_where(pc.equal(customers.names, "")), "no customer")
    pairs = customers.codes.astype(np.int64) * len(products.names) + products.codes
    unmatched = _returns_without_purchase(pairs, when_ms, is_return, sieve.sound)
    sieve.leave_out(unmatched, "cancellation without an earlier purchase in the data")
    order = in_time_order(when_ms, sieve.sound, writer.notes)
    return _Lines(
        invoices=invoices.take(order),
        products=products.take(order),
        customers=customers.take(order),
        titles=titles.renamed(pc.replace_substring_regex(titles.names, r"\s+", " ")).take(order),
        countries=countries.renamed(
            pc.replace_substring_regex(countries.names, "^Unspecified$", "")
        ).take(order),
        times_ms=when_ms[order],
        quantities=quantities[order],
        price_minor=price_minor[order],
        is_return=is_return[order],
    )


def _quantities(sieve: Sieve, is_return: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] pieces, positive on purchases and returns alike."""
    signed = columns.integers(sieve, "Quantity", low=-MAX_QUANTITY, high=MAX_QUANTITY)
    sieve.fault(signed == 0, "Quantity is zero")
    sieve.fault((signed < 0) & ~is_return, "Quantity is negative outside a cancellation")
    sieve.fault((signed > 0) & is_return, "Quantity is positive in a cancellation")
    return np.abs(signed)


def _returns_without_purchase(
    pairs: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    is_return: NDArray[np.bool_],
    sound: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """[N] True for returns whose customer had not bought the product by then; `pairs` [N] is one
    number for every customer and product."""
    bought = np.flatnonzero(sound & ~is_return)
    order = bought[np.lexsort((times_ms[bought], pairs[bought]))]
    bought_pairs, first = np.unique(pairs[order], return_index=True)
    first_ms = np.append(times_ms[order][first], np.iinfo(np.int64).max)
    at = np.searchsorted(bought_pairs, pairs)
    is_known = np.append(bought_pairs, -1)[at] == pairs
    unmatched: NDArray[np.bool_] = is_return & ~(is_known & (first_ms[at] <= times_ms))
    return unmatched


def _products(lines: _Lines) -> pa.Table:
    codes, count = lines.products.codes, len(lines.products.names)
    titles = latest_text(lines.products, lines.titles)
    return product_table(
        lines.products.names,
        titles=titles,
        categories=head_nouns(titles),
        price_minor=median_of_each(codes, lines.price_minor, count),
        available_from_ms=lines.times_ms[first_of_each(codes, count)],
    )


def _shoppers(lines: _Lines) -> pa.Table:
    countries = latest_text(lines.customers, lines.countries)
    return shopper_table(lines.customers.names, countries=countries)
