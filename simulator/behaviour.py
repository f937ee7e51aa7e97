"""Behaviour: shoppers look at lists, click, fill carts, buy, abandon and send back.

Days are simulated one after another, all sessions of a day at once, list by list. Clicks, carts and
outcomes carry the request of the list that showed the product, so they can be joined to it.

Shapes: S sessions of one day, B lists shown at once, L list length, U shoppers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType
from simulator.campaigns import percent_off, product_keys
from simulator.choice import ChoiceModel, Circumstances
from simulator.event_columns import EventColumns, concatenated
from simulator.sessions import MAX_LISTS, Sessions, category_choice, start_sessions
from simulator.settings import MS_PER_DAY, WorldSettings
from simulator.showing import LIST_LENGTH, PLACEMENTS, Occasions, Shelf, make_shelf, show_lists

_PAUSE_S = 14.0  # median pause before a click
_ENGAGED_PAUSE = 0.45  # engagement lengthens pauses: exp(0.45 · engagement)
_FIRST_PLACEMENTS = (0.45, 0.28, 0.17, 0.10, 0.0, 0.0)  # as PLACEMENTS
_LATER_PLACEMENTS = (0.05, 0.30, 0.15, 0.0, 0.50, 0.0)
_CART = PLACEMENTS.index("cart")
_PURCHASE, _ABANDON = EVENT_CODES[EventType.PURCHASE], EVENT_CODES[EventType.ABANDON]


@dataclass(slots=True)
class _Memory:
    """What carries over from day to day."""

    last_bought: NDArray[np.int64]  # [U] catalogue row, 0 = nothing
    next_session: int = 1
    next_request: int = 1
    waiting: list[EventColumns] = field(default_factory=list)  # events of days to come


@dataclass(frozen=True, slots=True, eq=False)
class _Day:
    """What all lists of one day have in common."""

    truth: ChoiceModel
    seed: int
    keys: NDArray[np.uint64]  # [R] campaign keys
    shelf: Shelf
    sessions: Sessions
    memory: _Memory
    rng: np.random.Generator


def simulate(truth: ChoiceModel, settings: WorldSettings) -> Iterator[EventColumns]:
    """The world's events, day by day, in time order throughout; nothing at or after `end_ms`.

    Outcomes that would come later (returns above all) are missing, as they are in a real log.
    """
    memory = _Memory(np.zeros(truth.shoppers.count, dtype=np.int64))
    keys = product_keys(truth.products.ids)
    turns_to = category_choice(truth)
    for number in range(settings.days):
        day_ms = settings.start_ms + number * MS_PER_DAY
        rng = np.random.default_rng([settings.seed, 3, number])
        sessions = start_sessions(
            truth,
            day_ms,
            turns_to=turns_to,
            last_bought=memory.last_bought,
            first_id=memory.next_session,
            rng=rng,
        )
        memory.next_session += sessions.ids.size
        shelf = make_shelf(truth.products, day_ms)
        day = _Day(truth, settings.seed, keys, shelf, sessions, memory, rng)
        yield _due(concatenated([*memory.waiting, *_run(day)]), day_ms + MS_PER_DAY, memory)


def _due(events: EventColumns, until_ms: int, memory: _Memory) -> EventColumns:
    """The events before `until_ms`, in time order; the others wait in `memory`."""
    is_due = events.times_ms < until_ms
    memory.waiting = [events.where(~is_due)]
    return events.where(is_due).in_time_order()


def _run(day: _Day) -> list[EventColumns]:
    """Every event that the day's sessions bring about, in no order."""
    seen = []
    for turn in range(MAX_LISTS):
        at = np.flatnonzero(day.sessions.list_counts > turn)
        if at.size:
            seen.append(_look_at_list(day, at, _placements(day, at, first=turn == 0)))
    if not seen:
        return []
    carts = concatenated([s.carts for s in seen])
    settled = _settle(day, carts, np.concatenate([s.will_buy for s in seen]))
    looked = [part for s in seen for part in (s.impressions, s.clicks)]
    return [*looked, carts, *settled]


