"""Guard: around every request and answer of the console. Strict headers, known names, same origin.

A request must name this server as browsers know it, and one that acts must come from a page of it;
every answer tells the browser to run, load and embed nothing that is not ours.
"""

import logging
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logging_setup import REQUESTS

logger = logging.getLogger(__name__)

# No inline script or style, no frame, nothing from elsewhere: a hostile text that slipped through
# the escaping would still be dead.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # "no-referrer" would hide the origin that actions must show
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_READING = ("GET", "HEAD")


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = {*_LOOPBACK, *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here: the handshake is refused
        began, status = time.perf_counter(), 500

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refusal(scope)
        await (refused or self._app)(scope, receive, send_guarded)
        ms = round((time.perf_counter() - began) * 1_000.0, 2)
        # Neither query nor form: they name shoppers.
        fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": ms}
        REQUESTS.info("%s %s %d", scope["method"], scope["path"], status, extra={"fields": fields})

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not ({host, _without_port(host)} & self._names):
            return PlainTextResponse("This server does not go by that name.\n", 421)
        if scope["method"] in _READING:
            return None
        site = headers.get("sec-fetch-site", "same-origin")
        origin = headers.get("origin")
        is_ours = origin is None or urlsplit(origin).netloc.lower() == host
        if site != "same-origin" or not is_ours:
            return PlainTextResponse("Actions come from pages of this server.\n", 403)
        return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
