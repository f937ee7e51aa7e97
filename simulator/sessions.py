"""Sessions: who comes on a day, when, on what device, and in search of what.

Shapes: S sessions of one day, U shoppers, C categories.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.choice import NO_NEED, ChoiceModel, Circumstances
from simulator.lexicon import CATEGORIES, DEVICES
from simulator.settings import MS_PER_DAY

MAX_LISTS = 4
HAS_NEED = 0.70  # sessions that look for something; the others leaf through the shop
CATEGORY_FOCUS = 1.5  # how much more often a shopper turns to a liked category
_GOES_ON = 0.40  # chance of one more list
_COMPLEMENT_NEED = 0.35  # chance that a purchase makes the next session look for what goes with it
_OTHER_DEVICE = 0.18
DEAD_END = 0.14  # sessions in search of something whose first search finds nothing
_HOURS = np.array(
    [8, 5, 3, 2, 2, 3, 6, 12, 20, 26, 30, 32, 36, 34, 30, 30, 33, 38, 46, 56, 62, 58, 40, 20]
)
_WEEKDAYS = np.array([1.0, 0.96, 0.95, 0.98, 0.95, 1.05, 1.18])  # Monday first


@dataclass(slots=True)
class Sessions:
    """The sessions of one day, in order of their start; the last four arrays change as they run."""

    ids: NDArray[np.int64]  # [S] consecutive
    shoppers: NDArray[np.int64]  # [S]
    when: Circumstances  # [S] time of the start
    browse: NDArray[np.int64]  # [S] category to leaf through without a need
    list_counts: NDArray[np.int64]  # [S] lists this session will look at
    clock_ms: NDArray[np.int64]  # [S]
    anchor: NDArray[np.int64]  # [S] product looked at last, 0 = none
    has_cart: NDArray[np.bool_]  # [S]


def category_choice(truth: ChoiceModel) -> NDArray[np.float32]:
    """[U, C] cumulative probability with which a shopper turns to each category."""
    taste = truth.shoppers.category_taste()
    weights = np.exp(CATEGORY_FOCUS * (taste - taste.max(axis=1, keepdims=True)))
    return np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1, dtype=np.float32)


def draw_categories(cumulative: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """[S] one category for each row of `category_choice`."""
    drawn = (rng.random((cumulative.shape[0], 1)) >= cumulative).sum(axis=1)
    return np.minimum(drawn, len(CATEGORIES) - 1)


def start_sessions(
    truth: ChoiceModel,
    day_ms: int,
    *,
    turns_to: NDArray[np.float32],
    last_bought: NDArray[np.int64],
    left: NDArray[np.int64],
    first_id: int,
    rng: np.random.Generator,
) -> Sessions:
    """The sessions that begin on the day that starts at `day_ms`.

    turns_to [U, C] is `category_choice`; last_bought and left (in a cart of late) [U] are
    catalogue rows, 0 for nothing.
    """
    who, start_ms = _visits(truth, day_ms, rng)
    count = who.size
    browse = draw_categories(turns_to[who], rng)
    need = np.where(rng.random(count) < HAS_NEED, draw_categories(turns_to[who], rng), NO_NEED)
    need = _complement_needs(truth, need, last_bought[who], rng)
    device = np.where(
        rng.random(count) < _OTHER_DEVICE,
        rng.integers(0, len(DEVICES), count),
        truth.shoppers.device[who],
    )
    mood = rng.standard_normal(count, dtype=np.float32)
    dead_end = (need != NO_NEED) & (rng.random(count) < DEAD_END)
    when = Circumstances(start_ms, need, device.astype(np.int64), mood, left[who], dead_end)
    return Sessions(
        ids=first_id + np.arange(count),
        shoppers=who,
        when=when,
        browse=browse,
        list_counts=np.minimum(rng.geometric(1.0 - _GOES_ON, count), MAX_LISTS),
        clock_ms=start_ms.copy(),
        anchor=np.zeros(count, dtype=np.int64),
        has_cart=np.zeros(count, dtype=bool),
    )


def _visits(
    truth: ChoiceModel, day_ms: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who comes on this day and when, in order of time."""
    shoppers = truth.shoppers
    weekday = (day_ms // MS_PER_DAY + 3) % 7  # the epoch was a Thursday
    visits = rng.poisson(shoppers.visits_per_day * _WEEKDAYS[weekday])
    who = np.repeat(np.arange(shoppers.count), visits)
    hour = rng.choice(24, who.size, p=_HOURS / _HOURS.sum())
    start = day_ms + hour * 3_600_000 + rng.integers(0, 3_600_000, who.size)
    known = start >= shoppers.first_ms[who]
    who, start = who[known], start[known]
    order = np.argsort(start, kind="stable")
    return who[order], start[order]


def _complement_needs(
    truth: ChoiceModel,
    need: NDArray[np.int64],
    bought: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    complements = truth.products.complements
    picked = complements[bought, rng.integers(0, complements.shape[1], bought.size)]
    follows = (bought > 0) & (rng.random(bought.size) < _COMPLEMENT_NEED)
    return np.where(follows, truth.products.category[picked], need).astype(np.int64)
