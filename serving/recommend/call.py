"""Call: what one request carries through its stages, and what all of them depend on."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from serving.deadline import Clock, Deadline, StageTimes
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import Histories, ImpressionLog, LoadedRelease
from serving.recommend.request import Ask, Losses, Stage
from serving.recommend.settings import RecommendSettings
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
    popularity: Popularity = field(init=False)

    def __post_init__(self) -> None:
        tables = self.release.tables
        popularity = Popularity.of(
            tables.popular_rows, tables.popularity, tables.catalogue.category_codes
        )
        object.__setattr__(self, "popularity", popularity)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request under way."""

    ask: Ask
    deps: Deps
    deadline: Deadline
    losses: Losses
    times: StageTimes
    generator: np.random.Generator  # from the request id: the same id explores alike

    @staticmethod
    def of(ask: Ask, deps: Deps, deadline: Deadline) -> "Call":
        """A call that begins now."""
        seed = hashlib.blake2b(ask.request_id.encode(), digest_size=16).digest()
        generator = np.random.default_rng(int.from_bytes(seed, "big"))
        return Call(ask, deps, deadline, Losses(), StageTimes(deps.clock), generator)

    def within_s(self, budget_ms: float) -> float:
        """Seconds a stage with this budget may take now."""
        return self.deadline.within(budget_ms / 1000.0)

    def stage_ms(self) -> dict[str, float]:
        """Milliseconds per stage so far, and in total."""
        return self.times.by_stage() | {Stage.TOTAL.value: self.times.total_ms()}

    def missing_product_ids(self) -> tuple[str, ...]:
        """Products named in the request that the catalogue does not know, each once."""
        ask, known = self.ask, self.deps.release.tables.catalogue.row_of
        named = (
            *ask.context_product_ids,
            *ask.cart_product_ids,
            *(event.product_id for event in ask.recent_events),
            *sorted(ask.exclude_product_ids),
        )
        return tuple(dict.fromkeys(name for name in named if name not in known))

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Counts the time inside the block as this stage's."""
        with self.times.timed(stage.value):
            yield
