"""Searches: what shoppers type before a list of results, and where it leads nowhere.

Shapes: S sessions of one day.
"""

import numpy as np
from numpy.typing import NDArray

from shop.events import EVENT_CODES, EventType
from simulator.event_columns import EventColumns
from simulator.sessions import Sessions
from simulator.showing import PLACEMENTS

SEARCH_PLACE = PLACEMENTS.index("search")
_MOST_RESULTS = 400
_ANSWER_MS = 300  # from a search to its list


def dead_ends(sessions: Sessions, rng: np.random.Generator) -> EventColumns:
    """The searches without results that some sessions begin with; their first list comes later."""
    at = np.flatnonzero(sessions.when.dead_end)
    found = _searches(sessions, at, np.zeros(at.size, dtype=np.int64))
    sessions.clock_ms[at] += rng.integers(3_000, 20_000, at.size)
    return found


def answered_searches(
    sessions: Sessions, at: NDArray[np.intp], rng: np.random.Generator
) -> EventColumns:
    """What the sessions `at` search before they are shown a list of results."""
    found = _searches(sessions, at, rng.integers(1, _MOST_RESULTS, at.size))
    sessions.clock_ms[at] += _ANSWER_MS
    return found


def _searches(sessions: Sessions, at: NDArray[np.intp], results: NDArray[np.int64]) -> EventColumns:
    nothing = np.zeros(at.size, dtype=np.int64)
    return EventColumns(
        times_ms=sessions.clock_ms[at],
        shoppers=sessions.shoppers[at].astype(np.int32),
        sessions=sessions.ids[at],
        requests=nothing,
        products=nothing.astype(np.int32),
        codes=np.full(at.size, EVENT_CODES[EventType.SEARCH], dtype=np.int8),
        placements=np.full(at.size, SEARCH_PLACE, dtype=np.int8),
        positions=nothing.astype(np.int16),
        quantities=nothing.astype(np.int32),
        price_minor=nothing,
        discounts=nothing.astype(np.float32),
        devices=sessions.when.device[at].astype(np.int8),
        amounts=results.astype(np.int32),
    )
