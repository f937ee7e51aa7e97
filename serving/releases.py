"""Releases: loads the one that CURRENT names, whole and verified, and notices when that changes.

What a release needs open (index, channels, offer cache) is closed some time after the next one took
over, so that calls under way finish with what they began with.
"""

import asyncio
import logging
import time
from contextlib import AsyncExitStack, closing
from dataclasses import asdict
from pathlib import Path

from serving.adapters.business import open_business_systems
from serving.adapters.faiss import FaissIndex, load_index
from serving.adapters.faiss_gpu import GpuIndex, GpuLimits, load_gpu_index
from serving.adapters.feeds import GrpcCalendar, GrpcCompetitors, GrpcDemand
from serving.adapters.history_store import HistoryStore
from serving.adapters.release_files import (
    check_files,
    current_release,
    load_tables,
    read_release_manifest,
    verify_release,
)
from serving.adapters.release_search import ReleaseSearch, load_search
from serving.adapters.shard_wire import IndexName
from serving.adapters.shards import ShardedIndex
from serving.adapters.triton import TritonModels
from serving.recommend.cache import RankingCache
from serving.recommend.call import Deps
from serving.recommend.feed_ports import PriceFeeds
from serving.recommend.feeds import FeedCache
from serving.recommend.lookups import OfferCache
from serving.recommend.ports import ImpressionLog, LoadedRelease, ReleaseTables
from serving.recommend.surroundings import Surroundings
from serving.settings import Settings
from serving.sharding import open_shards, until_held
from shop.errors import DependencyError, NotFound, ReleaseRejected
from shop.release import HISTORIES_FILE, Manifest
from shop.tensors import TEXT_VECTOR_SIZE

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0  # one small read; a rollback shows within a second
_TAKE_IN_EVERY_S = 5.0  # histories that were down, or came back empty; one look at a mark
_FINISH_WITHIN_S = 30.0  # for calls that began with the release before; ours take 0.1 s

_Index = FaissIndex | GpuIndex | ShardedIndex


