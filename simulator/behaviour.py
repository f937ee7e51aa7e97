"""Behaviour: shoppers search, look at lists, click, dwell, fill carts, buy, abandon, send back.

Days are simulated one after another, all sessions of a day at once, list by list. Clicks, carts and
outcomes carry the request of the list that showed the product, so they can be joined to it. Dwell
is told of most products looked at, as real shops lose some; who searches for what the shop does not
have gets a dead end before the first list.

Shapes: S sessions of one day, B lists shown at once, L list length, U shoppers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType
from simulator.campaigns import percent_off, product_keys
from simulator.choice import LEFT_DAYS, ChoiceModel, Circumstances
from simulator.event_columns import EventColumns, concatenated
from simulator.searches import SEARCH_PLACE, answered_searches, dead_ends
from simulator.sessions import MAX_LISTS, Sessions, category_choice, start_sessions
from simulator.settings import MS_PER_DAY, WorldSettings
from simulator.showing import LIST_LENGTH, PLACEMENTS, Occasions, Shelf, make_shelf, show_lists

_PAUSE_S = 14.0  # median pause before a click
_DWELL_S = 18.0  # median look at a product
_CART_DWELL = 0.5  # what goes into the cart is looked at longer: exp(0.5)
_DWELL_TOLD = 0.7  # share of looks of which the shop hears how long they were
_TAKEN_OUT = 0.2  # share of what stays in carts that the shopper removes before leaving
_ENGAGED_PAUSE = 0.45  # engagement lengthens pauses: exp(0.45 · engagement)
_FIRST_PLACEMENTS = (0.45, 0.28, 0.17, 0.10, 0.0, 0.0)  # as PLACEMENTS
_LATER_PLACEMENTS = (0.05, 0.30, 0.15, 0.0, 0.50, 0.0)
_CART = PLACEMENTS.index("cart")
_PURCHASE, _ABANDON = EVENT_CODES[EventType.PURCHASE], EVENT_CODES[EventType.ABANDON]
_REMOVE = EVENT_CODES[EventType.REMOVE]


@dataclass(slots=True)
class _Memory:
    """What carries over from day to day."""

    last_bought: NDArray[np.int64]  # [U] catalogue row, 0 = nothing
    last_left: NDArray[np.int64]  # [U] in a cart; catalogue row, 0 = nothing
    left_ms: NDArray[np.int64]  # [U] when
    next_session: int = 1
    next_request: int = 1
    waiting: list[EventColumns] = field(default_factory=list)  # events of days to come

    def left_at(self, day_ms: int) -> NDArray[np.int64]:
        """[U] what each shopper last left in a cart, if that was of late."""
        is_late = self.left_ms > day_ms - LEFT_DAYS * MS_PER_DAY
        return np.where(is_late, self.last_left, 0)


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
    count = truth.shoppers.count
    memory = _Memory(*(np.zeros(count, dtype=np.int64) for _ in range(3)))
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
            left=memory.left_at(day_ms),
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
    searches, seen = [dead_ends(day.sessions, day.rng)], []
    for turn in range(MAX_LISTS):
        at = np.flatnonzero(day.sessions.list_counts > turn)
        if at.size:
            placement = _placements(day, at, first=turn == 0)
            searching = at[placement == SEARCH_PLACE]
            searches.append(answered_searches(day.sessions, searching, day.rng))
            seen.append(_look_at_list(day, at, placement))
    if not seen:
        return []
    carts = concatenated([s.carts for s in seen])
    settled = _settle(day, carts, np.concatenate([s.will_buy for s in seen]))
    looked = [part for s in seen for part in (s.impressions, s.clicks, s.dwells)]
    return [*searches, *looked, carts, *settled]


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
    dwells: EventColumns  # of the clicks of which it is told
    carts: EventColumns
    will_buy: NDArray[np.bool_]  # one per cart


@dataclass(frozen=True, slots=True, eq=False)
class _Deeds:
    """What shoppers do with their lists, and when; a time is 0 where nothing happens."""

    clicked: NDArray[np.bool_]  # [B, L]
    carted: NDArray[np.bool_]  # [B, L]
    bought: NDArray[np.bool_]  # [B, L]
    click_ms: NDArray[np.int64]  # [B, L]
    dwell_ms: NDArray[np.int64]  # [B, L] how long the product is looked at
    done_ms: NDArray[np.int64]  # [B, L] when that is over, and the product in the cart


def _look_at_list(day: _Day, at: NDArray[np.intp], placement: NDArray[np.int64]) -> _Seen:
    """Show one list to each of the sessions `at`, and let them act on it."""
    sessions, rng = day.sessions, day.rng
    who, when = sessions.shoppers[at], sessions.when.taken(at)
    when = replace(when, time_ms=sessions.clock_ms[at])
    occasions = Occasions(
        who, placement, when.need, sessions.browse[at], sessions.anchor[at], when.left
    )
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
    told = clicked & (rng.random(clicked.shape, dtype=np.float32) < _DWELL_TOLD)
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
            amounts=(deeds.dwell_ms[row, column] if event is EventType.DWELL else 0 * row).astype(
                np.int32
            ),
        )

    shown_ms = np.broadcast_to(when.time_ms[:, None], lists.rows.shape)
    return _Seen(
        events(EventType.IMPRESSION, lists.shown, shown_ms),
        events(EventType.CLICK, clicked, deeds.click_ms),
        events(EventType.DWELL, told, deeds.done_ms),
        events(EventType.CART, carted, deeds.done_ms),
        bought[carted],
    )


def _deed_times(
    day: _Day,
    who: NDArray[np.int64],
    when: Circumstances,
    clicked: NDArray[np.bool_],
    carted: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """[B, L] each: when clicks happen, how long each look takes, and when it is over, one product
    after another down the list."""
    slowness = (day.truth.shoppers.pace[who] + _ENGAGED_PAUSE * when.engagement)[:, None]
    spread = np.exp(0.6 * day.rng.standard_normal((2, *clicked.shape), dtype=np.float32))
    pause_ms = 1000.0 * _PAUSE_S * np.exp(slowness) * spread[0] + 1000.0
    dwell_ms = 1000.0 * _DWELL_S * np.exp(slowness + _CART_DWELL * carted) * spread[1] + 1000.0
    dwell_ms = (dwell_ms * clicked).astype(np.int64)
    over = np.cumsum((pause_ms * clicked).astype(np.int64) + dwell_ms, axis=1)
    done_ms = np.where(clicked, when.time_ms[:, None] + over, 0)
    return done_ms - dwell_ms, dwell_ms, done_ms


def _move_on(day: _Day, at: NDArray[np.intp], rows: NDArray[np.int64], deeds: _Deeds) -> None:
    """Set the sessions' clocks and memories to the end of this list."""
    sessions = day.sessions
    last = deeds.done_ms.max(axis=1)
    read_ms = day.rng.integers(4_000, 60_000, at.size)
    sessions.clock_ms[at] = np.maximum(sessions.clock_ms[at], last) + read_ms
    newest = rows[np.arange(at.size), deeds.click_ms.argmax(axis=1)]
    sessions.anchor[at] = np.where(deeds.clicked.any(axis=1), newest, sessions.anchor[at])
    sessions.has_cart[at] |= deeds.carted.any(axis=1)


