"""Descriptions service: what the descriptions' door holds, made from settings; it knows no Ray."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.adapters.brand_files import read_brand
from serving.adapters.key_files import read_or_create_key
from serving.adapters.photo_sql import SqlPhotos
from serving.adapters.photos import read_photo, read_quality
from serving.adapters.product_facts import SnapshotFacts
from serving.adapters.spamassassin import SpamAssassin
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.style_files import read_styles
from serving.adapters.text_measures import TextMeasures
from serving.adapters.version_sql import Database, SqlVersions
from serving.adapters.webhook import HttpWebhook
from serving.adapters.writer_service import WriterService
from serving.describe.call import Deps, Wish, WritingSettings
from serving.describe.handing_in import edit, submit, submit_photo
from serving.describe.judging import PhotoJudge
from serving.describe.pipeline import Progress, describe
from serving.describe.versions import (
    PUBLISHING,
    Action,
    Conflict,
    Decision,
    Kept,
    State,
    VersionReader,
)
from serving.describe.webhooks import Signature, WebhookSender, deliver_due
from serving.settings import Settings
from shop.descriptions.draft import Draft
from shop.descriptions.pages import PageKind
from shop.descriptions.style import StyleGuide
from shop.errors import DependencyError, InvalidRequest, NotFound
from shop.photos.quality import QualityModel

logger = logging.getLogger(__name__)

_LOOK_FOR_MESSAGES_S = 1.0
_THUMBNAIL_SIDE = 112  # where no model says what it was trained on


@dataclass(frozen=True, slots=True, eq=False)
class DescriptionsService:
    """Everything that the door is asked for. All raise errors of `shop.errors`."""

    deps: Deps
    store: SqlVersions
    photos: SqlPhotos
    turns: asyncio.Semaphore  # texts written at once, and photos read

    async def published(self, product_id: str, kind: PageKind = PageKind.PRODUCT) -> Kept:
        """What the page shows. Raises NotFound."""
        kept = await self.store.published(product_id, kind)
        if kept is None:
            raise NotFound(f"nothing is published of {product_id[:40]!r}")
        return kept

    async def generate(self, wish: Wish) -> AsyncGenerator[Progress, None]:
        """Writes a new version; see `describe`."""
        async with self.turns:
            steps = describe(wish, self.deps)
            try:
                async for step in steps:
                    yield step
            finally:
                await steps.aclose()

    async def submit(self, wish: Wish, draft: Draft, model: str) -> Kept:
        """Takes in a text that was written elsewhere; see `submit` of the pipeline."""
        return await submit(wish, draft, model, self.deps)

    async def submit_photo(self, wish: Wish, alt: Draft, content: bytes) -> Kept:
        """Takes in a product's picture. Raises InvalidRequest if the file is none of ours."""
        model = self.deps.photos.model
        async with self.turns:
            photo = await asyncio.to_thread(
                read_photo, content, thumbnail_side=model.side if model else _THUMBNAIL_SIDE
            )
            return await submit_photo(wish, alt, photo, self.deps)

    async def reviews(
        self, *, limit: int, after: str | None, kind: PageKind | None = None
    ) -> tuple[Sequence[Kept], int]:
        """The queue, of one kind of page or of all, and how many wait in all."""
        return await self.store.waiting(limit=limit, after=after, kind=kind)

    async def approve(self, version_id: str, actor: str) -> Kept:
        """Publishes what waits. Raises InvalidRequest if it does not wait (any more)."""
        return await self._decide(version_id, Action.APPROVED, actor, "")

    async def reject(self, version_id: str, actor: str, reason: str) -> Kept:
        """Takes it out of the queue."""
        return await self._decide(version_id, Action.REJECTED, actor, reason)

    async def edit(self, version_id: str, draft: Draft, actor: str) -> Kept:
        """Publishes a person's text, held to the product's facts."""
        return await edit(version_id, draft, actor, self.deps)

    async def rollback(
        self, product_id: str, version_id: str, actor: str, kind: PageKind = PageKind.PRODUCT
    ) -> Kept:
        """Publishes an earlier version again; without an id the one that was shown before."""
        chosen = version_id or await _shown_before(product_id, kind, self.store)
        kept = await self.store.version(chosen)
        page = (product_id, kind)
        if kept is None or (kept.version.product_id, kept.version.kind) != page:
            raise InvalidRequest("version_id", f"is no version of {product_id[:40]!r}")
        return await self._decide(chosen, Action.ROLLED_BACK, actor, "")

    async def _decide(self, version_id: str, action: Action, actor: str, reason: str) -> Kept:
        kept = await self.store.version(version_id)
        if kept is None:
            raise InvalidRequest("version_id", f"{version_id[:40]!r} is no version")
        about, now_ms = kept.version, self.deps.now_ms()
        try:
            return await self.store.decide(
                Decision(version_id, about.product_id, action, actor, reason, now_ms, about.kind)
            )
        except Conflict as error:
            raise InvalidRequest("version_id", f"{error}; it is {kept.state.value}") from error


