"""Source tables: what the candidate sources beside the two-tower model will read, from a snapshot.

All are made from everything the snapshot knows: they are for the time after it. Made at export,
not in training, because the products and shoppers they speak of are those of the day it ships.

Shapes: P products, R = P + 1 catalogue rows, F arrivals.
"""

import numpy as np

from shop.source_tables import ARRIVAL_DAYS, Arrivals, SourceTables
from training.algorithms.content import fit_content
from training.algorithms.segments import fit_segments
from training.algorithms.user_user import fit_user_user
from training.data.snapshot import Snapshot
from training.examples import wanted_touches

_MS_PER_DAY = 86_400_000


def build_source_tables(snapshot: Snapshot) -> tuple[SourceTables, dict[str, float]]:
    """The tables, and what they measured of the data."""
    segments = fit_segments(snapshot)
    tables = SourceTables(
        content=fit_content(snapshot),
        user_user=fit_user_user(snapshot),
        segments=segments.lists,
        arrivals=find_arrivals(snapshot),
        wishes=_wish_counts(snapshot),
    )
    gains = {f"segments by {name}, nats": gain for name, gain in segments.gains.items()}
    return tables, gains | {"arrivals": float(tables.arrivals.rows.size)}


def find_arrivals(snapshot: Snapshot) -> Arrivals:
    """What was added in the last ARRIVAL_DAYS of the data, or is to come, latest first.

    Where a source tells no date, its reader took the first time a product was seen, so the data
    must have gone on for a while before a product counts as new: everything is new to a log that
    begins. Data without real times has no arrivals.
    """
    added_ms = snapshot.products["available_from_ms"].to_numpy()
    manifest = snapshot.manifest
    since_ms = max(
        manifest.last_ms - ARRIVAL_DAYS * _MS_PER_DAY,
        manifest.first_ms + (manifest.last_ms - manifest.first_ms) // 2,
    )
    new = np.flatnonzero(added_ms > since_ms)
    if not manifest.time_is_real:
        new = new[:0]
    new = new[np.argsort(-added_ms[new], kind="stable")]
    return Arrivals((new + 1).astype(np.int64), added_ms[new].astype(np.int64))


def _wish_counts(snapshot: Snapshot) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    """[R] in how many sessions each product was wanted."""
    wanted = snapshot.events.product_rows[wanted_touches(snapshot).events_at]
    return np.bincount(wanted, minlength=snapshot.products.num_rows + 1).astype(np.int32)
