"""Price drivers: what pulls a price where, from what is known of market, demand and stock.

Each driver pulls the price towards the one that it alone would choose; the pulls are shares of the
price (differences of logarithms), weighted and added up:

- competitors: the median of the competitors' prices, times an index. Competitor-indexed pricing
  within a band, as in R. L. Phillips, "Pricing and Revenue Optimization", Stanford 2005, chapter 4.
- demand: the mark-up on cost that earns most at constant elasticity e, cost · e / (1 + e)
  (A. P. Lerner, "The Concept of Monopoly and the Measurement of Monopoly Power", Review of Economic
  Studies 1934; H. R. Varian, "Intermediate Microeconomics", chapter on monopoly behaviour). Only
  where demand is elastic: for e of -1 or more no finite price earns most.
- stock cover: scarce goods dearer, plentiful ones cheaper, by the logarithm of target cover over
  days of cover. The direction is that of G. Gallego and G. van Ryzin, "Optimal Dynamic Pricing of
  Inventories with Stochastic Demand over Finite Horizons", Management Science 1994; the size is a
  choice.

A driver whose input is missing, too old or senseless is dropped and named; the others keep their
weights.

Shapes: N products, K competitors, D drivers (the order of `PriceDriver`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.price_limits import MAX_PRICE_MINOR

_LEAST_ELASTIC = -1.05  # nearer to -1 the mark-up is dozens of times the cost, by a small error
_MAX_ELASTICITY = 50.0  # beyond it a figure is a fault
_CLOCK_SLACK_MS = 1_000.0  # an answer from the near future is a clock a little ahead


class PriceDriver(StrEnum):
    """What pulls a price, in the order in which the pulls are added up."""

    COMPETITORS = "competitors"
    DEMAND = "demand"
    STOCK_COVER = "stock_cover"


class DriverState(StrEnum):
    """Whether a driver counted, and why not."""

    USED = "used"
    MISSING = "missing"
    TOO_OLD = "too_old"
    SENSELESS = "senseless"
    INELASTIC = "inelastic"  # demand hardly answers to the price: no mark-up earns most
    SOLD_OUT = "sold_out"


STATES = tuple(DriverState)
_CODE = {state: np.int8(code) for code, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class PriceMethod:
    """How much each driver counts, and how old its input may be. The weights are choices."""

    competitor_weight: float = 0.5  # what shoppers compare is felt first
    demand_weight: float = 0.3
    cover_weight: float = 0.2
    competitor_index: float = 1.0  # 0.98 undercuts the market by 2 %
    target_cover_days: float = 45.0
    most_pull: float = 0.25  # of one driver, as a logarithm: an outlier counts as 28 % dearer
    competitor_max_age_ms: int = 172_800_000  # crawlers visit daily; two days forgive one miss
    demand_max_age_ms: int = 604_800_000  # forecasts are made weekly or oftener
    stock_max_age_ms: int = 3_600_000  # cover is counted in days, so an hour changes little
    calendar_max_age_ms: int = 600_000  # a campaign that was planned in between may be hit

    def __post_init__(self) -> None:
        """Raises ValueError, naming the setting first."""
        weights = ("competitor_weight", "demand_weight", "cover_weight")
        for name in weights:
            _require(0.0 <= getattr(self, name) <= 1.0, f"{name}: must be 0 to 1")
        _require(
            sum(getattr(self, name) for name in weights) <= 1.0 + 1e-9,
            "cover_weight: must be at most 1 together with the other weights",
        )
        _require(0.1 <= self.competitor_index <= 10.0, "competitor_index: must be 0.1 to 10")
        _require(self.target_cover_days > 0.0, "target_cover_days: must be above 0")
        _require(0.0 < self.most_pull <= 2.0, "most_pull: must be above 0 and at most 2")
        for name in self.__slots__:
            if name.endswith("_max_age_ms"):
                _require(getattr(self, name) > 0, f"{name}: must be above 0")


@dataclass(frozen=True, slots=True, eq=False)
class PriceInputs:
    """All that is known. NaN is unknown; ages are milliseconds, NaN where nothing was answered.

    Nothing but `current_minor` and `list_minor` need be sensible: what is not is dropped and named.
    """

    current_minor: NDArray[np.int64]  # [N] list price in force, 1..MAX_PRICE_MINOR
    list_minor: NDArray[np.int64]  # [N] of the catalogue, 1..MAX_PRICE_MINOR
    cost_minor: NDArray[np.float64]  # [N]
    competitor_minor: NDArray[np.float64]  # [N, K]
    competitor_age_ms: NDArray[np.float64]  # [N, K]
    units_per_day: NDArray[np.float64]  # [N] forecast
    elasticity: NDArray[np.float64]  # [N] of demand to the price, below 0
    demand_age_ms: NDArray[np.float64]  # [N]
    stock_units: NDArray[np.float64]  # [N] NaN also where the shop does not count
    stock_age_ms: NDArray[np.float64]  # [N]
    promotion_runs: NDArray[np.bool_]  # [N]
    promotion_in_ms: NDArray[np.float64]  # [N] until the next one begins; inf = none planned
    lowest_minor: NDArray[np.float64]  # [N] list price within the last 24 hours
    highest_minor: NDArray[np.float64]  # [N]
    calendar_age_ms: NDArray[np.float64]  # [N] of the four above

    def __post_init__(self) -> None:
        """Raises ValueError if a price to start from is none."""
        for name in ("current_minor", "list_minor"):
            price = getattr(self, name)
            if not ((price >= 1) & (price <= MAX_PRICE_MINOR)).all():
                raise ValueError(f"{name}: must be 1 to {MAX_PRICE_MINOR}")


@dataclass(frozen=True, slots=True, eq=False)
class _Pull:
    """One driver. wish and weight in force [N]; a dropped driver pulls by 0."""

    state: NDArray[np.int8]  # [N]
    wish_minor: NDArray[np.float64]  # [N]
    weight: float


def _competitors(inputs: PriceInputs, method: PriceMethod) -> _Pull:
    price, age_ms = inputs.competitor_minor, inputs.competitor_age_ms
    told, sensible = ~np.isnan(price), is_price(price)
    used = sensible & is_young(age_ms, method.competitor_max_age_ms)
    median = _median_of(price, used)
    state = _first_of(
        (used.any(axis=1), DriverState.USED),
        (sensible.any(axis=1), DriverState.TOO_OLD),
        (told.any(axis=1), DriverState.SENSELESS),
    )
    return _Pull(state, median * method.competitor_index, method.competitor_weight)


def _median_of(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[N] the middle of the chosen values [N, K], the mean of the two middle ones; NaN of none."""
    if values.shape[1] == 0:
        return np.full(values.shape[0], np.nan)
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    count = chosen.sum(axis=1)
    rows, last = np.arange(values.shape[0]), np.maximum(count - 1, 0)
    middle = (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2]) / 2.0
    return np.where(count > 0, middle, np.nan)


