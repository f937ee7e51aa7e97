"""Forecast: how much of each product will be sold a day, and how demand answers to its price.

What a shop's planning system does with a log of sales, in its simplest honest form:

- units a day: simple exponential smoothing of each product's daily sales, days without a sale
  included (R. G. Brown, "Smoothing, Forecasting and Prediction of Discrete Time Series", 1963). The
  shop's weekdays are taken out first where four weeks or more are known, because a window seldom
  ends on a Sunday. The forecast is the mean of the coming week; the past's promotions are in it.
- elasticity: the logarithm of how much oftener an impression at a reduced price ends in a purchase,
  over the logarithm of the price ratio. Reduced and full price are compared within each product
  and pooled over a category by the Mantel–Haenszel rate ratio (K. J. Rothman, S. Greenland,
  "Modern Epidemiology", chapter 15), its variance after S. Greenland and J. M. Robins, Biometrics
  1985; categories with few sales lean on the whole shop. It is the answer to a *promotion*: where
  a reduction attracts by itself, a quiet change of the list price moves demand less. Unknown where
  the log has no impressions. On the default world: -1.1, -1.1, -1.0, -0.9 and -0.7 at 10 to 40 %
  off, where the truth on the same impressions (no session's needs known) is -1.3, -1.3, -1.2, -1.0
  and -0.9.

Shapes: R catalogue rows, S sales, B bands of reductions, G categories.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HALF_LIFE_DAYS = 14.0  # as the shop's popularity; see training/algorithms/popularity.py
BAND_EDGES = np.array([0.001, 0.125, 0.175, 0.25, 0.35])  # below the first: full price
BAND_COUNT = BAND_EDGES.size + 1
_LEAST_WEEKDAY_DAYS = 28
_SHOP_WEIGHT = 1.0 / 0.5**2  # categories are taken to differ by 0.5, a choice
_WEEK = 7


@dataclass(frozen=True, slots=True, eq=False)
class Sales:
    """What the log tells. Days count from the first day of the log."""

    rows: NDArray[np.int64]  # [S] catalogue rows
    days: NDArray[np.int64]  # [S]
    units: NDArray[np.float64]  # [S]
    day_count: int
    first_weekday: int  # of day 0; Monday = 0
    impressions: NDArray[np.int64]  # [R, B]
    purchases: NDArray[np.int64]  # [R, B]
    reduction: NDArray[np.float64]  # [B] mean share taken off, of all impressions in the band


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Of every product."""

    units_per_day: NDArray[np.float64]  # [R]
    elasticity: NDArray[np.float64]  # [R] NaN = unknown
    found: NDArray[np.bool_]  # [R] False: never sold


def no_forecast(row_count: int) -> Forecast:
    """Nothing is known of any product."""
    unknown = np.full(row_count, np.nan)
    return Forecast(np.zeros(row_count), unknown, np.zeros(row_count, dtype=np.bool_))


def forecast_demand(sales: Sales, category_codes: NDArray[np.int64]) -> Forecast:
    """From a log; category_codes [R]."""
    row_count = category_codes.size
    units = _smoothed(sales, row_count)
    found = np.bincount(sales.rows, minlength=row_count) > 0
    found[0] = False
    return Forecast(units, elasticities(sales, category_codes)[category_codes], found)


def _smoothed(sales: Sales, row_count: int) -> NDArray[np.float64]:
    """[R] units a day. A product is looked at from its first sale on: before, it was not there."""
    usual = weekday_index(sales)
    units = sales.units / usual[(sales.days + sales.first_weekday) % _WEEK]
    keep = 0.5 ** (1.0 / HALF_LIFE_DAYS)
    age = sales.day_count - 1 - sales.days
    total = np.bincount(sales.rows, weights=units * keep**age, minlength=row_count)
    first = np.full(row_count, sales.day_count, dtype=np.int64)
    np.minimum.at(first, sales.rows, sales.days)
    # The weights of all days since then: the recursion of exponential smoothing, written out, and
    # normalised because it starts with nothing.
    known_days = sales.day_count - first
    weights = (1.0 - keep**known_days) / (1.0 - keep)
    return np.where(known_days > 0, total / np.maximum(weights, 1.0), 0.0)


def weekday_index(sales: Sales) -> NDArray[np.float64]:
    """[7] how a weekday, Monday first, compares with the mean day; 1 for less than four weeks."""
    even = np.ones(_WEEK)
    if sales.day_count < _LEAST_WEEKDAY_DAYS:
        return even
    by_day = np.bincount(sales.days, weights=sales.units, minlength=sales.day_count)
    whole = by_day[sales.day_count % _WEEK :].reshape(-1, _WEEK)  # the latest whole weeks
    start = (sales.first_weekday + sales.day_count % _WEEK) % _WEEK
    mean = np.roll(whole.mean(axis=0), start)
    if not (mean > 0.0).all():
        return even
    return np.asarray(mean / mean.mean(), dtype=np.float64)


def elasticities(sales: Sales, category_codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """[G] by category; NaN everywhere if nothing was sold at a reduced price."""
    group_count = int(category_codes.max(initial=0)) + 1
    sums = np.zeros(group_count), np.zeros(group_count)  # of value / variance, and 1 / variance
    for band in range(1, BAND_COUNT):
        value, variance = _of_band(sales, band, category_codes, group_count)
        known = np.isfinite(value) & np.isfinite(variance) & (variance > 0.0)
        sums[0][known] += value[known] / variance[known]
        sums[1][known] += 1.0 / variance[known]
    if sums[1].sum() == 0.0:
        return np.full(group_count, np.nan)
    shop = sums[0].sum() / sums[1].sum()
    return np.asarray((sums[0] + _SHOP_WEIGHT * shop) / (sums[1] + _SHOP_WEIGHT))


def _of_band(
    sales: Sales, band: int, category_codes: NDArray[np.int64], group_count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[G] elasticity and its variance, from one band of reductions against the full price."""
    reduced, full = sales.impressions[:, band].astype(float), sales.impressions[:, 0].astype(float)
    sold_reduced, sold_full = sales.purchases[:, band], sales.purchases[:, 0]
    shown = np.maximum(reduced + full, 1.0)

    def pooled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(category_codes, weights=values, minlength=group_count)

    with np.errstate(divide="ignore", invalid="ignore"):
        over, under = pooled(sold_reduced * full / shown), pooled(sold_full * reduced / shown)
        spread = pooled((sold_reduced + sold_full) * reduced * full / shown**2)
        price_ratio = np.log1p(-sales.reduction[band])
        return np.log(over / under) / price_ratio, spread / (over * under) / price_ratio**2
