"""Weather: seeded, country by country and hour by hour, with the dynamics of real weather.

A day is wet or dry by a first-order Markov chain whose chances follow the seasons; temperature is
the climate's course of the year, lower on wet days, plus a first-order autoregression; both after
C. W. Richardson, "Stochastic simulation of daily precipitation, temperature, and solar radiation",
Water Resources Research 17 (1981), section 2. Within a day it is warmest at three in the afternoon,
and rain falls in one spell. Climates are rough figures of the capitals.

It is a feed only: shoppers of the world do not mind the weather.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_MS_PER_HOUR, _MS_PER_DAY = 3_600_000, 86_400_000
_DAYS_PER_YEAR = 365.25
_SPIN_UP_DAYS = 30  # until a year no longer remembers how it was begun
_COLDEST_DAY = 18.0  # of the year, in Europe
_PERSISTENCE = 0.7  # of temperature, from day to day
_DAY_SWING_C = 4.0  # above and below the day's mean
_WET_CHILL_C = 2.0
_FROST_BELOW_C, _HEAT_ABOVE_C, _SNOW_BELOW_C = 0.0, 28.0, 1.0
_STORM_SHARE = 0.2  # of wet days with a mean above 15 °C


@dataclass(frozen=True, slots=True)
class Climate:
    """What a country's weather is like."""

    mean_c: float  # of the year
    swing_c: float  # of the daily means above and below it, over the year
    wet_after_dry: float  # chance of a wet day
    wet_after_wet: float


CLIMATES = {
    "DE": Climate(10.0, 9.5, 0.26, 0.60),
    "FR": Climate(12.5, 8.0, 0.24, 0.58),
    "NL": Climate(10.5, 7.5, 0.32, 0.66),
    "AT": Climate(11.0, 10.5, 0.22, 0.54),
    "IT": Climate(16.0, 8.5, 0.14, 0.48),
    "BE": Climate(11.0, 7.5, 0.30, 0.66),
    "ES": Climate(15.0, 9.5, 0.10, 0.44),
    "GB": Climate(11.0, 6.5, 0.30, 0.62),
}


@dataclass(frozen=True, slots=True)
class Sky:
    """One country at one moment."""

    condition: str  # one of shop.surroundings.WEATHERS
    temperature_c: float


@dataclass(frozen=True, slots=True, eq=False)
class _Year:
    """The days of a country's year."""

    wet: NDArray[np.bool_]  # [366]
    mean_c: NDArray[np.float64]  # [366]
    chance: NDArray[np.float64]  # [366, 3] of storm or clouds, when rain begins, how long it lasts


def weather_at(country: str, time_ms: int, seed: int) -> Sky:
    """Raises KeyError for a country without a climate."""
    day = np.datetime64(time_ms // _MS_PER_DAY, "D")
    first = day.astype("datetime64[Y]")
    year, at = int(first.astype(int)), int((day - first.astype("datetime64[D]")).astype(int))
    hour = time_ms % _MS_PER_DAY / _MS_PER_HOUR
    return _sky(_year(country, year, seed), at, hour)


def _sky(year: _Year, at: int, hour: float) -> Sky:
    mean_c, (fate, begins, lasts) = float(year.mean_c[at]), year.chance[at].tolist()
    temperature_c = mean_c + _DAY_SWING_C * np.cos(2.0 * np.pi * (hour - 15.0) / 24.0)
    # A spell of 3 to 18 hours; one that would pass midnight begins earlier.
    length = 3.0 + 15.0 * lasts
    start = begins * (24.0 - length)
    if year.wet[at] and start <= hour < start + length:
        if temperature_c < _SNOW_BELOW_C:
            condition = "snow"
        else:
            condition = "storm" if mean_c > 15.0 and fate < _STORM_SHARE else "rain"
    elif temperature_c < _FROST_BELOW_C:
        condition = "frost"
    elif temperature_c > _HEAT_ABOVE_C:
        condition = "heat"
    else:
        condition = "clouds" if year.wet[at] or fate < 0.4 else "clear"
    return Sky(condition, round(float(temperature_c), 1))


@lru_cache(maxsize=256)
def _year(country: str, year: int, seed: int) -> _Year:
    climate = CLIMATES[country]
    letters = [ord(letter) for letter in country]
    rng = np.random.default_rng([seed, year & 0xFFFF, *letters])
    count = _SPIN_UP_DAYS + 366
    days = np.arange(-_SPIN_UP_DAYS, 366)
    angle = 2.0 * np.pi * (days - _COLDEST_DAY) / _DAYS_PER_YEAR
    winter = np.cos(angle)  # 1 in the coldest days: Europe's winters are wetter than its summers
    wet = np.zeros(count, dtype=np.bool_)
    residual = np.zeros(count)
    draws, shocks = rng.random(count), rng.normal(size=count)
    for day in range(1, count):
        after = climate.wet_after_wet if wet[day - 1] else climate.wet_after_dry
        wet[day] = draws[day] < after * (1.0 + 0.2 * winter[day])
        residual[day] = _PERSISTENCE * residual[day - 1] + 2.5 * shocks[day]
    mean_c = climate.mean_c - climate.swing_c * winter + residual - _WET_CHILL_C * wet
    kept = slice(_SPIN_UP_DAYS, None)
    return _Year(wet[kept], mean_c[kept], rng.random((366, 3)))
