"""Histories: what shoppers did until the snapshot ends, for stores that start empty.

`histories.parquet` has one row per shopper with a history or a profile, and these columns:
user_id, segment, country, device (text, "" = unknown), and per interaction, oldest first,
product_ids (text), event_codes (int8, shop.events.EVENT_CODES), times_ms (int64, Unix, UTC),
session_ids (text) and promotions (int8, shop.events.PromotionSeen). Beside them per signal, oldest
first, signal_codes, signal_times_ms, signal_session_ids as above and signal_amounts (int32,
shop.events.signal_amount). Only the newest that count are kept, as online.

Shapes: U shoppers, H kept events of all shoppers.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.data.snapshot import Snapshot
from training.histories import Remembered, build_histories

_ROW_GROUP = 2_000  # shoppers; importers read one group at a time


def write_histories(snapshot: Snapshot, path: Path) -> int:
    """Write the file; returns how many shoppers it holds."""
    table = histories_table(snapshot)
    pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP)
    return int(table.num_rows)


def histories_table(snapshot: Snapshot) -> pa.Table:
    """All shoppers of the snapshot in its order; their interactions as lists."""
    histories = build_histories(snapshot)
    product_ids = pa.concat_arrays(
        [pa.array([""], pa.string()), *snapshot.products["product_id"].cast(pa.string()).chunks]
    )
    deeds, signals = histories.interactions, histories.signals
    at, offsets = _newest(deeds)
    signals_at, signal_offsets = _newest(signals)
    lists = {
        "product_ids": (offsets, product_ids.take(pa.array(deeds.product_rows[at]))),
        "event_codes": (offsets, pa.array(deeds.event_codes[at].astype(np.int8))),
        "times_ms": (offsets, pa.array(deeds.times_ms[at])),
        "session_ids": (offsets, pa.array(deeds.session_ids[at]).cast(pa.string())),
        "promotions": (offsets, pa.array(deeds.promotions[at])),
    }
    at, offsets = signals_at, signal_offsets
    lists |= {
        "signal_codes": (offsets, pa.array(signals.event_codes[at].astype(np.int8))),
        "signal_times_ms": (offsets, pa.array(signals.times_ms[at])),
        "signal_session_ids": (offsets, pa.array(signals.session_ids[at]).cast(pa.string())),
        "signal_amounts": (offsets, pa.array(signals.amounts[at].astype(np.int32))),
    }
    profile = {
        name: snapshot.shoppers[name].cast(pa.string()).fill_null("")
        for name in ("user_id", "segment", "country", "device")
    }
    return pa.table(
        profile | {name: pa.ListArray.from_arrays(*parts) for name, parts in lists.items()}
    )


def _newest(events: Remembered) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """[H] positions of the events to keep, and [U + 1] where each shopper's begin."""
    ends = events.starts[1:]
    counts = np.minimum(np.diff(events.starts), events.limit)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    at = np.arange(offsets[-1]) + np.repeat(ends - offsets[1:], counts)
    return at, offsets.astype(np.int32)
