"""Redis rules: the rule book that all replicas of a cluster go by.

    <prefix>rules   hash: epoch, sha256, from_ms, raw (the file as it was written)

What is read is checked: its length, its digest, and by the caller as any file is.
"""

from typing import Any

from serving.adapters.redis_connections import FOREIGN_ERRORS, client_for_threads, lost
from serving.adapters.redis_settings import RedisSettings
from serving.rules_sharing import SharedBook, sha256_of
from shop.errors import DependencyUnavailable
from shop.rulebook import MAX_BOOK_BYTES

_DEPENDENCY = "rules"
_MAX_DIGITS = 15  # of an epoch or a time; beyond it somebody else wrote here
_PUBLISH = """
if redis.call('HGET', KEYS[1], 'sha256') == ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'sha256', ARGV[1], 'from_ms', ARGV[2], 'raw', ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
"""
_RESTORE = """
local there = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') or 0
if there >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'sha256', ARGV[2], 'from_ms', ARGV[3], 'raw', ARGV[4])
return 1
"""


class RedisRules:
    """Is a `SharedRules`, for threads. Whoever makes it closes it."""

    def __init__(self, settings: RedisSettings) -> None:
        self._name = f"{settings.prefix}rules"
        self._client = client_for_threads(settings)

    def close(self) -> None:
        """Every connection is closed."""
        self._client.close()

    def read(self, known: SharedBook | None) -> SharedBook | None:
        """A hundred bytes as long as it is the known one. Raises DependencyError."""
        head = self._fields("epoch", "sha256", "from_ms")
        if head[0] is None and head[1] is None:
            return None
        epoch, sha256 = _whole(head[0]), _text(head[1])
        if known is not None and (epoch, sha256) == (known.epoch, known.sha256):
            return known
        # Once more, together: somebody may have published in between.
        found = self._fields("epoch", "sha256", "from_ms", "raw")
        raw = found[3]
        if raw is None or len(raw) > MAX_BOOK_BYTES or sha256_of(raw) != _text(found[1]):
            raise DependencyUnavailable(_DEPENDENCY, "Redis: the rule book there is damaged")
        return SharedBook(_whole(found[0]), _text(found[1]), _whole(found[2]), raw)

    def publish(self, raw: bytes, sha256: str, *, from_ms: int) -> None:
        """Raises DependencyError."""
        self._run(_PUBLISH, sha256, str(from_ms), raw)

    def restore(self, book: SharedBook) -> None:
        """Raises DependencyError."""
        self._run(_RESTORE, str(book.epoch), book.sha256, str(book.from_ms), book.raw)

    def _fields(self, *names: str) -> list[bytes | None]:
        try:
            found: Any = self._client.hmget(self._name, list(names))
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error
        return list(found)

    def _run(self, script: str, *arguments: str | bytes) -> None:
        try:
            self._client.eval(script, 1, self._name, *arguments)
        except FOREIGN_ERRORS as error:
            raise lost(_DEPENDENCY, error) from error


def _whole(raw: bytes | None) -> int:
    if raw is None or not raw.isdigit() or len(raw) > _MAX_DIGITS:
        raise DependencyUnavailable(_DEPENDENCY, "Redis: the rule book there has no epoch")
    return int(raw)


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode(errors="replace")
