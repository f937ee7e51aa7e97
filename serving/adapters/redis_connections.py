"""Redis connections: how every adapter that keeps something in Redis reaches it, and names it.

One client for the event loop and one for threads, both bounded in time, and one place where the
library's errors become ours. The URL may hold a password: it is never logged nor put in an error.

One primary, with as many replicas as one likes: scripts touch several keys, so Redis Cluster's
sharding is not for this.
"""

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry

from serving.adapters.redis_settings import RedisSettings
from shop.errors import DependencyError, DependencyTimeout, DependencyUnavailable, SettingsRejected

_CONNECT_S = 0.5
# A connection that the server closed is noticed when it is used: once more, at once, on a new one.
_RETRIES = 1
_MAX_CONNECTIONS = 64  # of one replica's loop: it has 8 calls and 4 streams at once

FOREIGN_ERRORS = (redis.RedisError, OSError, TimeoutError)


def client_for_the_loop(settings: RedisSettings) -> redis.asyncio.Redis:
    """Whoever makes it calls `aclose`, in the same loop. Each call is timed by the caller."""
    try:
        return redis.asyncio.Redis.from_url(
            settings.url,
            protocol=2,  # spares the greeting of protocol 3; nothing here needs it
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=_CONNECT_S,
            max_connections=_MAX_CONNECTIONS,
            retry=redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), _RETRIES),
        )
    except (ValueError, TypeError) as error:
        raise _rejected(error) from None  # the cause may quote the URL


def client_for_threads(settings: RedisSettings) -> redis.Redis:
    """Whoever makes it closes it. Waits `write_timeout_ms` for an answer, and tries nothing twice.

    What it sends may have been done although no answer came.
    """
    try:
        return redis.Redis.from_url(
            settings.url,
            protocol=2,
            driver_info=None,
            socket_timeout=settings.write_timeout_ms / 1000.0,
            socket_connect_timeout=settings.write_timeout_ms / 1000.0,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )
    except (ValueError, TypeError) as error:
        raise _rejected(error) from None


def lost(dependency: str, error: Exception) -> DependencyError:
    """Ours for one of FOREIGN_ERRORS."""
    reason = str(error) or type(error).__name__
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return DependencyTimeout(dependency, f"Redis: {reason}")
    return DependencyUnavailable(dependency, f"Redis: {reason}")


def _rejected(error: Exception) -> SettingsRejected:
    return SettingsRejected(
        f"redis.url (not shown, it may hold a password): {type(error).__name__}; allowed is"
        " redis://, rediss:// or unix:// with the options that redis-py knows"
    )
