"""Context values: every number about a shopper and a visit, defined once for gateway and training.

Who computes them counts the raw quantities; `finished` alone makes model inputs of them: clipped,
then log1p where the table says so. A quantity that is not known is 0, and `known_by` names the
value that tells "nothing known" from a true 0. "Session" values look at what carries the session
of the call, the others at all that a history keeps (`shop.events.HISTORY_LIMIT`).

Sources: I = interactions of the history, S = its signals (dwell, searches), T = times alone.

Shapes: V context values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shop.events import HISTORY_LIMIT, SIGNAL_LIMIT

LONGEST_PAUSE_S = 1_800.0  # half an hour without a deed ends a session in web analytics
LONGEST_DWELL_MS = 1_800_000
LATELY_HOURS = 14 * 24.0  # how long an abandoned cart counts as lately
_TWO_YEARS_HOURS = 17_520.0


@dataclass(frozen=True, slots=True)
class ContextValue:
    """One value: its raw quantity, the range it is clipped to, and how it is shown to models."""

    name: str
    raw: str  # the quantity and its unit
    source: str  # I, S or T
    least: float
    most: float
    is_logged: bool = True  # log1p after clipping
    known_by: str = ""  # the value that is 0 where this one is not known; "" = always known


def _counted(name: str, raw: str, source: str = "I", most: float = HISTORY_LIMIT) -> ContextValue:
    return ContextValue(name, raw, source, 0.0, most)


def _indicator(name: str, raw: str, source: str = "I") -> ContextValue:
    return ContextValue(name, raw, source, 0.0, 1.0, is_logged=False)


VALUES = (
    _counted("session_interactions", "interactions of this session"),
    ContextValue(  # browsing speed
        "seconds_between",
        "median pause between this session's interactions, seconds",
        "I",
        0.0,
        LONGEST_PAUSE_S,
        known_by="has_pause",
    ),
    _counted("abandoned_carts", "products left in a cart"),
    ContextValue(
        "hours_since_last",
        "hours since the last interaction",
        "I",
        0.0,
        _TWO_YEARS_HOURS,
        known_by="interactions",
    ),
    _counted("interactions", "interactions kept"),
    _counted("purchases", "products bought"),
    _indicator("is_cold", "1 for a shopper without interactions"),
    ContextValue("year_sin", "season, from the day of the year", "T", -1.0, 1.0, is_logged=False),
    ContextValue("year_cos", "season, from the day of the year", "T", -1.0, 1.0, is_logged=False),
    _indicator("has_pause", "1 with two interactions in this session"),
    ContextValue(
        "session_minutes",
        "minutes since this session's first interaction",
        "I",
        0.0,
        24 * 60.0,
        known_by="session_interactions",
    ),
    _counted("abandoned_lately", "products left in a cart within LATELY_HOURS"),
    ContextValue(
        "hours_since_abandoned",
        "hours since a product was last left in a cart",
        "I",
        0.0,
        _TWO_YEARS_HOURS,
        known_by="abandoned_carts",
    ),
    ContextValue(  # taste for promotions
        "promoted_share",
        "share of interactions with products reduced then, of those that tell",
        "I",
        0.0,
        1.0,
        is_logged=False,
        known_by="promotions_told",
    ),
    _counted("promotions_told", "interactions that tell whether the product was reduced"),
    _counted("session_promoted", "interactions of this session with reduced products"),
    ContextValue(
        "dwell_seconds",
        "mean time on a product page in this session, seconds",
        "S",
        0.0,
        LONGEST_DWELL_MS / 1000.0,
        known_by="dwells",
    ),
    _counted("dwells", "product pages of this session whose dwell is known", "S", SIGNAL_LIMIT),
    _counted("searches", "searches of this session", "S", SIGNAL_LIMIT),
    _counted("dead_ends", "searches of this session that found nothing", "S", SIGNAL_LIMIT),
)
NAMES = tuple(value.name for value in VALUES)  # [V]
# What only a storefront that says so lets us know. Training hides them now and then, so that models
# do well for the others too. Visits without dwell or searches need none: logs are full of them.
MAY_BE_UNTOLD = ("promoted_share", "promotions_told", "session_promoted")
_LEAST = np.array([value.least for value in VALUES])
_MOST = np.array([value.most for value in VALUES])
_IS_LOGGED = np.array([value.is_logged for value in VALUES])


def finished(raw: NDArray[np.float64]) -> NDArray[np.float32]:
    """[..., V] model inputs from raw quantities [..., V] in the order of VALUES."""
    clipped = np.minimum(np.maximum(raw, _LEAST), _MOST)
    # log1p of a season's -1 would be -inf: those columns get a harmless 0 instead and are not used.
    logged = np.log1p(np.where(_IS_LOGGED, clipped, 0.0))
    return np.where(_IS_LOGGED, logged, clipped).astype(np.float32)
