"""Behaviour: shoppers come, look at lists, click, fill carts, buy, abandon and send back.

Days are simulated one after another, all sessions of a day at once. A session may be in search of
one category (its need), often the complement of what was bought last; it looks at one to four
lists. Clicks, carts and outcomes carry the request of the list that showed the product.

Shapes: S sessions of one day, B lists shown at once, L list length, E events.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType
from simulator.campaigns import percent_off, product_keys
from simulator.choice import NO_NEED, ChoiceModel, Circumstances
from simulator.event_columns import EventColumns, concatenated
from simulator.lexicon import CATEGORIES, DEVICES
from simulator.settings import MS_PER_DAY, WorldSettings
from simulator.showing import LIST_LENGTH, PLACEMENTS, Shelf, make_shelf, show_lists

MAX_LISTS = 4
_GOES_ON = 0.40  # chance of one more list
_HAS_NEED = 0.70
_COMPLEMENT_NEED = 0.35  # chance that a purchase makes the next session look for what goes with it
_OTHER_DEVICE = 0.18
_PAUSE_S = 14.0  # median pause before a click
_ENGAGED_PAUSE = 0.45  # engagement lengthens pauses: exp(0.45 · engagement)
_HOURS = np.array(
    [8, 5, 3, 2, 2, 3, 6, 12, 20, 26, 30, 32, 36, 34, 30, 30, 33, 38, 46, 56, 62, 58, 40, 20]
)
_WEEKDAYS = np.array([1.0, 0.96, 0.95, 0.98, 0.95, 1.05, 1.18])  # Monday first
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


@dataclass(slots=True)
class _Sessions:
    """The sessions of one day while they run."""

    ids: NDArray[np.int64]  # [S]
    shoppers: NDArray[np.int64]  # [S]
    when: Circumstances  # [S] time of the start
    browse: NDArray[np.int64]  # [S] category to leaf through without a need
    clock_ms: NDArray[np.int64]  # [S] moves on
    list_counts: NDArray[np.int64]  # [S]
    anchor: NDArray[np.int64]  # [S] product looked at last, 0 = none
    has_cart: NDArray[np.bool_]  # [S]


def simulate(truth: ChoiceModel, settings: WorldSettings) -> Iterator[EventColumns]:
    """The world's events, day by day, in time order throughout; nothing at or after `end_ms`.

    Outcomes that would come later (returns above all) are missing, as they are in a real log.
    """
    memory = _Memory(np.zeros(truth.shoppers.count, dtype=np.int64))
    keys = product_keys(truth.products.ids)
    taste_cdf = _category_choice(truth)
    for day in range(settings.days):
        day_ms = settings.start_ms + day * MS_PER_DAY
        rng = np.random.default_rng([settings.seed, 3, day])
        sessions = _start_sessions(truth, day_ms, taste_cdf, memory, rng)
        events = _run_sessions(truth, settings, sessions, keys, memory, rng)
        yield _in_order([*memory.waiting, *events], day_ms + MS_PER_DAY, memory)


def _in_order(parts: list[EventColumns], until_ms: int, memory: _Memory) -> EventColumns:
    """The events before `until_ms`, in time order; the others wait in `memory`."""
    events = concatenated(parts)
    due = events.times_ms < until_ms
    memory.waiting = [events.where(~due)]
    return events.where(due).in_time_order()


def _category_choice(truth: ChoiceModel) -> NDArray[np.float32]:
    """[U, C] cumulative probability with which a shopper turns to each category."""
    taste = truth.shoppers.category_taste()
    weights = np.exp(taste - taste.max(axis=1, keepdims=True))
    return np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1, dtype=np.float32)


def _start_sessions(
    truth: ChoiceModel,
    day_ms: int,
    taste_cdf: NDArray[np.float32],
    memory: _Memory,
    rng: np.random.Generator,
) -> _Sessions:
    who, start_ms = _visits(truth, day_ms, rng)
    count = who.size
    browse = _categories(taste_cdf[who], rng)
    need = np.where(rng.random(count) < _HAS_NEED, _categories(taste_cdf[who], rng), NO_NEED)
    need = _complement_needs(truth, who, need, memory, rng)
    device = truth.shoppers.device[who].astype(np.int64)
    device = np.where(
        rng.random(count) < _OTHER_DEVICE, rng.integers(0, len(DEVICES), count), device
    )
    ids = memory.next_session + np.arange(count)
    memory.next_session += count
    return _Sessions(
        ids=ids,
        shoppers=who,
        when=Circumstances(start_ms, need, device, rng.standard_normal(count, dtype=np.float32)),
        browse=browse,
        clock_ms=start_ms.copy(),
        list_counts=np.minimum(rng.geometric(1.0 - _GOES_ON, count), MAX_LISTS),
        anchor=np.zeros(count, dtype=np.int64),
        has_cart=np.zeros(count, dtype=bool),
    )


def _visits(
    truth: ChoiceModel, day_ms: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who comes on this day and when, in order of time."""
    shoppers = truth.shoppers
    weekday = (day_ms // MS_PER_DAY + 3) % 7
    visits = rng.poisson(shoppers.visits_per_day * _WEEKDAYS[weekday])
    who = np.repeat(np.arange(shoppers.count), visits)
    hour = rng.choice(24, who.size, p=_HOURS / _HOURS.sum())
    start = day_ms + hour * 3_600_000 + rng.integers(0, 3_600_000, who.size)
    known = start >= shoppers.first_ms[who]
    who, start = who[known], start[known]
    order = np.argsort(start, kind="stable")
    return who[order], start[order]


def _categories(cdf: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = (rng.random((cdf.shape[0], 1)) >= cdf).sum(axis=1)
    return np.minimum(drawn, len(CATEGORIES) - 1)


def _complement_needs(
    truth: ChoiceModel,
    who: NDArray[np.int64],
    need: NDArray[np.int64],
    memory: _Memory,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    bought = memory.last_bought[who]
    complements = truth.products.complements[bought, rng.integers(0, 4, who.size)]
    follows = (bought > 0) & (rng.random(who.size) < _COMPLEMENT_NEED)
    return np.where(follows, truth.products.category[complements], need).astype(np.int64)


def _run_sessions(
    truth: ChoiceModel,
    settings: WorldSettings,
    sessions: _Sessions,
    keys: NDArray[np.uint64],
    memory: _Memory,
    rng: np.random.Generator,
) -> list[EventColumns]:
    if sessions.ids.size == 0:
        return []
    shelf = make_shelf(truth.products, int(sessions.when.time_ms[0]))
    parts: list[EventColumns] = []
    carts: list[EventColumns] = []
    will_buy: list[NDArray[np.bool_]] = []
    for turn in range(MAX_LISTS):
        at = np.flatnonzero(sessions.list_counts > turn)
        if at.size == 0:
            break
        seen = _one_list(truth, settings, shelf, sessions, at, turn, keys, memory, rng)
        parts += [seen.impressions, seen.clicks, seen.carts]
        carts.append(seen.carts)
        will_buy.append(seen.will_buy)
    carted = concatenated(carts)
    outcome = _outcomes(truth, sessions, carted, np.concatenate(will_buy), memory, rng)
    return [*parts, *outcome]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    impressions: EventColumns
    clicks: EventColumns
    carts: EventColumns
    will_buy: NDArray[np.bool_]  # one per cart


def _one_list(
    truth: ChoiceModel,
    settings: WorldSettings,
    shelf: Shelf,
    sessions: _Sessions,
    at: NDArray[np.intp],
    turn: int,
    keys: NDArray[np.uint64],
    memory: _Memory,
    rng: np.random.Generator,
) -> _Seen:
    """Show one list to each of these sessions and let them act on it."""
    who, when = sessions.shoppers[at], sessions.when.taken(at)
    placement = _placements(sessions, at, turn, rng)
    lists = show_lists(
        truth, shelf, who, when.need, placement, sessions.anchor[at], sessions.browse[at], rng
    )
    now = sessions.clock_ms[at]
    discount = percent_off(keys[lists.rows], now[:, None], settings.seed) / 100.0
    price = np.round(truth.products.price_minor[lists.rows] * (1.0 - discount)).astype(np.int64)
    positions = np.broadcast_to(np.arange(1, LIST_LENGTH + 1), lists.rows.shape)
    here = Circumstances(now, when.need, when.device, when.engagement)
    steps = truth.steps(who, lists.rows, positions, price, here)
    draw = rng.random((4, *lists.rows.shape), dtype=np.float32)
    clicked = lists.shown & (draw[0] < steps.examined * steps.attracted)
    carted = clicked & (draw[1] < steps.carted)
    bought = carted & (draw[2] < steps.bought)
    click_ms, cart_ms = _act_times(truth, sessions, at, now, clicked, carted, rng)
    request = memory.next_request + np.arange(at.size)
    memory.next_request += at.size
    _move_on(sessions, at, now, np.maximum(click_ms, cart_ms), lists.rows, clicked, carted, rng)

    def columns(
        event: EventType, mask: NDArray[np.bool_], times: NDArray[np.int64]
    ) -> EventColumns:
        row, column = np.nonzero(mask)
        return EventColumns(
            times_ms=times[row, column],
            shoppers=who[row].astype(np.int32),
            sessions=sessions.ids[at][row],
            requests=request[row],
            products=lists.rows[row, column].astype(np.int32),
            codes=np.full(row.size, EVENT_CODES[event], dtype=np.int8),
            placements=placement[row].astype(np.int8),
            positions=positions[row, column].astype(np.int16),
            quantities=np.ones(row.size, dtype=np.int32),
            price_minor=price[row, column],
            discounts=discount[row, column].astype(np.float32),
            devices=when.device[row].astype(np.int8),
        )

    shown_ms = np.broadcast_to(now[:, None], lists.rows.shape)
    return _Seen(
        columns(EventType.IMPRESSION, lists.shown, shown_ms),
        columns(EventType.CLICK, clicked, click_ms),
        columns(EventType.CART, carted, cart_ms),
        bought[carted],
    )


def _placements(
    sessions: _Sessions, at: NDArray[np.intp], turn: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    odds = np.cumsum(_LATER_PLACEMENTS if turn else _FIRST_PLACEMENTS)
    drawn = np.searchsorted(odds, rng.random(at.size) * odds[-1], side="right")
    to_cart = sessions.has_cart[at] & (rng.random(at.size) < 0.5)
    return np.where(to_cart, _CART, drawn).astype(np.int64)


def _act_times(
    truth: ChoiceModel,
    sessions: _Sessions,
    at: NDArray[np.intp],
    now: NDArray[np.int64],
    clicked: NDArray[np.bool_],
    carted: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[B, L] when each click and each cart would happen: down the list, one after another.

    0 where nothing happens.
    """
    who = sessions.shoppers[at]
    slowness = truth.shoppers.pace[who] + _ENGAGED_PAUSE * sessions.when.engagement[at]
    scale = 1000.0 * _PAUSE_S * np.exp(slowness)[:, None]
    pause = scale * np.exp(0.6 * rng.standard_normal(clicked.shape, dtype=np.float32)) + 1000.0
    dwell = scale * np.exp(0.6 * rng.standard_normal(clicked.shape, dtype=np.float32)) + 1000.0
    done = now[:, None] + np.cumsum(pause * clicked + dwell * carted, axis=1).astype(np.int64)
    looked = done - (dwell * carted).astype(np.int64)
    return np.where(clicked, looked, 0), np.where(carted, done, 0)


def _move_on(
    sessions: _Sessions,
    at: NDArray[np.intp],
    now: NDArray[np.int64],
    act_ms: NDArray[np.int64],
    rows: NDArray[np.int64],
    clicked: NDArray[np.bool_],
    carted: NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    """Set the sessions' clocks and memories to the end of this list."""
    last = np.maximum(now, act_ms.max(axis=1))
    sessions.clock_ms[at] = last + rng.integers(4_000, 60_000, at.size)
    newest = np.where(clicked, act_ms, -1).argmax(axis=1)
    looked_at = rows[np.arange(at.size), newest]
    sessions.anchor[at] = np.where(clicked.any(axis=1), looked_at, sessions.anchor[at])
    sessions.has_cart[at] |= carted.any(axis=1)


def _outcomes(
    truth: ChoiceModel,
    sessions: _Sessions,
    carts: EventColumns,
    will_buy: NDArray[np.bool_],
    memory: _Memory,
    rng: np.random.Generator,
) -> list[EventColumns]:
    """What becomes of the carts: bought together at the end of the session, or abandoned."""
    slot = carts.sessions - sessions.ids[0]
    checkout = sessions.clock_ms + rng.integers(45_000, 240_000, sessions.ids.size)
    done_ms = np.where(will_buy, checkout[slot], sessions.clock_ms[slot] + 30 * 60_000)
    settled = replace(
        carts,
        times_ms=done_ms,
        codes=np.where(will_buy, _PURCHASE, _ABANDON).astype(np.int8),
        quantities=np.where(will_buy & (rng.random(len(carts)) < 0.08), 2, 1).astype(np.int32),
    )
    purchases = settled.where(will_buy)
    memory.last_bought[purchases.shoppers] = purchases.products
    return [settled, _returns(truth, sessions.when.taken(slot[will_buy]), purchases, rng)]


def _returns(
    truth: ChoiceModel, when: Circumstances, purchases: EventColumns, rng: np.random.Generator
) -> EventColumns:
    """The purchases that come back, days later."""
    steps = truth.steps(
        purchases.shoppers.astype(np.int64),
        purchases.products.astype(np.int64)[:, None],
        np.ones((len(purchases), 1), dtype=np.int64),
        purchases.price_minor[:, None],
        when,
    )
    comes_back = rng.random(len(purchases)) < steps.returned[:, 0]
    delay_days = 2.0 + rng.lognormal(1.9, 0.5, len(purchases))
    sent = replace(
        purchases,
        times_ms=purchases.times_ms + (delay_days * MS_PER_DAY).astype(np.int64),
        codes=np.full(len(purchases), EVENT_CODES[EventType.RETURN], dtype=np.int8),
    )
    return sent.where(comes_back)
