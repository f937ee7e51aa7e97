"""Calibration: sets the choice model's intercepts so that the world's overall rates come out right.

A sample of lists is shown to a sample of shoppers, and each intercept is found by bisection on the
expected rate. So every size and seed of world has the same rates, whatever its tastes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simulator.choice import (
    NO_NEED,
    ChoiceModel,
    Circumstances,
    Intercepts,
    examination,
    sigmoid,
)
from simulator.sessions import DEAD_END, HAS_NEED, category_choice, draw_categories
from simulator.settings import WorldSettings
from simulator.showing import LIST_LENGTH, PLACEMENTS, Occasions, make_shelf, show_lists

CLICK_RATE = 0.10  # of impressions; 0.09 in a log, where sessions also look for complements
CART_RATE = 0.30  # of clicks
PURCHASE_RATE = 0.50  # of carts
RETURN_RATE = 0.12  # of purchases
_SAMPLE = 1_500  # lists
_PLACEMENT_SHARES = (0.30, 0.28, 0.16, 0.06, 0.17, 0.03)  # as in a simulated log


def calibrated(truth: ChoiceModel, settings: WorldSettings) -> ChoiceModel:
    """The same choice model with intercepts for the rates above."""
    rng = np.random.default_rng([settings.seed, 4])
    weights = truth.shoppers.visits_per_day
    who = rng.choice(weights.size, _SAMPLE, p=weights / weights.sum())
    turns_to = category_choice(truth)[who]
    need = np.where(rng.random(_SAMPLE) < HAS_NEED, draw_categories(turns_to, rng), NO_NEED)
    occasions = Occasions(
        shopper_rows=who,
        placement=rng.choice(len(PLACEMENTS), _SAMPLE, p=_PLACEMENT_SHARES),
        need=need,
        browse=draw_categories(turns_to, rng),
        anchor=np.zeros(_SAMPLE, dtype=np.int64),
        left=np.zeros(_SAMPLE, dtype=np.int64),
    )
    lists = show_lists(truth, make_shelf(truth.products, settings.end_ms), occasions, rng)
    when = Circumstances(
        rng.integers(settings.start_ms, settings.end_ms, _SAMPLE),
        need,
        truth.shoppers.device[who].astype(np.int64),
        rng.standard_normal(_SAMPLE, dtype=np.float32),
        left=np.zeros(_SAMPLE, dtype=np.int64),
        dead_end=(need != NO_NEED) & (rng.random(_SAMPLE) < DEAD_END),
    )
    logits = truth.logits(who, lists.rows, truth.products.price_minor[lists.rows], when)
    positions = np.broadcast_to(np.arange(1, LIST_LENGTH + 1), lists.rows.shape)
    reached = examination(positions, when.device) * lists.shown
    return truth.with_intercepts(_solve(logits, reached))


def _solve(logits: tuple[NDArray[np.float32], ...], reached: NDArray[np.float32]) -> Intercepts:
    shares: list[float] = []
    shown = (reached > 0).astype(np.float32)
    # Clicks are counted per impression, later steps per step before.
    for logit, rate in zip(
        logits, (CLICK_RATE, CART_RATE, PURCHASE_RATE, RETURN_RATE), strict=True
    ):
        per = shown if not shares else reached
        start = _bisected(_rate_of(logit, reached, per), rate)
        shares.append(start)
        reached = reached * sigmoid(logit + start)
    return Intercepts(*shares)


def _rate_of(
    logit: NDArray[np.float32], reached: NDArray[np.float32], per: NDArray[np.float32]
) -> Callable[[float], float]:
    def rate(start: float) -> float:
        return float((reached * sigmoid(logit + np.float32(start))).sum() / per.sum())

    return rate


def _bisected(rate: Callable[[float], float], wanted: float) -> float:
    low, high = -15.0, 15.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rate(middle) < wanted else (low, middle)
    return 0.5 * (low + high)
