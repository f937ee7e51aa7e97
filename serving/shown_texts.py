"""Shown texts: which version of its text each product's page shows, for the replies of lists.

Read off the hot path, from the store of descriptions, now and then; a call looks into a dictionary.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from serving.adapters.page_keys import is_product_key
from serving.adapters.sqlite import SqliteDatabase
from serving.settings import Settings
from shop.errors import DependencyError

logger = logging.getLogger(__name__)

_OVERLAP_MS = 60_000  # clocks of those who publish may differ by so much


class Readable(Protocol):
    """A connection to the store."""

    def run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement. Raises DependencyUnavailable."""
        ...

    def close(self) -> None:
        """Nothing can be asked any more."""
        ...


class ShownTexts:
    """The published version of each product, as of the last look."""

    def __init__(self, connect: Callable[[], Readable | None]) -> None:
        """`connect` gives None while there is no store yet."""
        self.versions: dict[str, str] = {}  # by product id
        self._connect = connect
        self._database: Readable | None = None
        self._latest_ms = 0

    def look(self) -> None:
        """Reads what changed since the last look. Raises DependencyUnavailable; not for a loop."""
        self._database = self._database or self._connect()
        if self._database is None:
            return
        try:
            rows = self._database.run(
                "SELECT product_id, version_id, at_ms FROM pages WHERE at_ms >= ?",
                (self._latest_ms - _OVERLAP_MS,),
            )
        except DependencyError:
            self.close()  # a connection that failed is made anew at the next look
            raise
        self.versions.update({key: version for key, version, _ in rows if is_product_key(key)})
        self._latest_ms = max((self._latest_ms, *(at_ms for *_, at_ms in rows)))

    def close(self) -> None:
        """Gives the connection back."""
        if self._database is not None:
            self._database.close()
            self._database = None


@asynccontextmanager
async def follow_shown_texts(settings: Settings) -> AsyncIterator[Mapping[str, str]]:
    """Version ids by product id, kept current while the block runs; empty without descriptions.

    That the store cannot be reached is no reason: lists then tell what was last known.
    """
    texts = ShownTexts(lambda: _connected(settings))
    if not settings.describe.is_on:
        yield texts.versions
        return
    task = asyncio.create_task(_follow(texts, settings.describe.lists_look_every_s))
    try:
        yield texts.versions
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        texts.close()


async def _follow(texts: ShownTexts, every_s: float) -> None:
    was_lost = False
    while True:
        try:
            await asyncio.to_thread(texts.look)
            was_lost = False
        except DependencyError as error:
            if not was_lost:  # once, not every few seconds
                logger.warning("lists tell texts as last known: %s", error)
            was_lost = True
        await asyncio.sleep(every_s)


def _connected(settings: Settings) -> Readable | None:
    if settings.describe.store == "postgres":
        # Only here: the library is not loaded where no PostgreSQL is used.
        from serving.adapters.postgres import PostgresDatabase

        return PostgresDatabase(settings.describe.postgres)
    # Whoever only reads makes no store: the descriptions' door does.
    return SqliteDatabase(settings.versions_file) if settings.versions_file.exists() else None
