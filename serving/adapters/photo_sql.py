"""Photo SQL: photos that were handed in, by their content, beside the versions that show them.

Nothing is changed or deleted: a photo is kept once however often it is handed in, and for which
products it was is added.
"""

import asyncio
import base64
import binascii
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from serving.adapters.version_sql import Database
from serving.describe.ports import Alike, Photo
from shop.errors import DependencyUnavailable, NotFound
from shop.photos.fingerprint import ALIKE, distances

_Result = TypeVar("_Result")


class SqlPhotos:
    """On a connection of its own, to the database of the versions, which makes the tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_at_a_time = threading.Lock()

    async def keep(self, photo: Photo, product_id: str) -> None:
        """Before the version that shows it; one without a version does no harm."""
        content = base64.b64encode(photo.content).decode()

        def write() -> None:
            self._database.run(
                "INSERT INTO photos (digest, fingerprint, content) VALUES (?, ?, ?)"
                " ON CONFLICT (digest) DO NOTHING",
                (photo.digest, f"{photo.fingerprint:016x}", content),
            )
            self._database.run(
                "INSERT INTO photo_products (digest, product_id) VALUES (?, ?)"
                " ON CONFLICT (digest, product_id) DO NOTHING",
                (photo.digest, product_id),
            )

        await self._do(write)

    async def alike(self, photo: Photo, product_id: str) -> Alike | None:
        """The nearest of other products, if it may be the same picture."""
        rows = await self._do(
            lambda: self._database.run(
                "SELECT u.product_id, p.fingerprint FROM photo_products u"
                " JOIN photos p USING (digest) WHERE u.product_id <> ? ORDER BY u.product_id",
                (product_id,),
            )
        )
        if not rows:
            return None
        prints = np.array([int(row[1], 16) for row in rows], np.uint64)
        bits = distances(photo.fingerprint, prints)
        nearest = int(bits.argmin())
        return Alike(rows[nearest][0], int(bits[nearest])) if bits[nearest] <= ALIKE else None

    async def content(self, digest: str) -> bytes:
        """The file as it may be shown. Raises NotFound."""
        rows = await self._do(
            lambda: self._database.run("SELECT content FROM photos WHERE digest = ?", (digest,))
        )
        if not rows:
            raise NotFound(f"no photo {digest[:40]!r} is kept")
        try:
            return base64.b64decode(rows[0][0], validate=True)
        except (binascii.Error, ValueError) as error:
            raise DependencyUnavailable("photos", f"a record is damaged: {error}") from error

    async def _do(self, work: Callable[[], _Result]) -> _Result:
        def in_transaction() -> _Result:
            with self._one_at_a_time, self._database.transaction():
                return work()

        return await asyncio.to_thread(in_transaction)