class Releases:
    """The release being served, and the next one. Whoever makes it closes it."""

    def __init__(
        self,
        settings: Settings,
        key: bytes,
        histories: HistoryStore,
        log: ImpressionLog,
        surroundings: Surroundings,
        cache: RankingCache | None = None,
    ) -> None:
        self._settings = settings
        self._key = key
        self._histories = histories
        self._log = log
        self._surroundings = surroundings
        self._cache = cache
        self._shards = open_shards(settings, key)  # None: the index is loaded here
        self._served = ""
        self._seen = ""  # what CURRENT named when it was last acted upon
        self._serving = AsyncExitStack()
        self._next = AsyncExitStack()
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """No release is served any more."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._next.aclose()
        await self._serving.aclose()
        if self._shards is not None:
            await self._shards.close()

    async def first(self) -> Deps:
        """The current release. Raises NotFound or ReleaseRejected if it cannot be served."""
        self._seen = self._served = current_release(self._settings.releases_dir)
        return await self._load(self._seen, self._serving)

    async def another(self) -> Deps:
        """Returns when CURRENT names another release, loaded; `take_over` makes it the served."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                named = current_release(self._settings.releases_dir)
                if named != self._seen:
                    self._seen = named
                    await self._next.aclose()  # one that was not taken
                    self._next = AsyncExitStack()
                    deps = await self._load(named, self._next)
                    if await self._is_held(named):
                        return deps
            except (NotFound, ReleaseRejected) as error:
                logger.error("the release before stays: %s", error)

    async def _is_held(self, release: str) -> bool:
        """Once the shards hold it too; False if CURRENT names another one before they do."""

        def is_wanted() -> bool:
            return current_release(self._settings.releases_dir) == release

        return self._shards is None or await until_held(
            self._shards, release, before=self._served, is_wanted=is_wanted
        )

    def take_over(self) -> None:
        """The release from `another` is the one being served from now on."""
        self._served = self._seen
        leaving, self._serving, self._next = self._serving, self._next, AsyncExitStack()
        task = asyncio.create_task(_close_later(leaving))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _load(self, release: str, stack: AsyncExitStack) -> Deps:
        settings = self._settings
        # In a thread: reading and hashing would hold up the calls that are being answered.
        folder = settings.releases_dir / release
        tables, index, snapshot, searching = await asyncio.to_thread(self._read, folder)
        stack.enter_context(closing(index))
        if searching is not None:
            stack.enter_context(closing(searching))
        stop = asyncio.Event()
        taking_in = asyncio.create_task(self._keep_taking_in(folder, snapshot, stop))
        stack.push_async_callback(_ended, taking_in, stop)
        models = TritonModels(
            settings.triton.address,
            release=tables.release,
            version=tables.version,
            schema=tables.schema,
        )
        stack.push_async_callback(models.close)
        systems = open_business_systems(
            stack, asdict(settings.business), currency=tables.catalogue.currency
        )
        offers = OfferCache(tables.catalogue, systems, settings.recommend.offers, time.monotonic)
        stack.push_async_callback(offers.close)
        feeds = FeedCache(
            tables.catalogue,
            _open_feeds(stack, settings, tables.catalogue.currency),
            settings.recommend.pricing,
            time.monotonic,
        )
        stack.push_async_callback(feeds.close)
        search = None if searching is None else searching.parts(models)
        loaded = LoadedRelease(tables, models, models, index, search)
        return Deps(
            self._histories,
            loaded,
            offers,
            self._log,
            settings.recommend,
            time.monotonic,
            feeds,
            surroundings=self._surroundings,
            cache=self._cache,
        )

    def _read(self, folder: Path) -> tuple[ReleaseTables, _Index, str, ReleaseSearch | None]:
        manifest = verify_release(folder, self._key)
        tables = load_tables(folder, manifest)
        index = self._index(folder, manifest, tables)
        texts = None
        if self._shards is not None:
            texts = self._shards.index(
                tables.release,
                IndexName.TEXTS,
                row_count=tables.catalogue.product_count + 1,
                vector_size=TEXT_VECTOR_SIZE,
            )
        searching = load_search(folder, manifest, tables.catalogue, texts)
        logger.info("loaded %s", tables.release)
        _take_in(self._histories, folder, manifest.snapshot)
        return tables, index, manifest.snapshot, searching

    def _index(self, folder: Path, manifest: Manifest, tables: ReleaseTables) -> _Index:
        rows, size = tables.catalogue.product_count + 1, tables.schema.vector_size
        gpu = self._settings.gpu
        if self._shards is not None:
            return self._shards.index(
                tables.release, IndexName.PRODUCTS, row_count=rows, vector_size=size
            )
        if gpu.index == "gpu":
            limits = GpuLimits(gpu.reserve_mb << 20, gpu.max_batch)
            return load_gpu_index(folder, manifest, row_count=rows, vector_size=size, limits=limits)
        return load_index(folder, manifest, row_count=rows, vector_size=size)

    async def _keep_taking_in(self, folder: Path, snapshot: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), _TAKE_IN_EVERY_S)
            except TimeoutError:
                await asyncio.to_thread(_take_in, self._histories, folder, snapshot)


def fill_histories(settings: Settings, key: bytes, histories: HistoryStore) -> None:
    """Takes the current release's histories into a store that lacks them.

    To be done before the log is opened: what an empty store gets from the log first, the release
    would not overwrite. Raises NotFound or ReleaseRejected.
    """
    folder = settings.releases_dir / current_release(settings.releases_dir)
    manifest = read_release_manifest(folder, key)
    check_files(folder, manifest, (HISTORIES_FILE,))
    _take_in(histories, folder, manifest.snapshot)


def _take_in(histories: HistoryStore, folder: Path, snapshot: str) -> None:
    """The release's histories, unless the store has taken in this snapshot's already."""
    try:
        taken = histories.import_histories(folder / HISTORIES_FILE, source=snapshot)
    except (DependencyError, OSError) as error:
        logger.error("histories of %s not taken in, tried again: %s", folder.name, error)
    else:
        if taken:
            logger.info("%d shoppers of %s were new", taken, folder.name)


def _open_feeds(stack: AsyncExitStack, settings: Settings, currency: str) -> PriceFeeds:
    competitors = GrpcCompetitors(settings.feeds.competitors, currency=currency)
    demand = GrpcDemand(settings.feeds.demand)
    calendar = GrpcCalendar(settings.feeds.calendar, currency=currency)
    for feed in (competitors, demand, calendar):
        stack.push_async_callback(feed.close)
    return PriceFeeds(competitors, demand, calendar)


async def _ended(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Not by cancelling: its thread would go on with a store that is being closed."""
    stop.set()
    await task


async def _close_later(stack: AsyncExitStack) -> None:
    try:
        await asyncio.sleep(_FINISH_WITHIN_S)
    finally:
        await stack.aclose()
