"""Call: what one request carries through its stages, and what all of them depend on."""

import hashlib
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from serving.deadline import Clock, Deadline, StageTimes
from serving.recommend.cache import RankingCache
from serving.recommend.cache_key import Keys
from serving.recommend.feeds import FeedCache
from serving.recommend.filter_masks import FilterMasks
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import Histories, ImpressionLog, LoadedRelease
from serving.recommend.request import Ask, Degradation, Losses, Stage
from serving.recommend.rules import RulesInForce
from serving.recommend.search import Search, understood
from serving.recommend.settings import RecommendSettings
from serving.recommend.surroundings import Surroundings
from shop.active_rules import ActiveRules
from shop.blend_policies import Warmth
from shop.popularity import Popularity


@dataclass(frozen=True, slots=True, eq=False)
class Deps:
    """Everything a call leans on. Made anew for every release and swapped as one reference."""

    histories: Histories
    release: LoadedRelease
    offers: OfferCache  # of this release
    impressions: ImpressionLog
    settings: RecommendSettings
    clock: Clock
    feeds: FeedCache  # of this release
    rules: RulesInForce = field(default_factory=RulesInForce)  # of this release
    surroundings: Surroundings = field(default_factory=lambda: Surroundings(time.monotonic))
    cache: RankingCache | None = None  # of all releases; None: every list is worked out anew
    popularity: Popularity = field(init=False)
    product_warmth: NDArray[np.float32] = field(init=False)  # [R]
    filter_masks: FilterMasks = field(init=False)
    keys: Keys = field(init=False)  # under which the cache knows this release's rankings

    def __post_init__(self) -> None:
        tables = self.release.tables
        popularity = Popularity.of(
            tables.popular_rows, tables.popularity, tables.catalogue.category_codes
        )
        object.__setattr__(self, "popularity", popularity)
        warmth = Warmth.of_products(tables.sources.wishes, self.settings.blend.weights)
        object.__setattr__(self, "product_warmth", warmth)
        masks = FilterMasks(tables.catalogue, self.offers, ttl_ms=self.settings.offers.price.ttl_ms)
        object.__setattr__(self, "filter_masks", masks)
        keys = Keys(tables.release, tables.version, self.settings.quotas)
        object.__setattr__(self, "keys", keys)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request under way."""

    ask: Ask
    deps: Deps
    deadline: Deadline
    losses: Losses
    times: StageTimes
    # From the request id, so that the same id explores alike, whether or not its candidates were
    # kept: what draws candidates has a generator of its own.
    generator: np.random.Generator
    # Rows to leave out: what the caller named, and what the page or the cart shows anyway.
    excluded_rows: NDArray[np.int64]
    rules: ActiveRules | None  # of the book in force when the call began; None: no rule is for it
    search: Search | None = None  # where the call has a query: `ask` is held to its constraints

    @staticmethod
    def of(ask: Ask, deps: Deps, deadline: Deadline) -> "Call":
        """A call that begins now."""
        times, losses = StageTimes(deps.clock), Losses()
        return Call(
            ask,
            deps,
            deadline,
            losses,
            times,
            _generator(ask.request_id),
            _excluded_rows(ask, deps),
            deps.rules.for_call(ask, deps.surroundings, losses),
        )

    async def with_query(self) -> "Call":
        """The same call inside what its query asks for; itself if there is none.

        Rules stay as asked: a search for lamps is no category page.
        """
        if not self.ask.query:
            return self
        with self.timed(Stage.QUERY):
            parts, masks = self.deps.release.search, self.deps.filter_masks
            ask, search = await understood(self.ask, parts, masks, self.excluded_rows)
        if search.is_dead_end:
            self.losses.add(Stage.QUERY, Degradation.RELAXED_SEARCH)
        return replace(self, ask=ask, search=search)

    def within_s(self, budget_ms: float) -> float:
        """Seconds a stage with this budget may take now."""
        return self.deadline.within(budget_ms / 1000.0)

    def stage_ms(self) -> dict[str, float]:
        """Milliseconds per stage so far, and in total."""
        return self.times.by_stage() | {Stage.TOTAL.value: self.times.total_ms()}

    def pool_generator(self) -> np.random.Generator:
        """Draws what there is to explore. From the request id too, but for another purpose."""
        return _generator(f"{self.ask.request_id} pool")

    def missing_product_ids(self) -> tuple[str, ...]:
        """Products named in the request that the catalogue does not know, each once."""
        return self.ask.not_among(self.deps.release.tables.catalogue.row_of)

    def begun(self, stage: Stage) -> AbstractContextManager[None]:
        """As `timed`, for a stage that is only begun while the client waits for what it makes.

        Raises DependencyTimeout.
        """
        self.deadline.check_client_waits()
        return self.times.timed(stage.value)

    def timed(self, stage: Stage) -> AbstractContextManager[None]:
        """Counts the time inside the block as this stage's."""
        return self.times.timed(stage.value)


def _excluded_rows(ask: Ask, deps: Deps) -> NDArray[np.int64]:
    ids = [*ask.exclude_product_ids, *ask.context_product_ids, *ask.cart_product_ids]
    known = deps.release.tables.catalogue.row_of
    return np.array(sorted({known[each] for each in ids if each in known}), dtype=np.int64)


def _generator(seed: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(_Digest(seed)))  # type: ignore[arg-type]  # numpy takes any ISeedSequence


class _Digest(ISeedSequence):
    """A text's digest as a seed. numpy's own spreads weak seeds out, for 15 µs a call."""

    def __init__(self, text: str) -> None:
        self._words = hashlib.blake2b(text.encode(), digest_size=32).digest()

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """The first words of the digest: PCG64 asks for all four."""
        return np.frombuffer(self._words, dtype=dtype)[:n_words]
