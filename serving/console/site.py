"""Site: every address of the console, what answers it, and how errors look."""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from serving.console.guard import Guard
from serving.console.reviewing import (
    approve,
    edit,
    generate,
    reject,
    roll_back,
    show_editor,
    show_photo,
    show_product,
    show_queue,
)
from serving.console.sessions import log_in, log_out, show_login
from serving.console.shown import moment, number, percent
from serving.console.status_page import show_status
from serving.console.submitting import show_submit, submit
from serving.console.visits import Desk, Pages, Visit, action, for_known, visit_of
from serving.console.window import show_window
from shop.errors import (
    DependencyError,
    InvalidRequest,
    NotFound,
    Overloaded,
    VitrineError,
)

logger = logging.getLogger(__name__)

# The longest text that may be published is 6,000 characters: 72 kB if every one is encoded.
MAX_BODY_BYTES = 128 << 10
_YEAR_S = 31_536_000
_ASSETS = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_STATUS_OF = {
    InvalidRequest: HTTPStatus.CONFLICT,
    NotFound: HTTPStatus.NOT_FOUND,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    DependencyError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def site(desk: Desk, names: tuple[str, ...]) -> ASGIApp:
    """The console as an ASGI application; `names` are those that browsers may call it by."""
    app = Starlette(
        routes=[
            *(_page(path, page) for path, page in _PAGES.items()),
            *(
                Route(path, action(act), methods=["POST"])
                for path, act in (
                    ("/reviews/approve", approve),
                    ("/reviews/reject", reject),
                    ("/product/edit", edit),
                    ("/product/rollback", roll_back),
                    ("/product/generate", generate),
                    ("/submit", submit),
                    ("/logout", log_out),
                )
            ),
            Route("/login", show_login, methods=["GET"]),
            Route("/login", action(log_in, for_unknown=True), methods=["POST"]),
            *(Route(f"/static/{name}", _asset(name), methods=["GET"]) for name in _ASSETS),
        ],
        exception_handlers={
            VitrineError: _show_refusal,
            HTTPException: _show_problem,
            Exception: _show_bug,
        },
        max_body_size=MAX_BODY_BYTES,
    )
    app.state.desk = desk
    return Guard(app, names)


def templates() -> Environment:
    """Pages that escape whatever they show. An unknown name is an error, not an empty place."""
    environment = Environment(
        loader=PackageLoader("serving.console"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "number": number, "percent": percent}
    environment.globals["asset"] = {name: f"/static/{name}?{_digest(name)}" for name in _ASSETS}
    return environment


async def _go_to_queue(visit: Visit) -> Response:
    return RedirectResponse("/reviews", 303)


_PAGES: dict[str, Pages] = {
    "/": _go_to_queue,
    "/reviews": show_queue,
    "/product": show_product,
    "/product/edit": show_editor,
    "/submit": show_submit,
    "/photo": show_photo,
    "/window": show_window,
    "/status": show_status,
}


def _page(path: str, page: Pages) -> Route:
    return Route(path, for_known(page), methods=["GET"])


def _asset(name: str) -> Callable[[Request], Awaitable[Response]]:
    """A file of ours; its address holds its digest, so that browsers may keep it for ever."""
    content = _bytes(name)
    headers = {"cache-control": f"public, max-age={_YEAR_S}, immutable"}

    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=_ASSETS[name], headers=headers)

    return endpoint


def _bytes(name: str) -> bytes:
    return (files("serving.console") / "static" / name).read_bytes()


def _digest(name: str) -> str:
    return hashlib.sha256(_bytes(name)).hexdigest()[:12]


async def _show_refusal(request: Request, error: Exception) -> Response:
    """What the stack refused, or that it cannot be asked."""
    status = next(
        (status for kind, status in _STATUS_OF.items() if isinstance(error, kind)),
        HTTPStatus.BAD_GATEWAY,
    )
    if isinstance(error, InvalidRequest) and request.method == "GET":
        status = HTTPStatus.BAD_REQUEST
    return _problem(request, status, str(error))


async def _show_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return _problem(request, HTTPStatus(status), detail)


async def _show_bug(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _problem(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of ours; its trace is in the log."
    )


def _problem(request: Request, status: HTTPStatus, detail: str) -> Response:
    visit = visit_of(request)
    return visit.page("problem.html", status, status=status, detail=detail)
