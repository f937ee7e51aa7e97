"""Service: what one replica holds, opened from settings and closed in reverse. It knows no Ray.

The door asks it three things: to make a list, to record events, and whether it has made a good list
yet.
"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from serving.adapters.feedback_log import FeedbackLog, open_feedback_log
from serving.adapters.history_store import HistoryStore
from serving.adapters.key_files import read_key, read_or_create_key
from serving.adapters.lmdb import LmdbHistories
from serving.adapters.log_segments import log_name
from serving.adapters.machine_rules import MachineRules
from serving.assist.pipeline import Assistant
from serving.assistants import open_assistant
from serving.caches import open_cache
from serving.codec import Decoder
from serving.context_feeds import follow_surroundings
from serving.deadline import Deadline
from serving.recommend.call import Deps
from serving.recommend.pipeline import recommend
from serving.recommend.ports import (
    EventReceipt,
    EventStore,
    Impression,
    ReleaseTables,
    ShopperEvent,
)
from serving.recommend.prices import PriceAnswer, PriceAsk, suggest
from serving.recommend.request import Answer, Ask, Degradation, Losses
from serving.recommend.rerank import RerankAnswer, RerankAsk, rerank
from serving.recommend.settings import StageBudgets
from serving.releases import Releases, fill_histories
from serving.rulebooks import RuleBooks
from serving.rules_sharing import RuleSharing, SharedRules
from serving.settings import Settings
from serving.shown_texts import follow_shown_texts
from serving.telemetry import Telemetry
from shop.features import Context

logger = logging.getLogger(__name__)

_RECORD_S = 2.0  # a sync takes milliseconds; a disk that needs longer is failing
_CANARY_S = 1.0  # the first calls load and compile: they are not held to the promise
_CANARY_EVERY_S = 0.25
_FIT_MS = 500  # 100 rules of a catalogue of a million: 0.3 s
_WARM_ROWS = 20_000  # of the most popular products; at 500 in 5 ms this takes 0.2 s
_WARM_AT_ONCE = 500
_MODELS_LOST = frozenset({Degradation.FALLBACK_CANDIDATES, Degradation.NO_RANKING})


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One replica's parts, ready to answer."""

    deps: Deps
    events: EventStore
    token_key: bytes
    telemetry: Telemetry
    is_sound: Callable[[], bool]  # False: only a new replica helps
    releases: Releases | None = None  # None: this release for ever
    rule_books: RuleBooks | None = None  # None: these rules for ever
    # A promoted release is ready in Triton already; one that needs longer is not.
    succeed_within_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    clock_offset_ms: int = 0  # the shop's clock minus this machine's
    texts: Mapping[str, str] = field(default_factory=dict)  # versions shown, by product id
    assistant: Assistant | None = None  # None: no question is answered here

    def now_ms(self) -> int:
        """The shop's time, Unix milliseconds."""
        return shop_now_ms(self.clock_offset_ms)

    @property
    def tables(self) -> ReleaseTables:
        """Of the release being served."""
        return self.deps.release.tables

    @property
    def release(self) -> str:
        """Its id."""
        return self.tables.release

    @property
    def budgets(self) -> StageBudgets:
        """How a call's time is shared out."""
        return self.deps.settings.budgets

    @property
    def decoder(self) -> Decoder:
        """Judges requests for this shop."""
        return Decoder(
            self.tables.catalogue.currency,
            self.token_key,
            self.now_ms,
            lambda: uuid.uuid4().hex,
            self.tables.schema.time_zone,
            self.clock_offset_ms,
            is_searchable=self.deps.release.search is not None,
        )

    async def recommend(
        self, ask: Ask, *, start_s: float, total_s: float, client_until_s: float = math.inf
    ) -> Answer:
        """A list, made within `total_s` of `start_s`, which is a time of `clock`."""
        return await recommend(ask, self.deps, self.deadline(start_s, total_s, client_until_s))

    async def rerank(
        self, ask: RerankAsk, *, start_s: float, total_s: float, client_until_s: float = math.inf
    ) -> RerankAnswer:
        """A list brought along, in order, within `total_s` of `start_s`, a time of `clock`."""
        return await rerank(ask, self.deps, self.deadline(start_s, total_s, client_until_s))

    async def suggest_prices(self, ask: PriceAsk, *, start_s: float, total_s: float) -> PriceAnswer:
        """Prices, suggested within `total_s` of `start_s`, which is a time of `clock`."""
        return await suggest(ask, self.deps, self.deadline(start_s, total_s))

    def deadline(
        self, start_s: float, total_s: float, client_until_s: float = math.inf
    ) -> Deadline:
        """Of a call that has `total_s` from `start_s` on, which is a time of `clock`."""
        return Deadline(
            self.clock,
            start_s=start_s,
            total_s=total_s,
            reserve_s=self.budgets.reserve_ms / 1000.0,
            client_until_s=client_until_s,
        )

    async def record(self, events: Sequence[ShopperEvent], *, within_s: float) -> EventReceipt:
        """Returns once every event is on disk, and counts in the next list."""
        return await self.events.record(events, timeout_s=min(within_s, _RECORD_S))

    async def of_next_release(self) -> "Service":
        """The same service on the next release, as soon as there is one that makes good lists."""
        if self.releases is None:
            await asyncio.Event().wait()
            raise ValueError("nothing sets this event")
        while True:
            successor = replace(self, deps=await self.releases.another())
            if self.rule_books is not None:
                await self.rule_books.fit(successor.deps)
            try:
                await asyncio.wait_for(successor.warm_up(), self.succeed_within_s)
            except TimeoutError:
                logger.error("%s makes no good lists; kept %s", successor.release, self.release)
                continue
            self.releases.take_over()
            self.telemetry.serves(successor.release)
            self.telemetry.watch_offers(successor.deps.offers)
            self.telemetry.watch_index(successor.deps.release.index)
            return successor

    async def follow_rules(self) -> None:
        """Puts a new rule book in force, if there is one; returns after having looked once."""
        if self.rule_books is None:
            await asyncio.Event().wait()
            raise ValueError("nothing sets this event")
        await self.rule_books.look(self.deps)

    async def warm_up(self) -> None:
        """Returns after a list made by both models, with every price asked. Tries until then."""
        await self._warm_offers()
        # Without the cache: a list from there says nothing of the models.
        deps = replace(self.deps, impressions=_NotLogged(), cache=None)
        unlogged = replace(self, deps=deps)
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

    async def _warm_offers(self) -> None:
        """Asks all prices and stock once: a product without a last known price is not shown."""
        rows = self.tables.popular_rows[:_WARM_ROWS]
        for start in range(0, rows.size, _WARM_AT_ONCE):
            await self.deps.offers.look_up(
                rows[start : start + _WARM_AT_ONCE],
                now_ms=self.now_ms(),
                within_s=_CANARY_S,
                losses=Losses(),
            )