def _placements(day: _Day, at: NDArray[np.intp], *, first: bool) -> NDArray[np.int64]:
    odds = np.cumsum(_FIRST_PLACEMENTS if first else _LATER_PLACEMENTS)
    drawn = np.searchsorted(odds, day.rng.random(at.size) * odds[-1], side="right")
    to_cart = day.sessions.has_cart[at] & (day.rng.random(at.size) < 0.5)
    return np.where(to_cart, _CART, drawn).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What came of one list per session."""

    impressions: EventColumns
    clicks: EventColumns
    carts: EventColumns
    will_buy: NDArray[np.bool_]  # one per cart


@dataclass(frozen=True, slots=True, eq=False)
class _Deeds:
    """What shoppers do with their lists, and when; a time is 0 where nothing happens."""

    clicked: NDArray[np.bool_]  # [B, L]
    carted: NDArray[np.bool_]  # [B, L]
    bought: NDArray[np.bool_]  # [B, L]
    click_ms: NDArray[np.int64]  # [B, L]
    cart_ms: NDArray[np.int64]  # [B, L]


def _look_at_list(day: _Day, at: NDArray[np.intp], placement: NDArray[np.int64]) -> _Seen:
    """Show one list to each of the sessions `at`, and let them act on it."""
    sessions, rng = day.sessions, day.rng
    who, when = sessions.shoppers[at], sessions.when.taken(at)
    when = replace(when, time_ms=sessions.clock_ms[at])
    occasions = Occasions(who, placement, when.need, sessions.browse[at], sessions.anchor[at])
    lists = show_lists(day.truth, day.shelf, occasions, rng)
    discount = percent_off(day.keys[lists.rows], when.time_ms[:, None], day.seed) / 100.0
    price = np.round(day.truth.products.price_minor[lists.rows] * (1.0 - discount))
    price_minor = price.astype(np.int64)
    positions = np.broadcast_to(np.arange(1, LIST_LENGTH + 1), lists.rows.shape)
    steps = day.truth.steps(who, lists.rows, positions, price_minor, when)
    luck = rng.random((3, *lists.rows.shape), dtype=np.float32)
    clicked = lists.shown & (luck[0] < steps.examined * steps.attracted)
    carted = clicked & (luck[1] < steps.carted)
    bought = carted & (luck[2] < steps.bought)
    deeds = _Deeds(clicked, carted, bought, *_deed_times(day, who, when, clicked, carted))
    first_request = day.memory.next_request
    day.memory.next_request += at.size
    _move_on(day, at, lists.rows, deeds)

    def events(
        event: EventType, mask: NDArray[np.bool_], times_ms: NDArray[np.int64]
    ) -> EventColumns:
        row, column = np.nonzero(mask)
        return EventColumns(
            times_ms=times_ms[row, column],
            shoppers=who[row].astype(np.int32),
            sessions=sessions.ids[at][row],
            requests=first_request + row,
            products=lists.rows[row, column].astype(np.int32),
            codes=np.full(row.size, EVENT_CODES[event], dtype=np.int8),
            placements=placement[row].astype(np.int8),
            positions=positions[row, column].astype(np.int16),
            quantities=np.ones(row.size, dtype=np.int32),
            price_minor=price_minor[row, column],
            discounts=discount[row, column].astype(np.float32),
            devices=when.device[row].astype(np.int8),
        )

    shown_ms = np.broadcast_to(when.time_ms[:, None], lists.rows.shape)
    return _Seen(
        events(EventType.IMPRESSION, lists.shown, shown_ms),
        events(EventType.CLICK, clicked, deeds.click_ms),
        events(EventType.CART, carted, deeds.cart_ms),
        bought[carted],
    )


def _deed_times(
    day: _Day,
    who: NDArray[np.int64],
    when: Circumstances,
    clicked: NDArray[np.bool_],
    carted: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[B, L] each: when clicks and carts happen, down the list, one after another."""
    slowness = day.truth.shoppers.pace[who] + _ENGAGED_PAUSE * when.engagement
    scale_ms = 1000.0 * _PAUSE_S * np.exp(slowness)[:, None]
    spread = np.exp(0.6 * day.rng.standard_normal((2, *clicked.shape), dtype=np.float32))
    pause, dwell = scale_ms * spread + 1000.0
    carts_ms = (dwell * carted).astype(np.int64)
    done = when.time_ms[:, None] + np.cumsum((pause * clicked).astype(np.int64) + carts_ms, axis=1)
    return np.where(clicked, done - carts_ms, 0), np.where(carted, done, 0)


def _move_on(day: _Day, at: NDArray[np.intp], rows: NDArray[np.int64], deeds: _Deeds) -> None:
    """Set the sessions' clocks and memories to the end of this list."""
    sessions = day.sessions
    last = np.maximum(deeds.click_ms, deeds.cart_ms).max(axis=1)
    read_ms = day.rng.integers(4_000, 60_000, at.size)
    sessions.clock_ms[at] = np.maximum(sessions.clock_ms[at], last) + read_ms
    newest = rows[np.arange(at.size), deeds.click_ms.argmax(axis=1)]
    sessions.anchor[at] = np.where(deeds.clicked.any(axis=1), newest, sessions.anchor[at])
    sessions.has_cart[at] |= deeds.carted.any(axis=1)


def _settle(day: _Day, carts: EventColumns, will_buy: NDArray[np.bool_]) -> list[EventColumns]:
    """What becomes of the carts: bought together at the end of the session, or abandoned."""
    sessions, rng = day.sessions, day.rng
    slot = carts.sessions - sessions.ids[0]
    checkout_ms = sessions.clock_ms + rng.integers(45_000, 240_000, sessions.ids.size)
    given_up_ms = sessions.clock_ms + 30 * 60_000
    settled = replace(
        carts,
        times_ms=np.where(will_buy, checkout_ms[slot], given_up_ms[slot]),
        codes=np.where(will_buy, _PURCHASE, _ABANDON).astype(np.int8),
        quantities=np.where(will_buy & (rng.random(len(carts)) < 0.08), 2, 1).astype(np.int32),
    )
    purchases = settled.where(will_buy)
    day.memory.last_bought[purchases.shoppers] = purchases.products
    return [settled, _returns(day, purchases, sessions.when.taken(slot[will_buy]))]


def _returns(day: _Day, purchases: EventColumns, when: Circumstances) -> EventColumns:
    """The purchases that come back, days later."""
    steps = day.truth.steps(
        purchases.shoppers.astype(np.int64),
        purchases.products.astype(np.int64)[:, None],
        np.ones((len(purchases), 1), dtype=np.int64),
        purchases.price_minor[:, None],
        when,
    )
    comes_back = day.rng.random(len(purchases)) < steps.returned[:, 0]
    delay_days = 2.0 + day.rng.lognormal(1.9, 0.5, len(purchases))
    sent_back = replace(
        purchases,
        times_ms=purchases.times_ms + (delay_days * MS_PER_DAY).astype(np.int64),
        codes=np.full(len(purchases), EVENT_CODES[EventType.RETURN], dtype=np.int8),
    )
    return sent_back.where(comes_back)
