"""Service: what one replica holds, opened from settings and closed in reverse. It knows no Ray.

The door asks it three things: to make a list, to record events, and whether it has made a good list
yet.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

from serving.adapters.business import GrpcInventory, GrpcPricing, GrpcPromotions
from serving.adapters.faiss import FaissIndex, load_index
from serving.adapters.feedback_log import FeedbackLog, open_feedback_log
from serving.adapters.key_files import read_key, read_or_create_key
from serving.adapters.lmdb import LmdbHistories
from serving.adapters.release_files import current_release, load_tables, verify_release
from serving.adapters.triton import TritonModels
from serving.codec import Decoder
from serving.deadline import Deadline
from serving.recommend.call import Deps
from serving.recommend.lookups import OfferCache
from serving.recommend.pipeline import recommend
from serving.recommend.ports import (
    BusinessSystems,
    EventReceipt,
    EventStore,
    Impression,
    LoadedRelease,
    ReleaseTables,
    ShopperEvent,
)
from serving.recommend.request import Answer, Ask, Degradation
from serving.recommend.settings import StageBudgets
from serving.settings import Settings
from serving.telemetry import Telemetry
from shop.features import Context
from shop.release import HISTORIES_FILE, Manifest

logger = logging.getLogger(__name__)

_RECORD_S = 2.0  # a sync takes milliseconds; a disk that needs longer is failing
_CANARY_S = 1.0  # the first calls load and compile: they are not held to the promise
_CANARY_EVERY_S = 0.25
_MODELS_LOST = frozenset({Degradation.FALLBACK_CANDIDATES, Degradation.NO_RANKING})


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One replica's parts, ready to answer."""

    deps: Deps
    events: EventStore
    token_key: bytes
    telemetry: Telemetry
    is_sound: Callable[[], bool]  # False: only a new replica helps
    clock: Callable[[], float] = time.monotonic
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    @property
    def tables(self) -> ReleaseTables:
        """Of the release being served."""
        return self.deps.release.tables

    @property
    def budgets(self) -> StageBudgets:
        """How a call's time is shared out."""
        return self.deps.settings.budgets

    @property
    def decoder(self) -> Decoder:
        """Judges requests for this shop."""
        return Decoder(
            self.tables.catalogue.currency, self.token_key, self.now_ms, lambda: uuid.uuid4().hex
        )

    async def recommend(self, ask: Ask, *, start_s: float, total_s: float) -> Answer:
        """A list, made within `total_s` of `start_s`, which is a time of `clock`."""
        deadline = Deadline(
            self.clock,
            start_s=start_s,
            total_s=total_s,
            reserve_s=self.budgets.reserve_ms / 1000.0,
        )
        return await recommend(ask, self.deps, deadline)

    async def record(self, events: Sequence[ShopperEvent], *, within_s: float) -> EventReceipt:
        """Returns once every event is on disk and counts in the next list."""
        return await self.events.record(events, timeout_s=min(within_s, _RECORD_S))

    async def warm_up(self) -> None:
        """Returns after a list made by both models. Tries until then."""
        unlogged = replace(self, deps=replace(self.deps, impressions=_NotLogged()))
        said: tuple[str, ...] = ()
        while True:
            answer = await unlogged.recommend(
                _canary(self.now_ms()), start_s=self.clock(), total_s=_CANARY_S
            )
            lost = tuple(sorted({reason.value for _, reason in answer.degraded}))
            if not _MODELS_LOST & {reason for _, reason in answer.degraded}:
                logger.info("warm: release %s", answer.release)
                return
            if lost != said:
                logger.warning("not warm yet, lists lack %s", ", ".join(lost))
                said = lost
            await asyncio.sleep(_CANARY_EVERY_S)


class _NotLogged:
    """An `ImpressionLog` for lists that nobody was shown."""

    def put(self, impression: Impression) -> None:
        """Forgets it."""


def _canary(now_ms: int) -> Ask:
    return Ask(
        request_id="canary",
        shopper="",
        session_id="",
        context=Context(now_ms=now_ms, utc_offset_minutes=0, placement="home"),
        page_size=20,
        page=None,
        recent_events=(),
        context_product_ids=(),
        cart_product_ids=(),
        exclude_product_ids=frozenset(),
        filter=None,
        strict_filtering=False,
        diversity=0.0,
        explain=False,
    )


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """A service on the real systems, with the current release.

    Raises ReleaseRejected, NotFound or SettingsRejected if it cannot be served. That Triton or a
    business system is not there yet is no reason: answers are degraded until it is.
    """
    release_folder = settings.releases_dir / current_release(settings.releases_dir)
    manifest = verify_release(release_folder, read_key(settings.release_key_file))
    tables = load_tables(release_folder, manifest)
    async with AsyncExitStack() as stack:
        histories = stack.enter_context(closing(_open_histories(settings)))
        taken = histories.import_histories(
            release_folder / HISTORIES_FILE, source=manifest.snapshot
        )
        logger.info("histories: took in %d shoppers of %s", taken, manifest.snapshot)
        log = stack.enter_context(closing(_open_log(settings, histories)))
        release = await _load_models(stack, settings, release_folder, manifest, tables)
        systems = await _open_systems(stack, settings, tables.catalogue.currency)
        offers = OfferCache(tables.catalogue, systems, settings.recommend.offers, time.monotonic)
        stack.push_async_callback(offers.close)
        telemetry = Telemetry()
        telemetry.serves(tables.release)
        telemetry.watch_feedback(log)
        deps = Deps(histories, release, offers, log, settings.recommend, time.monotonic)
        token_key = read_or_create_key(settings.token_key_file)
        yield Service(
            deps,
            log,
            token_key,
            telemetry,
            is_sound=lambda: log.is_writing,
            now_ms=lambda: time.time_ns() // 1_000_000 + settings.clock_offset_ms,
        )


def _open_histories(settings: Settings) -> LmdbHistories:
    return LmdbHistories(
        settings.histories_dir,
        map_bytes=settings.feedback.history_map_bytes,
        max_shoppers=settings.feedback.max_shoppers,
    )


def _open_log(settings: Settings, histories: LmdbHistories) -> FeedbackLog:
    return open_feedback_log(settings.feedback_dir, histories, settings.feedback)


async def _load_models(
    stack: AsyncExitStack,
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    tables: ReleaseTables,
) -> LoadedRelease:
    index: FaissIndex = stack.enter_context(
        closing(
            load_index(
                folder,
                manifest,
                row_count=tables.catalogue.product_count + 1,
                vector_size=tables.schema.vector_size,
            )
        )
    )
    models = TritonModels(
        settings.triton.address,
        release=tables.release,
        version=tables.version,
        schema=tables.schema,
    )
    stack.push_async_callback(models.close)
    return LoadedRelease(tables, models, models, index)


async def _open_systems(
    stack: AsyncExitStack, settings: Settings, currency: str
) -> BusinessSystems:
    inventory = GrpcInventory(settings.business.inventory)
    pricing = GrpcPricing(settings.business.pricing, currency=currency)
    promotions = GrpcPromotions(settings.business.promotions)
    for system in (inventory, pricing, promotions):
        stack.push_async_callback(system.close)
    return BusinessSystems(inventory, pricing, promotions)