def shop_now_ms(clock_offset_ms: int) -> int:
    """The time of a shop whose clock is so far from this machine's, Unix milliseconds."""
    return time.time_ns() // 1_000_000 + clock_offset_ms


class _NotLogged:
    """An `ImpressionLog` for lists that nobody was shown."""

    def put(self, impression: Impression) -> None:
        """Forgets it."""

    def note(self, event: ShopperEvent) -> None:
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

    Raises ReleaseRejected, RuleBookRejected, NotFound or SettingsRejected if it cannot be served.
    That Triton, Redis or a business system is not there yet is no reason: answers are degraded
    until it is.
    """
    release_key = read_key(settings.release_key_file)
    token_key = read_or_create_key(settings.token_key_file)
    async with AsyncExitStack() as stack:
        histories = await stack.enter_async_context(_open_histories(settings))
        await asyncio.to_thread(fill_histories, settings, release_key, histories)
        log = stack.enter_context(closing(_open_log(settings, histories)))
        surroundings = await stack.enter_async_context(follow_surroundings(settings))
        cache = await stack.enter_async_context(open_cache(settings))
        releases = Releases(settings, release_key, histories, log, surroundings, cache)
        stack.push_async_callback(releases.close)
        telemetry = Telemetry()
        telemetry.watch_feedback(log)
        telemetry.watch_cache(cache)
        deps = await releases.first()
        telemetry.serves(deps.release.tables.release)
        telemetry.watch_offers(deps.offers)
        telemetry.watch_index(deps.release.index)
        telemetry.watch_surroundings(surroundings)
        shop_clock = partial(shop_now_ms, settings.clock_offset_ms)
        sharing = stack.enter_context(_sharing(settings))
        rule_books = RuleBooks(settings, telemetry, shop_clock, sharing)
        await rule_books.open(deps)
        yield Service(
            deps,
            log,
            token_key,
            telemetry,
            is_sound=lambda: log.is_writing,
            releases=releases,
            rule_books=rule_books,
            clock_offset_ms=settings.clock_offset_ms,
            texts=await stack.enter_async_context(follow_shown_texts(settings)),
            assistant=await stack.enter_async_context(open_assistant(settings)),
        )


@asynccontextmanager
async def _open_histories(settings: Settings) -> AsyncIterator[HistoryStore]:
    max_shoppers = settings.feedback.max_shoppers
    if settings.histories.store == "redis":
        # Only here: the library takes a tenth of a second and memory that nobody else needs.
        from serving.adapters.redis import RedisHistories

        name = log_name(settings.feedback_dir)
        histories = RedisHistories(settings.redis, log=name, max_shoppers=max_shoppers)
        try:
            yield histories
        finally:
            await histories.aclose()
    else:
        map_bytes = settings.feedback.history_map_bytes
        with closing(
            LmdbHistories(settings.histories_dir, map_bytes=map_bytes, max_shoppers=max_shoppers)
        ) as lmdb_histories:
            yield lmdb_histories


@contextmanager
def _sharing(settings: Settings) -> Iterator[RuleSharing | None]:
    """None for one replica alone: there is nobody to agree with."""
    if settings.rules.store == "file":
        alone = settings.door.replicas == 1
        yield None if alone else _sharing_by(MachineRules(settings.machine_rules_file), settings)
        return
    from serving.adapters.redis_rules import RedisRules  # as above

    with closing(RedisRules(settings.redis)) as rules:
        yield _sharing_by(rules, settings)


def _sharing_by(rules: SharedRules, settings: Settings) -> RuleSharing:
    # Two looks of whoever just missed it, and the time to read and fit a book.
    lead_ms = round(settings.rules.look_every_s * 2_000.0) + _FIT_MS
    return RuleSharing(
        rules,
        settings.offered_rules_file,
        lambda: time.time_ns() // 1_000_000,
        lead_ms=lead_ms,
    )


def _open_log(settings: Settings, histories: HistoryStore) -> FeedbackLog:
    return open_feedback_log(settings.feedback_dir, histories, settings.feedback)