def _demand(inputs: PriceInputs, method: PriceMethod) -> _Pull:
    elasticity, cost = inputs.elasticity, inputs.cost_minor
    told = ~np.isnan(elasticity) & ~np.isnan(cost)
    sensible = (elasticity < 0.0) & (elasticity >= -_MAX_ELASTICITY) & is_cost(cost) & (cost > 0.0)
    young = is_young(inputs.demand_age_ms, method.demand_max_age_ms)
    state = _first_of(
        (~told, DriverState.MISSING),
        (~sensible, DriverState.SENSELESS),
        (~young, DriverState.TOO_OLD),
        (elasticity > _LEAST_ELASTIC, DriverState.INELASTIC),
        (told, DriverState.USED),
    )
    return _Pull(state, cost * elasticity / (1.0 + elasticity), method.demand_weight)


def _stock_cover(inputs: PriceInputs, method: PriceMethod) -> _Pull:
    units, stock = inputs.units_per_day, inputs.stock_units
    told = ~np.isnan(units) & ~np.isnan(stock)
    sensible = (units >= 0.0) & np.isfinite(units) & (stock >= 0.0) & np.isfinite(stock)
    young = is_young(inputs.demand_age_ms, method.demand_max_age_ms) & is_young(
        inputs.stock_age_ms, method.stock_max_age_ms
    )
    state = _first_of(
        (~told, DriverState.MISSING),
        (~sensible, DriverState.SENSELESS),
        (~young, DriverState.TOO_OLD),
        (stock == 0.0, DriverState.SOLD_OUT),
        (told, DriverState.USED),
    )
    # Target cover over days of cover; what does not sell at all covers for ever.
    scarcity = method.target_cover_days * units / stock
    bound = float(np.exp(method.most_pull))
    wish = inputs.current_minor.astype(np.float64) * np.clip(scarcity, 1.0 / bound, bound)
    return _Pull(state, wish, method.cover_weight)


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """What the drivers make of the current prices."""

    steps_minor: NDArray[np.int64]  # [N, D + 1] the current price, then that after each driver
    states: NDArray[np.int8]  # [N, D] into STATES
    wish_minor: NDArray[np.float64]  # [N, D] the price it alone would choose; NaN if dropped

    @property
    def used(self) -> NDArray[np.bool_]:
        """[N, D] which drivers counted."""
        return np.asarray(self.states == _CODE[DriverState.USED], dtype=np.bool_)


