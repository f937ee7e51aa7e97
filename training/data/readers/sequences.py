"""Sequences: benchmark files of item sequences, one shopper per row, in time order.

What a row means here:
- The files this is for (Amazon reviews, 5-core) list what somebody bought and then reviewed, so an
  item of a sequence is a PURCHASE. Price and quantity are unknown: price 0, currency XXX.
- Only the order is known. Times are made up (`time_is_real` is false): a shopper's last item is at
  the same moment for all, each earlier one a day before the next. So one cut in time takes the same
  number of items from the end of every sequence.
- Every interaction is its own session; nothing says which belong together.
- `X_items.parquet` beside `X_sequences.parquet` (if there) names the items: its `title`, or else
  its `keywords`, is the title, and a sequence with an item that it lacks is a fault.
- The data "repeats" if more than one interaction in a hundred is with an item seen before by the
  same shopper; below that, seen items are better removed than kept.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shop.errors import DataRejected
from shop.events import EventType
from training.data import columns
from training.data.coded import Coded
from training.data.progress import Progress
from training.data.sieve import Sieve
from training.data.snapshot import (
    MAX_ID_CHARACTERS,
    NO_CURRENCY,
    SnapshotManifest,
    SnapshotWriter,
)
from training.data.tables import event_table, product_table, shopper_table
from training.data.tabular import column_names, read_source

COLUMNS = ("user_id", "item_ids")
MAX_SEQUENCE = 10_000  # items of one shopper; the longest of the benchmarks is 296
_LAST_MS = 946_684_800_000  # 2000-01-01, where every made-up sequence ends
_STEP_MS = 86_400_000
_REPEATS_ABOVE = 0.01
_SUFFIX, _ITEMS_SUFFIX = "_sequences", "_items"


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    """The item lists of a file, flattened. N rows of the file, E items."""

    ids: Coded  # [E]
    owners: NDArray[np.int64]  # [E] row of the file

    def rows_where(self, items: NDArray[np.bool_], row_count: int) -> NDArray[np.bool_]:
        """[N] True for rows with an item for which `items` [E] holds."""
        rows = np.zeros(row_count, dtype=np.bool_)
        rows[self.owners[items]] = True
        return rows


def import_sequences(file: Path, out: Path, progress: Progress) -> SnapshotManifest:
    """Write the snapshot of one `*_sequences.parquet` to `out`."""
    writer = SnapshotWriter(out, "sequences", NO_CURRENCY, time_is_real=False)
    writer.notes.append("only the order is known: times are made up, one day apart")
    progress("reading", 0.0)
    sieve = Sieve(read_source(file, COLUMNS))
    titles = _titles(file, writer)
    progress("checking", 0.3)
    users = columns.identifier(sieve, "user_id")
    items = _checked_items(sieve, users, titles)
    sieve.hand_over(writer)
    progress("writing", 0.6)
    kept = sieve.sound[items.owners]
    owners, products = items.owners[kept], items.ids.take(np.flatnonzero(kept))
    writer.repeats = _repeats(owners, products)
    return _write(writer, users.take(owners), owners, products, titles)


def _write(
    writer: SnapshotWriter,
    users: Coded,
    owners: NDArray[np.int64],
    products: Coded,
    titles: dict[str, str],
) -> SnapshotManifest:
    times_ms = _made_up_times(owners)
    order = np.argsort(times_ms, kind="stable")
    users, products = users.take(order), products.take(order)
    count = len(products.names)
    product_ids = products.names.to_pylist()
    return writer.finish(
        product_table(
            products.names,
            titles=[titles.get(product_id, "") for product_id in product_ids],
            price_minor=np.zeros(count, dtype=np.int64),
            available_from_ms=np.full(count, int(times_ms.min(initial=_LAST_MS))),
        ),
        shopper_table(users.names),
        event_table(
            times_ms=times_ms[order],
            users=users,
            products=products,
            types=Coded.constant(EventType.PURCHASE, order.size),
            session_ids=np.arange(1, order.size + 1),
        ),
    )


def _checked_items(sieve: Sieve, users: Coded, titles: dict[str, str]) -> _Items:
    count = len(sieve.source)
    lists = _lists(sieve)
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    sieve.fault(sizes == 0, "item_ids is empty")
    sieve.fault(sizes > MAX_SEQUENCE, f"item_ids has more than {MAX_SEQUENCE} items")
    flat = lists.flatten()
    items = _Items(_item_ids(sieve, flat), np.repeat(np.arange(count), sizes))
    names = items.ids.names
    unfit = items.ids.rows_where(
        pc.or_(pc.equal(names, ""), pc.match_substring_regex(names, r"^-|[\x00-\x1f\x7f]"))
    )
    sieve.fault(items.rows_where(unfit, count), "item_ids holds an empty, negative or odd id")
    too_long = items.ids.rows_where(pc.greater(pc.utf8_length(names), MAX_ID_CHARACTERS))
    sieve.fault(items.rows_where(too_long, count), f"item_ids has an id over {MAX_ID_CHARACTERS}")
    if titles:
        unknown = pa.array([name not in titles for name in names.to_pylist()], pa.bool_())
        sieve.fault(
            items.rows_where(items.ids.rows_where(unknown), count),
            "item_ids names an item that the items file lacks",
        )
    _, first = np.unique(users.codes, return_index=True)
    sieve.fault(~np.isin(np.arange(count), first), "user_id is there twice")
    return items


def _lists(sieve: Sieve) -> pa.Array:
    column = sieve.source.table["item_ids"]
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise DataRejected(
            f"{sieve.source.file}: column item_ids is {column.type}; need a list of ids per row"
        )
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _item_ids(sieve: Sieve, flat: pa.Array) -> Coded:
    kind = flat.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise DataRejected(
            f"{sieve.source.file}: column item_ids lists {kind}; need whole numbers or text"
        )
    return Coded.of(flat.dictionary_encode() if pa.types.is_integer(kind) else flat)


def _made_up_times(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """[E] the last item of every owner at _LAST_MS, earlier ones one step before the next."""
    owner_count = int(owners.max(initial=-1)) + 1
    ends = np.cumsum(np.bincount(owners, minlength=owner_count))
    from_end = ends[owners] - 1 - np.arange(owners.size)
    return _LAST_MS - from_end * _STEP_MS


def _repeats(owners: NDArray[np.int64], products: Coded) -> bool:
    pairs = owners * len(products.names) + products.codes
    again = pairs.size - np.unique(pairs).size
    return again > _REPEATS_ABOVE * pairs.size


def _titles(file: Path, writer: SnapshotWriter) -> dict[str, str]:
    """Titles by item id from the items file beside `file`; empty if there is none."""
    items_file = file.with_name(file.stem.removesuffix(_SUFFIX) + _ITEMS_SUFFIX + file.suffix)
    if not file.stem.endswith(_SUFFIX) or not items_file.is_file():
        return {}
    present = column_names(items_file)
    wanted = next((name for name in ("title", "keywords") if name in present), None)
    sieve = Sieve(read_source(items_file, ("item_id",), () if wanted is None else (wanted,)))
    ids = columns.identifier(sieve, "item_id")
    texts = columns.text(sieve, wanted) if wanted else Coded.constant("", len(ids))
    _, first = np.unique(ids.codes, return_index=True)
    sieve.fault(~np.isin(np.arange(len(ids)), first), "item_id is there twice")
    sieve.hand_over(writer)
    rows = np.flatnonzero(sieve.sound)
    return dict(zip(ids.take(rows).text(), texts.take(rows).text(), strict=True))
