"""Reference: the same pipeline in this process, with an exact search in float64 and no deadline.

Everything else (histories, prices, stock, rules, seeds) is what the running stack has, so that a
difference between its lists and these is the price of approximate search, Triton and haste.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.benchmarks.in_process import ExactIndex, InProcessModels
from loadtest.current import current_folder, current_manifest
from serving.adapters.business import open_business_systems
from serving.adapters.feedback_log import FeedbackSettings
from serving.adapters.lmdb import LmdbHistories
from serving.adapters.memory import MemoryImpressionLog
from serving.adapters.memory_feeds import MemoryCalendar, MemoryCompetitors, MemoryDemand
from serving.adapters.release_files import load_tables
from serving.codec import Decoder
from serving.deadline import Deadline
from serving.proto import recommendations_pb2 as pb
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import OfferCache
from serving.recommend.pipeline import recommend
from serving.recommend.ports import LoadedRelease
from serving.recommend.request import Answer
from serving.recommend.settings import OfferSettings, RecommendSettings, StageBudgets
from serving.stack.folder import StackState
from shop.release import VECTORS_FILE
from shop.scoring import ValueWeights

_PATIENT_MS = 5_000.0
_PATIENT = StageBudgets(
    total_ms=8 * _PATIENT_MS,
    history_ms=_PATIENT_MS,
    tower_ms=_PATIENT_MS,
    index_ms=_PATIENT_MS,
    lookups_ms=_PATIENT_MS,
    ranking_ms=_PATIENT_MS,
    reserve_ms=1.0,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """Where to find what the running stack uses."""

    state_dir: Path
    stack: StackState
    clock_offset_ms: int

    async def lists(
        self, requests: Sequence[pb.RecommendRequest], *, value: ValueWeights | None = None
    ) -> list[Answer]:
        """One answer per request, ordered by `value` (None: by the settings' own)."""
        folder, manifest = current_folder(self.state_dir), current_manifest(self.state_dir)
        tables = load_tables(folder, manifest)
        models = InProcessModels(folder)
        index = ExactIndex.load(folder / VECTORS_FILE)
        own = RecommendSettings()
        settings = replace(
            own,
            budgets=_PATIENT,
            value=value or own.value,
            offers=_patient(own.offers),
        )
        feedback = FeedbackSettings()
        histories = LmdbHistories(
            self.state_dir / "histories.lmdb",
            map_bytes=feedback.history_map_bytes,
            max_shoppers=feedback.max_shoppers,
        )
        currency = tables.catalogue.currency
        release = LoadedRelease(tables, models, models, index)
        decoder = Decoder(currency, bytes(32), self.now_ms, lambda: "none")
        nothing = PriceFeeds(MemoryCompetitors(), MemoryDemand(), MemoryCalendar())  # never asked
        feeds = FeedCache(tables.catalogue, nothing, settings.pricing, time.monotonic)
        async with AsyncExitStack() as stack:
            stack.callback(histories.close)
            systems = open_business_systems(stack, self.stack.addresses, currency=currency)
            offers = OfferCache(tables.catalogue, systems, settings.offers, time.monotonic)
            stack.push_async_callback(offers.close)
            log = MemoryImpressionLog()
            deps = Deps(histories, release, offers, log, settings, time.monotonic, feeds)
            return [await _one(request, decoder, deps) for request in requests]

    def now_ms(self) -> int:
        """The shop's time."""
        return time.time_ns() // 1_000_000 + self.clock_offset_ms


def _patient(own: OfferSettings) -> OfferSettings:
    systems = ("stock", "price", "promotion", "cost", "supply")
    return replace(
        own, **{name: replace(getattr(own, name), ask_ms=_PATIENT_MS) for name in systems}
    )


async def _one(request: pb.RecommendRequest, decoder: Decoder, deps: Deps) -> Answer:
    deadline = Deadline(
        time.monotonic, start_s=time.monotonic(), total_s=_PATIENT.total_ms / 1e3, reserve_s=0.001
    )
    return await recommend(decoder.ask(request), deps, deadline)
