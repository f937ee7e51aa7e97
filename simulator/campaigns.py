"""Campaigns: which product is reduced by how much at what time, from its id and the seed alone.

The world's past and the running promotion system both ask here, so they agree, and so does any
other catalogue that is put behind the promotion system. Each product has its own week; about one
week in ten it is reduced.

Shapes: N products.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

REDUCED_SHARE = 0.10
PERCENTS = np.array([10.0, 15.0, 20.0, 30.0, 40.0])
_MS_PER_DAY = 86_400_000
_WEEK_DAYS = 7


def product_keys(product_ids: Iterable[str]) -> NDArray[np.uint64]:
    """[N] one stable number per product id."""
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(pid.encode(), digest_size=8).digest(), "little")
            for pid in product_ids
        ],
        dtype=np.uint64,
    )


def percent_off(
    keys: NDArray[np.uint64], time_ms: NDArray[np.int64] | int, seed: int
) -> NDArray[np.float64]:
    """Percent taken off the list price, 0 where no campaign runs. Broadcasts keys and times."""
    draw = even_bits(keys, campaign_weeks(keys, time_ms), seed)
    share = (draw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.where(
        share < REDUCED_SHARE, PERCENTS[(draw % np.uint64(PERCENTS.size)).astype(np.intp)], 0.0
    )


def campaign_weeks(keys: NDArray[np.uint64], time_ms: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """The number of the product's own campaign week; weeks begin on different days."""
    first_day = (keys % np.uint64(_WEEK_DAYS)).astype(np.int64)
    return (np.asarray(time_ms) // _MS_PER_DAY + first_day) // _WEEK_DAYS


def even_bits(keys: NDArray[np.uint64], weeks: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64's finaliser over key, week and seed: even bits without a generator for each key.

    Broadcasts keys and weeks.
    """
    with np.errstate(over="ignore"):  # wrapping round is what the mixing is made of
        z = keys + weeks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = z + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
