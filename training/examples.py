"""Examples: shoppers as they stood at past moments, in exactly the numbers of `shop.features`.

`training.histories` finds what a shopper had done before a moment; `shopper_batch` pads many
moments at once. That it equals `shop.features.shopper_features` bit for bit is kept by a property
test. Which moments are worth learning from is left to the algorithms.

Shapes: B moments, T history length, C context codes, V context values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.context_values import finished
from shop.events import EVENT_CODES, WANTED_TYPES
from shop.features import CONTEXT_VALUES, PLACEMENTS, Context, FeatureSchema
from shop.local_time import utc_offsets_minutes
from training.data.snapshot import Snapshot
from training.histories import NO_SESSION, Histories, Remembered, Spans
from training.raw_quantities import interaction_quantities, signal_quantities

WANTED_CODES: NDArray[np.int64] = np.array(sorted(EVENT_CODES[t] for t in WANTED_TYPES))
_MS_PER_HOUR = 3_600_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Whom we look at, when and where; codes are those of the schema, 0 = unknown."""

    user_rows: NDArray[np.int64]  # [B] 0-based into Snapshot.user_ids
    times_ms: NDArray[np.int64]  # [B]
    session_ids: NDArray[np.int64]  # [B] NO_SESSION outside every session
    devices: NDArray[np.int64]  # [B]
    countries: NDArray[np.int64]  # [B]
    segments: NDArray[np.int64]  # [B]
    placements: NDArray[np.int64]  # [B]
    offsets_minutes: NDArray[np.int64]  # [B] the clock there against UTC

    def __len__(self) -> int:
        return int(self.user_rows.size)

    def at(self, positions: NDArray[np.intp]) -> "Moments":
        """The moments at these positions, in this order."""
        return Moments(*(getattr(self, name)[positions] for name in Moments.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class ShopperBatch:
    """Many shoppers as the models read them; columns as in `shop.features.ShopperFeatures`."""

    history_rows: NDArray[np.int64]  # [B, T]
    history_events: NDArray[np.int64]  # [B, T]
    history_ages: NDArray[np.float32]  # [B, T]
    context_codes: NDArray[np.int64]  # [B, C]
    context_values: NDArray[np.float32]  # [B, V]


@dataclass(frozen=True, slots=True, eq=False)
class Touches:
    """The first time a product was wanted in a session, in time order.  Shapes: W touches."""

    events_at: NDArray[np.intp]  # [W] positions in Snapshot.events
    strongest: NDArray[np.int64]  # [W] event code of the most committed deed in that session


def wanted_touches(snapshot: Snapshot) -> Touches:
    """One touch per shopper, session and product: a click and its purchase are one wish."""
    events = snapshot.events
    at = np.flatnonzero(np.isin(events.codes, WANTED_CODES))
    order = np.lexsort((at, events.product_rows[at], events.session_ids[at], events.user_rows[at]))
    at = at[order]
    columns = (events.user_rows[at], events.session_ids[at], events.product_rows[at])
    is_first = np.ones(at.size, dtype=np.bool_)
    is_first[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    firsts = np.flatnonzero(is_first)
    strongest = np.zeros(0, dtype=np.int64)
    if firsts.size:  # codes grow with commitment: click 2, cart 3, purchase 6
        strongest = np.maximum.reduceat(events.codes[at].astype(np.int64), firsts)
    by_time = np.argsort(at[firsts])
    return Touches(at[firsts][by_time], strongest[by_time])


def moments_of_events(
    snapshot: Snapshot, schema: FeatureSchema, events_at: NDArray[np.intp]
) -> Moments:
    """The moments just before the events at these positions of `snapshot.events`."""
    events = snapshot.events
    users = events.user_rows[events_at].astype(np.int64)
    return Moments(
        user_rows=users,
        times_ms=events.times_ms[events_at],
        session_ids=events.session_ids[events_at],
        devices=_recoded(snapshot.devices, schema.devices)[events.devices[events_at]],
        countries=_recoded(snapshot.countries, schema.countries)[events.countries[events_at]],
        segments=_profile_codes(snapshot, "segment", schema.segments)[users],
        placements=_recoded(snapshot.placements, PLACEMENTS)[events.placements[events_at]],
        offsets_minutes=utc_offsets_minutes(schema.time_zone, events.times_ms[events_at]),
    )


def moments_at(
    snapshot: Snapshot,
    schema: FeatureSchema,
    user_rows: NDArray[np.int64],
    time_ms: int,
    *,
    placement: str = "home",
) -> Moments:
    """These shoppers arriving at `time_ms`, before any interaction of a new session."""
    count = user_rows.size
    times_ms = np.full(count, time_ms, np.int64)
    return Moments(
        user_rows=user_rows.astype(np.int64),
        times_ms=times_ms,
        session_ids=np.full(count, NO_SESSION, np.int64),
        devices=_profile_codes(snapshot, "device", schema.devices)[user_rows],
        countries=_profile_codes(snapshot, "country", schema.countries)[user_rows],
        segments=_profile_codes(snapshot, "segment", schema.segments)[user_rows],
        placements=np.full(count, PLACEMENTS.index(placement) + 1, np.int64),
        offsets_minutes=utc_offsets_minutes(schema.time_zone, times_ms),
    )


def context_of(moments: Moments, position: int, schema: FeatureSchema) -> Context:
    """One moment as the gateway would see it, by the shop's clock: data sets tell no other."""
    return Context(
        now_ms=int(moments.times_ms[position]),
        utc_offset_minutes=int(moments.offsets_minutes[position]),
        placement=("", *PLACEMENTS)[moments.placements[position]],
        device=("", *schema.devices)[moments.devices[position]],
        country=("", *schema.countries)[moments.countries[position]],
        segment=("", *schema.segments)[moments.segments[position]],
    )


def _recoded(names: tuple[str, ...], vocabulary: tuple[str, ...]) -> NDArray[np.int64]:
    code_of = {name: code for code, name in enumerate(vocabulary, start=1)}
    return np.array([code_of.get(name, 0) for name in names] or [0], dtype=np.int64)


def _profile_codes(
    snapshot: Snapshot, column: str, vocabulary: tuple[str, ...]
) -> NDArray[np.int64]:
    names = tuple(str(value) for value in snapshot.shoppers[column].to_pylist())
    return _recoded(names, vocabulary)


def shopper_batch(histories: Histories, moments: Moments, schema: FeatureSchema) -> ShopperBatch:
    """What the models know of every shopper just before the moment."""
    users, times = moments.user_rows, moments.times_ms
    spans = histories.interactions.spans(users, times)
    signal_spans = histories.signals.spans(users, times)
    return batch_of_spans(histories, spans, signal_spans, moments, schema)


def batch_of_spans(
    histories: Histories,
    spans: Spans,
    signal_spans: Spans,
    moments: Moments,
    schema: FeatureSchema,
) -> ShopperBatch:
    """What the models know if exactly the events of these spans have happened."""
    interactions = histories.interactions
    rows, codes, ages = padded_histories(interactions, spans, moments, schema.history_length)
    values = values_of_spans(histories, spans, signal_spans, moments)
    return ShopperBatch(rows, codes, ages, context_codes(moments), values)


def padded_histories(
    interactions: Remembered, spans: Spans, moments: Moments, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """[B, T] product rows, event codes and ages; padded on the left, newest last."""
    at = spans.ends[:, None] + np.arange(-length, 0)
    real = at >= spans.starts[:, None]
    at = np.where(real, at, 0)
    if interactions.product_rows.size == 0:
        nothing = np.zeros(at.shape, dtype=np.int64)
        return nothing, nothing, nothing.astype(np.float32)
    age_ms = np.where(real, moments.times_ms[:, None] - interactions.times_ms[at], 0)
    return (
        np.where(real, interactions.product_rows[at], 0),
        np.where(real, interactions.event_codes[at], 0),
        np.log1p(np.maximum(age_ms, 0) / _MS_PER_HOUR).astype(np.float32),
    )


def context_codes(moments: Moments) -> NDArray[np.int64]:
    """[B, C] in the order of `shop.features.CONTEXT_CODES`."""
    hours = (moments.times_ms // 60_000 + moments.offsets_minutes) // 60
    return np.stack(
        [
            moments.devices,
            moments.countries,
            moments.segments,
            moments.placements,
            hours % 24 + 1,
            (hours // 24 + 3) % 7 + 1,
        ],
        axis=1,
    )


def context_values(histories: Histories, moments: Moments) -> NDArray[np.float32]:
    """[B, V] in the order of `shop.features.CONTEXT_VALUES`, just before the moments."""
    users, times = moments.user_rows, moments.times_ms
    spans = histories.interactions.spans(users, times)
    return values_of_spans(histories, spans, histories.signals.spans(users, times), moments)


def values_of_spans(
    histories: Histories, spans: Spans, signal_spans: Spans, moments: Moments
) -> NDArray[np.float32]:
    """[B, V] if exactly the events of these spans have happened."""
    raw = np.zeros((len(moments), len(CONTEXT_VALUES)))
    quantities = {
        **interaction_quantities(
            histories.interactions, spans, moments.times_ms, moments.session_ids
        ),
        **signal_quantities(histories.signals, signal_spans, moments.session_ids),
    }
    for name, quantity in quantities.items():
        raw[:, CONTEXT_VALUES.index(name)] = quantity
    return finished(raw)
