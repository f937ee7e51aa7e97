"""Examples: shoppers as they stood at past moments, in exactly the numbers of `shop.features`.

`Histories` finds what a shopper had done before a moment; `shopper_batch` pads many moments at
once. That it equals `shop.features.shopper_features` bit for bit is kept by a property test. Which
moments are worth learning from is left to the algorithms.

Shapes: U shoppers, H kept interactions of all shoppers, B moments, T history length,
C context codes, V context values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, HISTORY_CODES, HISTORY_LIMIT, WANTED_TYPES, EventType, History
from shop.features import (
    CONTEXT_VALUES,
    PLACEMENTS,
    Context,
    FeatureSchema,
    shopper_features,
)
from training.data.snapshot import Snapshot

NO_SESSION = np.iinfo(np.int64).min  # of a moment outside every session
WANTED_CODES: NDArray[np.int64] = np.array(sorted(EVENT_CODES[t] for t in WANTED_TYPES))
_MS_PER_HOUR = 3_600_000.0
_TIME_BITS = 43  # Unix milliseconds until the year 2248 fit beside 2 million shoppers in an int64


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
class Histories:
    """The interactions that histories keep; one shopper's stand together, oldest first."""

    starts: NDArray[np.int64]  # [U + 1] where each shopper's interactions begin
    product_rows: NDArray[np.int64]  # [H]
    event_codes: NDArray[np.int64]  # [H]
    times_ms: NDArray[np.int64]  # [H]
    session_ids: NDArray[np.int64]  # [H]
    keys: NDArray[np.int64]  # [H] shopper and time in one ascending number

    def spans(
        self, user_rows: NDArray[np.int64], times_ms: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[B] where what each shopper did strictly before the moment begins, and [B] ends."""
        ends = np.searchsorted(self.keys, _key(user_rows, times_ms), side="left")
        return np.maximum(self.starts[user_rows], ends - HISTORY_LIMIT), ends

    def history_at(self, user_row: int, time_ms: int, session_id: int = NO_SESSION) -> History:
        """What the shopper had done strictly before `time_ms`, as the online store holds it."""
        starts, ends = self.spans(np.array([user_row]), np.array([time_ms]))
        span = slice(int(starts[0]), int(ends[0]))
        return History(
            self.product_rows[span],
            self.event_codes[span],
            self.times_ms[span],
            self.session_ids[span] == session_id,
        )


def _key(user_rows: NDArray[np.int64], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    return (user_rows.astype(np.int64) << _TIME_BITS) | times_ms


def build_histories(snapshot: Snapshot) -> Histories:
    """The interactions of HISTORY_TYPES of all shoppers; equal times keep the file's order."""
    events = snapshot.events
    kept = np.flatnonzero(np.isin(events.codes, HISTORY_CODES))
    order = kept[np.argsort(events.user_rows[kept], kind="stable")]
    users = events.user_rows[order].astype(np.int64)
    times = events.times_ms[order]
    return Histories(
        starts=np.searchsorted(users, np.arange(snapshot.user_ids.size + 1)).astype(np.int64),
        product_rows=events.product_rows[order].astype(np.int64),
        event_codes=events.codes[order].astype(np.int64),
        times_ms=times,
        session_ids=events.session_ids[order],
        keys=_key(users, times),
    )


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
    return Moments(
        user_rows=user_rows.astype(np.int64),
        times_ms=np.full(count, time_ms, np.int64),
        session_ids=np.full(count, NO_SESSION, np.int64),
        devices=_profile_codes(snapshot, "device", schema.devices)[user_rows],
        countries=_profile_codes(snapshot, "country", schema.countries)[user_rows],
        segments=_profile_codes(snapshot, "segment", schema.segments)[user_rows],
        placements=np.full(count, PLACEMENTS.index(placement) + 1, np.int64),
    )


def context_of(moments: Moments, position: int, schema: FeatureSchema) -> Context:
    """One moment as the gateway would see it; data sets tell no local clock, so it is UTC."""
    return Context(
        now_ms=int(moments.times_ms[position]),
        utc_offset_minutes=0,
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
    rows, codes, ages = padded_histories(histories, moments, schema.history_length)
    return ShopperBatch(
        rows, codes, ages, context_codes(moments), context_values(histories, moments)
    )


def padded_histories(
    histories: Histories, moments: Moments, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """[B, T] product rows, event codes and ages; padded on the left, newest last."""
    starts, ends = histories.spans(moments.user_rows, moments.times_ms)
    at = ends[:, None] + np.arange(-length, 0)
    real = at >= starts[:, None]
    at = np.where(real, at, 0)
    if histories.product_rows.size == 0:
        nothing = np.zeros(at.shape, dtype=np.int64)
        return nothing, nothing, nothing.astype(np.float32)
    age_ms = np.where(real, moments.times_ms[:, None] - histories.times_ms[at], 0)
    return (
        np.where(real, histories.product_rows[at], 0),
        np.where(real, histories.event_codes[at], 0),
        _log_hours(age_ms).astype(np.float32),
    )


def context_codes(moments: Moments) -> NDArray[np.int64]:
    """[B, C] in the order of `shop.features.CONTEXT_CODES`."""
    hours = moments.times_ms // 60_000 // 60
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
    """[B, V] in the order of `shop.features.CONTEXT_VALUES`."""
    starts, ends = histories.spans(moments.user_rows, moments.times_ms)
    counts = ends - starts
    moment_of = np.repeat(np.arange(len(moments)), counts)
    at = np.arange(moment_of.size) + np.repeat(ends - np.cumsum(counts), counts)
    codes = histories.event_codes[at]
    in_session = histories.session_ids[at] == moments.session_ids[moment_of]

    def counted(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(moment_of[mask], minlength=len(moments))

    values = np.zeros((len(moments), len(CONTEXT_VALUES)), dtype=np.float32)
    values[:, 0] = np.log1p(counted(in_session))
    values[:, 1] = _seconds_between(
        moment_of[in_session], histories.times_ms[at[in_session]], len(moments)
    )
    values[:, 2] = np.log1p(counted(codes == EVENT_CODES[EventType.ABANDON]))
    seen = counts > 0
    values[seen, 3] = _log_hours(moments.times_ms[seen] - histories.times_ms[ends[seen] - 1])
    values[:, 4] = np.log1p(counts)
    values[:, 5] = np.log1p(counted(codes == EVENT_CODES[EventType.PURCHASE]))
    values[:, 6] = ~seen
    values[:, 7:9] = _seasons(moments.times_ms)
    return values


def _log_hours(age_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    hours: NDArray[np.float64] = np.log1p(np.maximum(age_ms, 0) / _MS_PER_HOUR)
    return hours


def _seconds_between(
    moment_of: NDArray[np.int64], times_ms: NDArray[np.int64], moment_count: int
) -> NDArray[np.float64]:
    """[B] log1p of the median pause of each moment's session, 0 without a pause."""
    together = moment_of[1:] == moment_of[:-1]
    owners = moment_of[1:][together]
    pauses_s = np.diff(times_ms)[together] / 1000.0
    pauses_s = pauses_s[np.lexsort((pauses_s, owners))]
    counts = np.bincount(owners, minlength=moment_count)
    firsts = np.cumsum(counts) - counts
    found = counts > 0
    low = (firsts + (counts - 1) // 2)[found]
    high = (firsts + counts // 2)[found]
    medians = np.zeros(moment_count, dtype=np.float64)
    medians[found] = np.where(low == high, pauses_s[low], (pauses_s[low] + pauses_s[high]) / 2.0)
    logged: NDArray[np.float64] = np.log1p(np.maximum(medians, 0.0))
    return logged


def _seasons(times_ms: NDArray[np.int64]) -> NDArray[np.float32]:
    """[B, 2] the season's sine and cosine, which depend on the day alone: asked once a day."""
    days, day_of = np.unique(times_ms // 86_400_000, return_inverse=True)
    schema = FeatureSchema(1, 1, 1, (), (), (), ())
    empty = History.empty()
    per_day = [
        shopper_features(empty, Context(int(day) * 86_400_000, 0, ""), schema).context_values[7:9]
        for day in days
    ]
    return np.array(per_day, dtype=np.float32).reshape(-1, 2)[day_of]
