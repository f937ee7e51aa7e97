"""Histories: what shoppers did until the snapshot ends, for stores that start empty.

`histories.parquet` has one row per shopper with a history or a profile, and these columns:
user_id, segment, country, device (text, "" = unknown), and per interaction, oldest first,
product_ids (text), event_codes (int8, shop.events.EVENT_CODES), times_ms (int64, Unix, UTC) and
session_ids (text). Only the newest HISTORY_LIMIT interactions of HISTORY_TYPES are kept, as online.

Shapes: U shoppers, H kept interactions of all shoppers.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.events import HISTORY_LIMIT
from training.data.snapshot import Snapshot
from training.examples import Histories, build_histories

_ROW_GROUP = 2_000  # shoppers; importers read one group at a time


def write_histories(snapshot: Snapshot, path: Path) -> int:
    """Write the file; returns how many shoppers it holds."""
    table = histories_table(snapshot)
    pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP)
    return int(table.num_rows)


def histories_table(snapshot: Snapshot) -> pa.Table:
    """All shoppers of the snapshot in its order; their interactions as lists."""
    histories = build_histories(snapshot)
    at, offsets = _newest(histories)
    product_ids = pa.concat_arrays(
        [pa.array([""], pa.string()), *snapshot.products["product_id"].cast(pa.string()).chunks]
    )
    sessions = pa.array(histories.session_ids[at]).cast(pa.string())
    lists = {
        "product_ids": product_ids.take(pa.array(histories.product_rows[at])),
        "event_codes": pa.array(histories.event_codes[at].astype(np.int8)),
        "times_ms": pa.array(histories.times_ms[at]),
        "session_ids": sessions,
    }
    profile = {
        name: snapshot.shoppers[name].cast(pa.string()).fill_null("")
        for name in ("user_id", "segment", "country", "device")
    }
    return pa.table(
        profile
        | {name: pa.ListArray.from_arrays(offsets, values) for name, values in lists.items()}
    )


def _newest(histories: Histories) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """[H] positions of the interactions to keep, and [U + 1] where each shopper's begin."""
    ends = histories.starts[1:]
    counts = np.minimum(np.diff(histories.starts), HISTORY_LIMIT)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    at = np.arange(offsets[-1]) + np.repeat(ends - offsets[1:], counts)
    return at, offsets.astype(np.int32)
