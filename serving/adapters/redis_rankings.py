"""Redis rankings: what the replicas of a cluster share of the lists they worked out.

    <prefix>ranking:<key>   the record of `ranking_record`; it expires by itself

Redis makes room as its `maxmemory-policy` says; a record that is gone costs a miss. Records are
read as bytes and looked at closely by who takes them in: nothing here is ever unpickled.
"""

import asyncio
from typing import Any

from serving.adapters.redis_connections import FOREIGN_ERRORS, client_for_the_loop, lost
from serving.adapters.redis_settings import RedisSettings
from serving.recommend.ranking_record import MAX_RECORD_BYTES
from shop.errors import DependencyTimeout

_DEPENDENCY = "rankings"


class RedisRankings:
    """Is a `SharedRankings`. Nothing is connected yet; whoever makes it closes it.

    Raises SettingsRejected if the URL is no Redis URL.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._prefix = f"{settings.prefix}ranking:".encode()
        self._client = client_for_the_loop(settings)

    async def aclose(self) -> None:
        """Every connection is closed."""
        await self._client.aclose()

    async def read(self, key: bytes, *, timeout_s: float) -> bytes | None:
        """None for what nobody wrote, or expired. One round trip, and no more than a record."""
        try:
            async with asyncio.timeout(timeout_s):
                # One byte more than a record may have, so that a longer one is seen to be none;
                # GETRANGE of a name that is not there is empty.
                found: Any = await self._client.getrange(self._name(key), 0, MAX_RECORD_BYTES)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"Redis gave no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error
        return bytes(found) if found else None

    async def write(self, key: bytes, record: bytes, *, ttl_ms: int) -> None:
        """Whoever was later wins; both are right."""
        try:
            await self._client.set(self._name(key), record, px=ttl_ms)
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()
