"""What one call asks and what it gets, after the codec and before it. Checked values, no protobuf."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shop.candidates import Candidates
from shop.features import Context
from shop.filters import Filter
from shop.offers import Offers
from shop.scoring import Scores


class Degradation(StrEnum):
    """Why an answer is less than it could be; the reason in the reply's `degraded`."""

    NO_HISTORY = "NO_HISTORY"
    FALLBACK_CANDIDATES = "FALLBACK_CANDIDATES"
    SOURCE_LOST = "SOURCE_LOST"
    STALE_PRICE = "STALE_PRICE"
    STALE_STOCK = "STALE_STOCK"
    DEFAULT_OFFER = "DEFAULT_OFFER"
    NO_RANKING = "NO_RANKING"


class Stage(StrEnum):
    """Stages of a request, as they are timed and named in the reply."""

    HISTORY = "history"
    FEATURES = "features"
    TOWER = "tower"
    CANDIDATES = "candidates"
    LOOKUPS = "lookups"
    RANKING = "ranking"
    SLATE = "slate"
    FEEDBACK = "feedback"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """An interaction of this session that the caller brings along because it is not logged yet."""

    event_code: int  # shop.events.EVENT_CODES
    product_id: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One checked request. Lists are tuples, every field is within its limits."""

    request_id: str
    shopper: str  # user_id, else visitor_id, else ""
    session_id: str
    context: Context
    page_size: int
    page: "Page | None"  # set when the caller asked for a further page
    recent_events: tuple[RecentEvent, ...]
    context_product_ids: tuple[str, ...]
    cart_product_ids: tuple[str, ...]
    exclude_product_ids: frozenset[str]
    filter: Filter | None
    strict_filtering: bool
    diversity: float
    explain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The rest of a list that was already ordered: later pages come from it, unchanged."""

    release: str
    expires_ms: int
    offset: int
    rows: NDArray[np.int64]  # [M] the whole order, as catalogue rows of `release`
    values: NDArray[np.float32]  # [M]


@dataclass(frozen=True, slots=True, eq=False)
class Slate:
    """The ordered list to show.  Shapes: K shown products, aligned columns."""

    rows: NDArray[np.int64]  # [K] catalogue rows
    at: NDArray[np.intp]  # [K] positions in the offers and scores of this call
    values: NDArray[np.float64]  # [K] expected value, minor units
    propensities: NDArray[np.float64]  # [K] probability of this product at this position
    explored: NDArray[np.bool_]  # [K]
    rules: tuple[tuple[str, ...], ...]  # [K] names of the rules that moved the product


@dataclass(slots=True)
class Losses:
    """Collects what a call had to do without. One per call; append-only."""

    found: list[tuple[str, Degradation]] = field(default_factory=list)

    def add(self, stage: Stage, reason: Degradation) -> None:
        """Note a loss once."""
        if (stage.value, reason) not in self.found:
            self.found.append((stage.value, reason))


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Everything the codec needs to write a reply."""

    ask: Ask
    release: str
    slate: Slate
    candidates: Candidates
    offers: Offers
    scores: Scores | None  # None: not ranked, retrieval order
    degraded: tuple[tuple[str, Degradation], ...]
    stage_ms: Mapping[str, float]
    next_page: Page | None
    missing_product_ids: tuple[str, ...]
    scored_count: int
    fallback: bool  # candidates came from a fallback source
