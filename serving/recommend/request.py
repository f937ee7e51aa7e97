"""What one call asks and what it gets: checked values, no protobuf."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shop.candidates import Candidates
from shop.events import PromotionSeen
from shop.features import Context
from shop.filters import Filter
from shop.merchandising import Boost, Promotion
from shop.offers import Offers
from shop.scoring import Scores
from shop.slate import Slate
from shop.tokens import Page, request_fingerprint

if TYPE_CHECKING:
    from serving.recommend.search import Search  # which needs the ask of this module


class Degradation(StrEnum):
    """Why an answer is less than it could be; the reason in the reply's `degraded`."""

    NO_HISTORY = "NO_HISTORY"
    FALLBACK_CANDIDATES = "FALLBACK_CANDIDATES"
    SOURCE_LOST = "SOURCE_LOST"
    PARTIAL_INDEX = "PARTIAL_INDEX"  # a part of the index was lost; `searched_share` says how much
    NO_USER_VECTOR = "NO_USER_VECTOR"  # a list brought along was ranked without the user tower
    FILTER_LATE = "FILTER_LATE"
    STALE_PRICE = "STALE_PRICE"
    STALE_STOCK = "STALE_STOCK"
    DEFAULT_OFFER = "DEFAULT_OFFER"
    NO_RANKING = "NO_RANKING"
    STALE_COMPETITORS = "STALE_COMPETITORS"
    STALE_DEMAND = "STALE_DEMAND"
    STALE_CALENDAR = "STALE_CALENDAR"
    STALE_WEATHER = "STALE_WEATHER"
    STALE_TRENDS = "STALE_TRENDS"
    NO_TEXT_ENCODER = "NO_TEXT_ENCODER"
    NO_LEXICAL = "NO_LEXICAL"
    RELAXED_SEARCH = "RELAXED_SEARCH"


class CacheStatus(StrEnum):
    """What the cache did for a list; `cache_status` in the reply."""

    HIT = "HIT"  # nothing was searched or ranked
    PARTIAL = "PARTIAL"  # nothing was searched; what changed materially was ranked anew
    MISS = "MISS"
    BYPASS = "BYPASS"  # not asked: a further page, an explanation, or no cache


class Stage(StrEnum):
    """Stages of a request in their order, as they are timed and named in the reply."""

    QUERY = "query"
    HISTORY = "history"
    FEATURES = "features"
    CACHE = "cache"
    TOWER = "tower"
    CANDIDATES = "candidates"
    LOOKUPS = "lookups"
    RANKING = "ranking"
    SLATE = "slate"
    FEEDS = "feeds"
    PRICING = "pricing"
    TOTAL = "total"

    @classmethod
    def ordered(cls, names: Iterable[str]) -> tuple[str, ...]:
        """The names each once, as a request comes by them: a reply's map has no order."""
        there = set(names)
        return tuple(stage.value for stage in cls if stage.value in there)


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """An interaction of this session that the caller brings along because it is not logged yet."""

    event_code: int  # shop.events.EVENT_CODES
    product_id: str  # "" for a search
    time_ms: int
    promotion: PromotionSeen = PromotionSeen.NOT_TOLD
    amount: int | None = None  # of a signal, see shop.events.signal_amount; None = not told


@dataclass(frozen=True, slots=True)
class Ask:
    """One checked request. Lists are tuples, every field is within its limits."""

    request_id: str
    shopper: str  # user_id, else visitor_id, else ""
    session_id: str
    context: Context
    page_size: int
    page: Page | None  # from `shop.tokens.decode_page`, when the caller asked for a further page
    recent_events: tuple[RecentEvent, ...]
    context_product_ids: tuple[str, ...]
    cart_product_ids: tuple[str, ...]
    exclude_product_ids: frozenset[str]
    filter: Filter | None
    strict_filtering: bool
    diversity: float
    explain: bool
    boosts: tuple[Boost, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    return_fields: frozenset[str] = frozenset()  # of a product in the reply; none = all
    query: str = ""  # of the search placement
    preview: bool = False  # the shopper will not see it: nothing is logged

    def not_among(self, known: Collection[str]) -> tuple[str, ...]:
        """Products named in the request that are not in `known`, each once."""
        named = (
            *self.context_product_ids,
            *self.cart_product_ids,
            *(event.product_id for event in self.recent_events),
            *sorted(self.exclude_product_ids),
        )
        return tuple(dict.fromkeys(name for name in named if name not in known))

    def fingerprint(self) -> bytes:
        """What must stay the same from page to page."""
        return request_fingerprint(
            placement=self.context.placement,
            shopper=self.shopper,
            filter_text="" if self.filter is None else self.filter.text,
            strict=self.strict_filtering,
            wishes=(
                *(f"boost {boost.factor!r} {boost.filter.text}" for boost in self.boosts),
                *(f"promote {each.percent!r} {each.filter.text}" for each in self.promotions),
                *((f"query {self.query}",) if self.query else ()),
            ),
        )


@dataclass(slots=True)
class Losses:
    """Collects what a call had to do without. One per call; append-only."""

    found: list[tuple[str, Degradation]] = field(default_factory=list)
    searched_share: float = 1.0  # of the products, in the search that saw the least of them

    def searched(self, stage: Stage, share: float) -> None:
        """Note that a search saw only this share of the products."""
        self.searched_share = min(self.searched_share, share)
        self.add(stage, Degradation.PARTIAL_INDEX)

    def add(self, stage: Stage, reason: Degradation) -> None:
        """Note a loss once."""
        if (stage.value, reason) not in self.found:
            self.found.append((stage.value, reason))


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a list owes to the cache."""

    status: CacheStatus = CacheStatus.BYPASS
    age_ms: int = 0  # since what was kept was found


NO_USE = CacheUse()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Everything the codec needs to write a reply.

    Shapes: K shown products, N looked up, S sources.
    """

    ask: Ask
    release: str
    first_position: int  # 1 on the first page; where in the whole order this page begins
    slate: Slate  # K products
    candidates: Candidates  # N; a further page no longer knows its sources' scores: all are NaN
    proposed: NDArray[np.bool_]  # [N, S] which sources proposed the product
    offers: Offers  # N
    scores: Scores | None  # N; None: not ranked, or a further page
    degraded: tuple[tuple[str, Degradation], ...]  # stage and reason
    stage_ms: Mapping[str, float]
    next_page: Page | None
    missing_product_ids: tuple[str, ...]
    scored_count: int
    fallback: bool  # candidates came from a fallback source
    relaxed: tuple[str, ...] = ()  # conditions of the filter that not all shown products meet
    search: "Search | None" = None  # how its query was understood
    cache: CacheUse = NO_USE
    searched_share: float = 1.0  # of the products, where PARTIAL_INDEX is among `degraded`

    @property
    def ranked(self) -> bool:
        """Whether the order is by expected value. Otherwise it is retrieval's, and no worth."""
        return all(reason is not Degradation.NO_RANKING for _, reason in self.degraded)
