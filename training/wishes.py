"""Wishes: moments of shoppers, each with some of the products they went on to want.

What the two-tower model learns from. A session is looked at from one random place per epoch: what
came strictly before is the input, what was wanted from there on is the answer.

Shapes: W touches in training, S sessions, B examples, M wanted products of one example.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODE_COUNT, EVENT_CODES, EventType
from shop.features import FeatureSchema
from training.data.snapshot import Snapshot
from training.examples import Moments, moments_of_events, wanted_touches

_MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class WishSettings:
    """How far ahead an answer may lie, and what each deed weighs."""

    horizon_days: float = 1.0
    wanted_count: int = 8  # M
    click: float = 1.0
    cart: float = 1.5
    purchase: float = 2.0

    def weights(self) -> NDArray[np.float32]:
        """[event codes] weight of a touch by its strongest deed."""
        weights = np.zeros(EVENT_CODE_COUNT, dtype=np.float32)
        weights[EVENT_CODES[EventType.CLICK]] = self.click
        weights[EVENT_CODES[EventType.CART]] = self.cart
        weights[EVENT_CODES[EventType.PURCHASE]] = self.purchase
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class Wishes:
    """Examples: whom we looked at, and what was wanted then."""

    moments: Moments  # [B]
    wanted_rows: NDArray[np.int64]  # [B, M] catalogue rows, 0 = no further one
    weights: NDArray[np.float32]  # [B, M] 0 where there is none

    def __len__(self) -> int:
        return len(self.moments)


@dataclass(frozen=True, slots=True, eq=False)
class WishSource:
    """All touches before a time, a shopper's together, oldest first, cut into sessions."""

    snapshot: Snapshot
    schema: FeatureSchema
    settings: WishSettings
    events_at: NDArray[np.intp]  # [W] positions in Snapshot.events
    strongest: NDArray[np.int64]  # [W]
    horizon_ends: NDArray[np.int64]  # [W] the first touch too late to be an answer here
    session_starts: NDArray[np.int64]  # [S + 1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """[R] touches of every product."""
        rows = self.snapshot.events.product_rows[self.events_at]
        return np.bincount(rows, minlength=self.snapshot.products.num_rows + 1)

    def epoch(self, random: np.random.Generator) -> Wishes:
        """One example per session, each looked at from a random place in it."""
        lengths = np.diff(self.session_starts)
        first = self.session_starts[:-1] + (random.random(lengths.size) * lengths).astype(np.int64)
        first = self._first_at_same_time(first)
        ahead = self.horizon_ends[first] - first
        wanted = self.settings.wanted_count
        # Without replacement: a random start and a stride through what lies ahead.
        offsets = (random.random((first.size, 1)) * ahead[:, None]).astype(np.int64)
        steps = np.maximum(1, ahead // wanted)[:, None] * np.arange(wanted)
        at = first[:, None] + (offsets + steps) % ahead[:, None]
        real = np.arange(wanted) < np.minimum(ahead, wanted)[:, None]
        rows = self.snapshot.events.product_rows[self.events_at[at]].astype(np.int64)
        weights = self.settings.weights()[self.strongest[at]]
        return Wishes(
            moments_of_events(self.snapshot, self.schema, self.events_at[first]),
            np.where(real, rows, 0),
            np.where(real, weights, 0.0).astype(np.float32),
        )

    def _first_at_same_time(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """[S] the earliest touch of the same shopper at the same time: an invoice is one moment."""
        events = self.snapshot.events
        times, users = events.times_ms[self.events_at], events.user_rows[self.events_at]
        starts = np.ones(self.events_at.size, dtype=np.bool_)
        starts[1:] = (times[1:] != times[:-1]) | (users[1:] != users[:-1])
        firsts = np.maximum.accumulate(np.where(starts, np.arange(starts.size), 0))
        return firsts[at]


def wishes_before(
    snapshot: Snapshot, schema: FeatureSchema, *, before_ms: int, settings: WishSettings
) -> WishSource:
    """The wishes strictly before `before_ms`; nothing later is an answer either."""
    events = snapshot.events
    touches = wanted_touches(snapshot)
    known = np.flatnonzero(events.times_ms[touches.events_at] < before_ms)
    order = known[np.argsort(events.user_rows[touches.events_at[known]], kind="stable")]
    at = touches.events_at[order]
    users, times, sessions = events.user_rows[at], events.times_ms[at], events.session_ids[at]
    starts = np.ones(at.size, dtype=np.bool_)
    starts[1:] = (users[1:] != users[:-1]) | (sessions[1:] != sessions[:-1])
    return WishSource(
        snapshot,
        schema,
        settings,
        at,
        touches.strongest[order],
        _horizon_ends(users, times, settings.horizon_days),
        np.append(np.flatnonzero(starts), at.size).astype(np.int64),
    )


def _horizon_ends(
    users: NDArray[np.int32], times_ms: NDArray[np.int64], horizon_days: float
) -> NDArray[np.int64]:
    """[W] for touches in shopper and time order: the first one of another shopper, or too late."""
    if users.size == 0:
        return np.zeros(0, dtype=np.int64)
    span_ms = int(times_ms.max() - times_ms.min()) + 1
    horizon_ms = min(int(horizon_days * _MS_PER_DAY), span_ms)
    keys = users.astype(np.int64) * (2 * span_ms + 1) + (times_ms - times_ms.min())
    ends: NDArray[np.int64] = np.searchsorted(keys, keys + horizon_ms, side="right").astype(
        np.int64
    )
    return ends
