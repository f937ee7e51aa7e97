"""Pricing: one price suggestion per product, between hard limits, with everything that made it.

The drivers of `shop.price_drivers` say where the price should go; what they say together is put
between the limits of `shop.price_limits` and on an allowed ending. Where limits contradict each
other, or one cannot be checked, the price is kept. Nothing here is random, and nothing is applied:
whoever asked decides.

Shapes: N products, D drivers (the order of `PriceDriver`), L limits (the order of `BANDS`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shop.price_drivers import (
    STATES,
    DriverState,
    PriceDriver,
    PriceInputs,
    PriceMethod,
    is_cost,
    is_price,
    is_young,
    pulled,
)
from shop.price_limits import (
    BANDS,
    Bands,
    LimitedBy,
    PriceLimit,
    PriceLimits,
    nearest_ending,
    price_bands,
)


class Outcome(StrEnum):
    """What became of a price."""

    CHANGE = "change"
    NO_CHANGE = "no_change"  # the drivers leave it where it is
    # Kept, although something would move it:
    CONTRADICTION = "contradiction"  # no price keeps all limits
    UNKNOWN_LIMIT = "unknown_limit"  # a limit cannot be checked
    FROZEN = "frozen"  # a promotion runs or is about to


class LimitState(StrEnum):
    """What a limit did to a price."""

    BINDS = "binds"
    CONTRADICTS = "contradicts"
    UNKNOWN = "unknown"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class PriceReason:
    """One thing that moved a price or kept it from moving."""

    name: PriceDriver | PriceLimit
    moved_minor: int
    state: DriverState | LimitState
    wish_minor: int  # of a driver: the price it alone would choose; 0 if it was dropped


@dataclass(frozen=True, slots=True, eq=False)
class PriceSuggestions:
    """A price per product, and how it came about.

    price - current = moved by every driver + moved by the limits + moved by the ending, exactly;
    all are 0 where the price was kept.
    """

    price_minor: NDArray[np.int64]  # [N]
    outcomes: tuple[Outcome, ...]  # [N]
    driver_states: NDArray[np.int8]  # [N, D] into STATES
    driver_wish_minor: NDArray[np.float64]  # [N, D] the price it alone would choose; NaN if dropped
    driver_moved_minor: NDArray[np.int64]  # [N, D]
    limit_moved_minor: NDArray[np.int64]  # [N]
    ending_moved_minor: NDArray[np.int64]  # [N]
    bands: Bands

    def reasons(self, at: int) -> tuple[PriceReason, ...]:
        """Of one product: every driver, then what the limits did."""
        return (*self._drivers(at), *self._limits(at))

    def _drivers(self, at: int) -> Iterator[PriceReason]:
        for driver, state, wish, moved in zip(
            PriceDriver,
            self.driver_states[at].tolist(),
            self.driver_wish_minor[at].tolist(),
            self.driver_moved_minor[at].tolist(),
            strict=True,
        ):
            wished = round(wish) if STATES[state] is DriverState.USED else 0
            yield PriceReason(driver, moved, STATES[state], wished)

    def _limits(self, at: int) -> Iterator[PriceReason]:
        low_by, high_by = self.bands.ends_of(at)
        match self.outcomes[at]:
            case Outcome.FROZEN:
                yield PriceReason(PriceLimit.PROMOTION_FREEZE, 0, LimitState.FROZEN, 0)
            case Outcome.UNKNOWN_LIMIT:
                for limit in np.flatnonzero(self.bands.unknown[at]).tolist():
                    yield PriceReason(BANDS[limit], 0, LimitState.UNKNOWN, 0)
            case Outcome.CONTRADICTION:
                fits = self.bands.least_minor[at].max() <= self.bands.most_minor[at].min()
                for limit in (low_by, high_by, *([PriceLimit.ENDING] if fits else [])):
                    yield PriceReason(limit, 0, LimitState.CONTRADICTS, 0)
            case _:
                moved = int(self.limit_moved_minor[at])
                if moved:
                    by = low_by if moved > 0 else high_by
                    yield PriceReason(by, moved, LimitState.BINDS, 0)
                if self.ending_moved_minor[at]:
                    ending = int(self.ending_moved_minor[at])
                    yield PriceReason(PriceLimit.ENDING, ending, LimitState.BINDS, 0)


def suggest_prices(
    inputs: PriceInputs, limits: PriceLimits, method: PriceMethod
) -> PriceSuggestions:
    """One suggestion per product; half a millisecond for 500."""
    pull = pulled(inputs, method)
    known = _limited_by(inputs, limits, method)
    bands = price_bands(known, limits)
    current = inputs.current_minor
    wanted = pull.steps_minor[:, -1]
    low, high = bands.low_minor, bands.high_minor
    allowed = np.clip(wanted, low, np.maximum(low, high))
    ended, has_ending = nearest_ending(allowed, low, high, limits)
    # A price that nothing moves keeps the ending it has.
    stays = ~pull.used.any(axis=1) & (allowed == current)
    ended, has_ending = np.where(stays, current, ended), has_ending | stays
    outcomes = _outcomes(known, bands, ended, has_ending)
    kept = np.array([each not in (Outcome.CHANGE, Outcome.NO_CHANGE) for each in outcomes], bool)
    return PriceSuggestions(
        price_minor=np.where(kept, current, ended),
        outcomes=outcomes,
        driver_states=pull.states,
        driver_wish_minor=pull.wish_minor,
        driver_moved_minor=np.where(kept[:, None], 0, np.diff(pull.steps_minor, axis=1)),
        limit_moved_minor=np.where(kept, 0, allowed - wanted),
        ending_moved_minor=np.where(kept, 0, ended - allowed),
        bands=bands,
    )


def _limited_by(inputs: PriceInputs, limits: PriceLimits, method: PriceMethod) -> LimitedBy:
    known = is_young(inputs.calendar_age_ms, method.calendar_max_age_ms)
    soon = known & (inputs.promotion_in_ms <= limits.freeze_before_ms)
    frozen = inputs.promotion_runs | soon
    lowest = np.where(known & is_price(inputs.lowest_minor), inputs.lowest_minor, np.nan)
    highest = np.where(known & is_price(inputs.highest_minor), inputs.highest_minor, np.nan)
    return LimitedBy(
        current_minor=inputs.current_minor,
        list_minor=inputs.list_minor,
        cost_minor=np.where(is_cost(inputs.cost_minor), inputs.cost_minor, np.nan),
        frozen=frozen,
        lowest_minor=lowest,
        highest_minor=highest,
        calendar_known=frozen | (known & ~np.isnan(inputs.promotion_in_ms)),
    )


def _outcomes(
    known: LimitedBy, bands: Bands, ended: NDArray[np.int64], has_ending: NDArray[np.bool_]
) -> tuple[Outcome, ...]:
    contradicts = (bands.low_minor > bands.high_minor) | ~has_ending
    cases = (
        (known.frozen, Outcome.FROZEN),
        (bands.unknown.any(axis=1), Outcome.UNKNOWN_LIMIT),
        (contradicts, Outcome.CONTRADICTION),
        (ended == known.current_minor, Outcome.NO_CHANGE),
    )
    codes = np.select([holds for holds, _ in cases], list(range(len(cases))), len(cases))
    names = (*(outcome for _, outcome in cases), Outcome.CHANGE)
    return tuple(names[code] for code in codes.tolist())