def pulled(inputs: PriceInputs, method: PriceMethod) -> Pulled:
    """Every driver's pull, added up in order."""
    with np.errstate(all="ignore"):  # inputs may be anything; what comes out is checked
        pulls = (
            _competitors(inputs, method),
            _demand(inputs, method),
            _stock_cover(inputs, method),
        )
        return _added_up(inputs.current_minor, pulls, method)


def _added_up(current: NDArray[np.int64], pulls: tuple[_Pull, ...], method: PriceMethod) -> Pulled:
    states = np.stack([pull.state for pull in pulls], axis=1)
    used = states == _CODE[DriverState.USED]
    wishes = np.where(used, np.stack([pull.wish_minor for pull in pulls], axis=1), np.nan)
    away = np.clip(np.log(wishes / current[:, None]), -method.most_pull, method.most_pull)
    away = np.where(np.isnan(away), 0.0, away) * np.array([pull.weight for pull in pulls])
    total = np.concatenate([np.zeros((current.size, 1)), np.cumsum(away, axis=1)], axis=1)
    steps = np.rint(current[:, None] * np.exp(total)).astype(np.int64)
    return Pulled(np.maximum(steps, 1), states, wishes)


def _first_of(*cases: tuple[NDArray[Any] | np.bool_, DriverState]) -> NDArray[np.int8]:
    """[N] the state of the first case that holds, MISSING if none does."""
    codes = np.select(
        [holds for holds, _ in cases],
        [_CODE[state] for _, state in cases],
        _CODE[DriverState.MISSING],
    )
    return codes.astype(np.int8)


def is_price(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values could be prices. False for NaN."""
    return np.asarray((values >= 1.0) & (values <= MAX_PRICE_MINOR), dtype=np.bool_)


def is_cost(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values could be costs. False for NaN."""
    return np.asarray((values >= 0.0) & (values <= MAX_PRICE_MINOR), dtype=np.bool_)


def is_young(age_ms: NDArray[np.float64], max_age_ms: int) -> NDArray[np.bool_]:
    """Which ages are known and within the limit. False for NaN."""
    return np.asarray((age_ms >= -_CLOCK_SLACK_MS) & (age_ms <= max_age_ms), dtype=np.bool_)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
