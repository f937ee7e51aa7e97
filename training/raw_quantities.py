"""Raw quantities: what `shop.context_values` lists, counted for many past moments at once.

Equal to what `shop.features` counts for one moment, to the last bit: whole numbers are added as
whole numbers, and every division happens once, in float64, as there.

Shapes: B moments, F events of all moments, flat.
"""

import numpy as np
from numpy.typing import NDArray

from shop.context_values import LATELY_HOURS, LONGEST_DWELL_MS
from shop.events import EVENT_CODES, EventType, PromotionSeen
from shop.features import season_of
from training.histories import Remembered, Spans

_MS_PER_MINUTE, _MS_PER_HOUR = 60_000.0, 3_600_000.0
_MS_PER_DAY = 86_400_000
_LATELY_MS = LATELY_HOURS * _MS_PER_HOUR

Quantities = dict[str, NDArray[np.float64]]
"""[B] each, by the names of `shop.context_values`."""


def interaction_quantities(
    deeds: Remembered, spans: Spans, now_ms: NDArray[np.int64], session_ids: NDArray[np.int64]
) -> Quantities:
    """What interactions and the time tell. now_ms, session_ids [B]."""
    count = now_ms.size
    moment_of, at = spans.flat()
    codes, times = deeds.event_codes[at], deeds.times_ms[at]
    in_session = deeds.session_ids[at] == session_ids[moment_of]
    is_abandoned = codes == EVENT_CODES[EventType.ABANDON]
    is_late = is_abandoned & (now_ms[moment_of] - times <= _LATELY_MS)
    is_promoted = deeds.promotions[at] == PromotionSeen.PROMOTED

    def counted(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(moment_of[mask], minlength=count).astype(np.float64)

    total, told = counted(np.ones(at.size, np.bool_)), counted(deeds.promotions[at] > 0)
    of_session = _first_times(moment_of[in_session], times[in_session], now_ms)
    abandoned = _last_times(moment_of[is_abandoned], times[is_abandoned], now_ms)
    medians, pauses = _pauses(moment_of[in_session], times[in_session], count)
    season = _seasons(now_ms)
    return {
        "session_interactions": counted(in_session),
        "seconds_between": medians,
        "has_pause": (pauses > 0).astype(np.float64),
        "session_minutes": (now_ms - of_session) / _MS_PER_MINUTE,
        "abandoned_carts": counted(is_abandoned),
        "abandoned_lately": counted(is_late),
        "hours_since_abandoned": (now_ms - abandoned) / _MS_PER_HOUR,
        "hours_since_last": (now_ms - _last_times(moment_of, times, now_ms)) / _MS_PER_HOUR,
        "interactions": total,
        "purchases": counted(codes == EVENT_CODES[EventType.PURCHASE]),
        "is_cold": (total == 0).astype(np.float64),
        "promoted_share": _shares(counted(is_promoted), told),
        "promotions_told": told,
        "session_promoted": counted(is_promoted & in_session),
        "year_sin": season[:, 0],
        "year_cos": season[:, 1],
    }


def signal_quantities(
    signals: Remembered, spans: Spans, session_ids: NDArray[np.int64]
) -> Quantities:
    """What dwell and searches of the moment's session tell. session_ids [B]."""
    count = session_ids.size
    moment_of, at = spans.flat()
    kept = signals.session_ids[at] == session_ids[moment_of]
    moment_of, at = moment_of[kept], at[kept]
    amounts = signals.amounts[at]
    is_search = signals.event_codes[at] == EVENT_CODES[EventType.SEARCH]
    dwell_ms = np.minimum(amounts, LONGEST_DWELL_MS)[~is_search]
    dwells = np.bincount(moment_of[~is_search], minlength=count).astype(np.float64)
    # Sums of whole milliseconds below 2^53 are exact in float64, in any order.
    total_ms = np.bincount(moment_of[~is_search], weights=dwell_ms, minlength=count)
    return {
        "dwell_seconds": _shares(total_ms, dwells) / 1000.0,
        "dwells": dwells,
        "searches": np.bincount(moment_of[is_search], minlength=count).astype(np.float64),
        "dead_ends": np.bincount(moment_of[is_search & (amounts == 0)], minlength=count).astype(
            np.float64
        ),
    }


def _shares(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B] part / whole, 0 of nothing."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _first_times(
    moment_of: NDArray[np.int64], times_ms: NDArray[np.int64], otherwise: NDArray[np.int64]
) -> NDArray[np.int64]:
    """[B] the first of each moment's times, which come in order; `otherwise` [B] without any."""
    found = otherwise.copy()
    found[moment_of[::-1]] = times_ms[::-1]  # the last write wins
    return found


def _last_times(
    moment_of: NDArray[np.int64], times_ms: NDArray[np.int64], otherwise: NDArray[np.int64]
) -> NDArray[np.int64]:
    """[B] as `_first_times`, the last."""
    found = otherwise.copy()
    found[moment_of] = times_ms
    return found


def _pauses(
    moment_of: NDArray[np.int64], times_ms: NDArray[np.int64], moment_count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """[B] median pause in seconds, 0 without one, and [B] how many there are."""
    together = moment_of[1:] == moment_of[:-1]
    owners = moment_of[1:][together]
    pauses_s = np.diff(times_ms)[together] / 1000.0
    pauses_s = pauses_s[np.lexsort((pauses_s, owners))]
    counts = np.bincount(owners, minlength=moment_count)
    firsts = np.cumsum(counts) - counts
    found = counts > 0
    low = (firsts + (counts - 1) // 2)[found]
    high = (firsts + counts // 2)[found]
    medians = np.zeros(moment_count, dtype=np.float64)
    medians[found] = np.where(low == high, pauses_s[low], (pauses_s[low] + pauses_s[high]) / 2.0)
    return medians, counts


def _seasons(times_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    """[B, 2] the season's sine and cosine, which depend on the day alone: asked once a day."""
    days, day_of = np.unique(times_ms // _MS_PER_DAY, return_inverse=True)
    per_day = [season_of(int(day) * _MS_PER_DAY) for day in days]
    return np.array(per_day, dtype=np.float64).reshape(-1, 2)[day_of]