async def _shown_before(product_id: str, kind: PageKind, store: VersionReader) -> str:
    """The version that was shown before the one that is shown now. Raises NotFound."""
    versions, decisions = await store.history(product_id, kind)
    now = next((k.version.version_id for k in versions if k.state is State.PUBLISHED), None)
    shown = (each.version_id for each in decisions if each.action in PUBLISHING)
    before = next((each for each in shown if each != now), None)
    if now is None or before is None:
        raise NotFound(f"of {product_id[:40]!r} no earlier version was ever published")
    return before


@asynccontextmanager
async def open_descriptions(settings: Settings) -> AsyncIterator[DescriptionsService]:
    """A service on the real systems. Raises DependencyUnavailable or SettingsRejected.

    That no language model runs is no reason: texts are kept, reviewed and shown, none is written.
    """
    about = settings.describe
    async with AsyncExitStack() as stack:
        database = stack.enter_context(closing(await asyncio.to_thread(open_database, settings)))
        store = await asyncio.to_thread(SqlVersions, database)
        shelf = stack.enter_context(closing(await asyncio.to_thread(open_database, settings)))
        photos = SqlPhotos(shelf)
        specifications = Path(about.specifications) if about.specifications else None
        products = await asyncio.to_thread(SnapshotFacts, Path(about.snapshot), specifications)
        style, styles = read_styles(Path(about.style)) if about.style else (StyleGuide(), {})
        writer = WriterService(settings.writer.address, settings.writer.deadline_s)
        stack.push_async_callback(writer.close)
        deps = Deps(
            products=products,
            writer=writer,
            versions=store,
            measures=await asyncio.to_thread(TextMeasures),
            brand=await asyncio.to_thread(read_brand, settings.brand_file),
            style=style,
            styles=styles,
            spam=SpamAssassin(about.spam_filter, about.sender),
            photos=PhotoJudge(model=await asyncio.to_thread(_quality_model, settings)),
            seen=photos,
            writing=WritingSettings(about.max_tokens, about.temperature, about.binds_wording),
            now_ms=_now_ms,
            new_id=lambda: uuid.uuid4().hex,
        )
        if about.webhook_url:
            signature = Signature(read_or_create_key(settings.webhook_key_file))
            telling = asyncio.create_task(_tell(store, HttpWebhook(about.webhook_url), signature))
            stack.callback(telling.cancel)
        yield DescriptionsService(deps, store, photos, asyncio.Semaphore(about.at_once))


def _quality_model(settings: Settings) -> QualityModel | None:
    """None where nobody has trained one: photos are judged by the limits, and wait for a person."""
    if not settings.photo_quality_file.exists():
        logger.info("no %s: photos are judged by limits alone", settings.photo_quality_file)
        return None
    return read_quality(settings.photo_quality_file)


class ClosingDatabase(Database, Protocol):
    """A connection that has an end."""

    def close(self) -> None:
        """Nothing can be asked any more."""


def open_database(settings: Settings) -> ClosingDatabase:
    """The one that the settings name; whoever opens it closes it. Raises DependencyUnavailable."""
    if settings.describe.store == "postgres":
        # Only here: the library is not loaded where no PostgreSQL is used.
        from serving.adapters.postgres import PostgresDatabase

        return PostgresDatabase(settings.describe.postgres)
    return SqliteDatabase(settings.versions_file)


async def _tell(store: SqlVersions, sender: WebhookSender, signature: Signature) -> None:
    while True:
        try:
            await deliver_due(store, sender, signature, now_ms=_now_ms())
        except DependencyError as error:
            logger.error("the outbox cannot be read: %s", error)
        await asyncio.sleep(_LOOK_FOR_MESSAGES_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
