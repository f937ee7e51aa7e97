"""Segments: what sells best to whom, by what a call tells of its shopper before any model ran.

A dimension is what divides shoppers: the profile's segment, the country, the device, the part of
the day. In segment g product i sells with the share (n_gi + κ p_i) / (n_g + κ), where p_i is its
share everywhere: a small segment believes the others (Dirichlet smoothing, Zhai & Lafferty 2004).

Which dimension is worth it is a matter of the data, so it is measured: on the newest seventh of the
time, how much more probable purchases become, in nats each, when the dimension is known. Those that
gain nothing are left out, and the call goes by the best that it knows. On the simulated world the
segment gains and nothing else does; a shop that only knows countries goes by these.

Shapes: E events, R catalogue rows, G values of one dimension, M products of one list.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType
from shop.source_tables import DAY_PARTS, DIMENSIONS, SegmentLists
from training.algorithms.nearest import best_of_rows
from training.algorithms.popularity import PopularitySettings, deed_weights
from training.data.snapshot import Events, Snapshot
from training.examples import WANTED_CODES

_HELD_OUT = 1 / 7  # of the time, the newest
_MS_PER_HOUR = 3_600_000
_UNSEEN = 1e-9  # share of a product that nobody touched: the same with and without segments


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """How far a segment is believed, and what is kept."""

    list_length: int = 200
    prior: float = 500.0  # κ, in weighted deeds; on the world 200 to 2,000 are alike
    least_gain: float = 0.001  # nats per purchase; less is noise
    popularity: PopularitySettings = field(default_factory=PopularitySettings)


@dataclass(frozen=True, slots=True, eq=False)
class FittedSegments:
    """The lists, and what each dimension gained."""

    lists: SegmentLists
    gains: dict[str, float]  # nats per purchase, of all dimensions with more than one value


def fit_segments(snapshot: Snapshot, *, settings: SegmentSettings | None = None) -> FittedSegments:
    """Lists for every value of every dimension that gains anything, the best dimension first."""
    settings = settings or SegmentSettings()
    every = snapshot.events  # of which most are impressions, and tell nothing here
    events = every.where(np.isin(every.codes, WANTED_CODES))
    names_and_codes = {name: _coded(snapshot, events, name) for name in DIMENSIONS}
    divided = {name: coded for name, coded in names_and_codes.items() if len(coded[0]) > 1}
    gains = {
        name: _gain(snapshot, events, codes, len(values), settings)
        for name, (values, codes) in divided.items()
    }
    best_first = sorted(gains, key=lambda name: -gains[name])
    dimensions = tuple(name for name in best_first if gains[name] > settings.least_gain)
    segments: list[tuple[str, str]] = []
    row_count = snapshot.products.num_rows + 1
    rows = [np.zeros((0, settings.list_length), np.int32)]
    scores = [np.zeros((0, settings.list_length), np.float32)]
    for name in dimensions:
        values, codes = divided[name]
        shares = _shares(events, codes, len(values), row_count, settings)
        shares[:, 0] = 0.0
        listed, shared = best_of_rows(
            shares / shares.max(axis=1, keepdims=True), settings.list_length
        )
        kept = [at for at, value in enumerate(values) if value]  # "" is not known: the next one
        segments += [(name, values[at]) for at in kept]
        rows.append(listed[kept])
        scores.append(shared[kept])
    lists = SegmentLists(dimensions, tuple(segments), np.concatenate(rows), np.concatenate(scores))
    return FittedSegments(lists, gains)


def _coded(
    snapshot: Snapshot, events: Events, dimension: str
) -> tuple[list[str], NDArray[np.int64]]:
    """Values of a dimension, and [E] which of them each event belongs to."""
    if dimension == "day_part":
        return list(DAY_PARTS), events.times_ms // _MS_PER_HOUR % 24 // 6
    if dimension == "segment":
        names = [str(name or "") for name in snapshot.shoppers["segment"].to_pylist()]
        values = sorted(set(names))
        code_of = {value: code for code, value in enumerate(values)}
        by_user = np.array([code_of[name] for name in names], dtype=np.int64)
        return values, by_user[events.user_rows]
    if dimension == "country":
        return list(snapshot.countries), events.countries.astype(np.int64)
    return list(snapshot.devices), events.devices.astype(np.int64)


def _shares(
    events: Events,
    codes: NDArray[np.int64],
    value_count: int,
    row_count: int,
    settings: SegmentSettings,
) -> NDArray[np.float64]:
    """[G, R] every product's share of what is wanted in each segment."""
    weights = deed_weights(events, settings.popularity)
    counts = np.bincount(
        codes * row_count + events.product_rows,
        weights=weights,
        minlength=value_count * row_count,
    ).reshape(value_count, row_count)
    everywhere = counts.sum(axis=0)
    everywhere = everywhere / (everywhere.sum() or 1.0)
    shares: NDArray[np.float64] = (counts + settings.prior * everywhere) / (
        counts.sum(axis=1, keepdims=True) + settings.prior
    )
    return shares


def _gain(
    snapshot: Snapshot,
    events: Events,
    codes: NDArray[np.int64],
    value_count: int,
    settings: SegmentSettings,
) -> float:
    """Nats per purchase of the newest time by which the dimension is better than none; 0 without.

    Each purchase is foretold from what was done before that time only.
    """
    first_ms, last_ms = snapshot.manifest.first_ms, snapshot.manifest.last_ms
    until_ms = last_ms - (last_ms - first_ms) * _HELD_OUT
    row_count = snapshot.products.num_rows + 1
    before = events.times_ms < until_ms
    bought = ~before & (events.codes == EVENT_CODES[EventType.PURCHASE])
    if not bought.any() or not before.any():
        return 0.0
    known = events.where(before)
    inside = _shares(known, codes[before], value_count, row_count, settings)
    outside = _shares(known, np.zeros(len(known), np.int64), 1, row_count, settings)
    rows = events.product_rows[bought]
    told = np.log(inside[codes[bought], rows] + _UNSEEN) - np.log(outside[0, rows] + _UNSEEN)
    return float(told.mean())
