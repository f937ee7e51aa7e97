"""Redis settings: where Redis is, and how long it is waited for.

Apart from the connections, so that whoever does not use Redis does not load its library.
"""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The Redis that all replicas of a cluster share."""

    # redis://[[user]:password@]host:port/db, rediss:// with TLS, or unix:///path/to/socket.
    # Not in any message: it may hold a password.
    url: str = field(default="", repr=False, metadata={"secret": True})
    prefix: str = "vitrine:"  # of every key, so that several shops can share a server
    # Of the writer of events, not of a call: ten times what a full disk sync takes Redis. While it
    # lasts, callers of LogEvents wait; then their events are acknowledged without Redis.
    write_timeout_ms: float = 250.0

    def __post_init__(self) -> None:
        if self.url and not _is_address(self.url):
            raise ValueError(
                "url: must be redis://host:port/db, rediss://host:port/db or unix:///path"
            )
        if not self.prefix or not self.prefix.isprintable():
            raise ValueError("prefix: must be a text of at least one character")
        if not self.write_timeout_ms > 0:
            raise ValueError("write_timeout_ms: must be above 0")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_place = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname)
        return parts.scheme in _SCHEMES and has_place and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