def _settle(day: _Day, carts: EventColumns, will_buy: NDArray[np.bool_]) -> list[EventColumns]:
    """What becomes of the carts: bought together at the end of the session, taken out, or left."""
    sessions, rng = day.sessions, day.rng
    slot = carts.sessions - sessions.ids[0]
    checkout_ms = sessions.clock_ms + rng.integers(45_000, 240_000, sessions.ids.size)
    given_up_ms = sessions.clock_ms + 30 * 60_000
    taken_out = ~will_buy & (rng.random(len(carts)) < _TAKEN_OUT)
    left_ms = np.where(taken_out, sessions.clock_ms[slot], given_up_ms[slot])
    settled = replace(
        carts,
        times_ms=np.where(will_buy, checkout_ms[slot], left_ms),
        codes=np.where(will_buy, _PURCHASE, np.where(taken_out, _REMOVE, _ABANDON)).astype(np.int8),
        quantities=np.where(will_buy & (rng.random(len(carts)) < 0.08), 2, 1).astype(np.int32),
    )
    purchases = settled.where(will_buy)
    day.memory.last_bought[purchases.shoppers] = purchases.products
    left = settled.where(settled.codes == _ABANDON)
    day.memory.last_left[left.shoppers] = left.products
    day.memory.left_ms[left.shoppers] = left.times_ms
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
