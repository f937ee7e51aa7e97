"""Webhook: posts messages to one address over HTTP or HTTPS; follows no redirect."""

import asyncio
import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from shop.errors import DependencyTimeout, DependencyUnavailable, SettingsRejected

_TIMEOUT_S = 5.0
_TAKEN = range(200, 300)


class HttpWebhook:
    """One receiver."""

    def __init__(self, url: str) -> None:
        """Raises SettingsRejected if `url` is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsRejected("describe.webhook_url: must be an http:// or https:// address")
        self._parts = parts

    async def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Returns once it answered 2xx. Raises DependencyTimeout or DependencyUnavailable."""
        await asyncio.to_thread(self._post, body, dict(headers))

    def _post(self, body: bytes, headers: dict[str, str]) -> None:
        parts = self._parts
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except TimeoutError as error:
            raise DependencyTimeout("webhook", f"no answer in {_TIMEOUT_S:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise DependencyUnavailable("webhook", str(error)) from error
        finally:
            connection.close()
        if status not in _TAKEN:
            raise DependencyUnavailable("webhook", f"answered {status}")
