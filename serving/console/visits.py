"""Visits: one request of a browser. Who it is, what form it sent, and the page it gets.

Pages are for whoever logged in; actions are POSTs with the session's form token, and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from serving.console.access import Access, Session
from serving.console.stack import Stack

Form = Mapping[str, str]
_FORM_TYPE = "application/x-www-form-urlencoded"
_MAX_FIELDS = 20
_BODY_WITHIN_S = 10.0
_LANDING = ("/", "/reviews", "/product", "/product/edit", "/submit", "/window", "/status")


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """What all pages work with."""

    access: Access
    stack: Stack
    templates: Environment
    cookie_name: str
    is_secure: bool  # cookies travel by TLS alone
    example_shopper: str


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A request and whose it is."""

    request: Request
    desk: Desk
    session: Session

    def asked(self, name: str) -> str:
        """A field of the address, "" if it is not there."""
        return str(self.request.query_params.get(name, "")).strip()

    def page(
        self, template: str, code: HTTPStatus = HTTPStatus.OK, /, **shown: Any
    ) -> HTMLResponse:
        """A page of this session."""
        text = self.desk.templates.get_template(template).render(
            form_token=self.desk.access.form_token(self.session),
            who=self.session.name,
            path=self.request.url.path,
            **shown,
        )
        return HTMLResponse(text, code)


Pages = Callable[[Visit], Awaitable[Response]]
Actions = Callable[[Visit, Form], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def visit_of(request: Request) -> Visit:
    """Whose request this is; a browser that was never here gets a session that may only log in."""
    desk: Desk = request.app.state.desk
    cookie = request.cookies.get(desk.cookie_name, "")
    return Visit(request, desk, desk.access.session(cookie) or desk.access.open(""))


def for_known(page: Pages) -> Endpoint:
    """A page for those who logged in; others come to the log-in first."""

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        if not visit.session.is_known:
            return RedirectResponse(f"/login?{urlencode({'next': _here(request)})}", 303)
        return await page(visit)

    return endpoint


def action(act: Actions, *, for_unknown: bool = False) -> Endpoint:
    """Something that is done by a form of ours. Refuses whatever did not come from one."""

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        form = await _form_of(request)
        if not visit.desk.access.is_form_token(visit.session, form.get("form_token", "")):
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "This form is of an earlier session. Go back and try again."
            )
        if not (visit.session.is_known or for_unknown):
            raise HTTPException(HTTPStatus.FORBIDDEN, "Log in first.")
        return await act(visit, form)

    return endpoint


def see(path: str, **fields: str) -> RedirectResponse:
    """Sends the browser there after an action, so that loading the page again repeats nothing."""
    chosen = {name: value for name, value in fields.items() if value}
    return RedirectResponse(f"{path}?{urlencode(chosen)}" if chosen else path, 303)


def with_session(visit: Visit, response: Response, session: Session) -> Response:
    """The response, after which the browser has this session."""
    desk = visit.desk
    response.set_cookie(
        desk.cookie_name,
        desk.access.cookie(session),
        max_age=int(desk.access.lifetime_s),
        httponly=True,
        samesite="strict",
        secure=desk.is_secure,
    )
    return response


def landing(wanted: str) -> str:
    """Where to go after the log-in: a page of ours, whatever was asked for."""
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or parts.path not in _LANDING or "\\" in wanted:
        return "/"
    return parts.path + (f"?{quote(parts.query, safe='=&%+')}" if parts.query else "")


def _here(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


async def _form_of(request: Request) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM_TYPE:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only forms are read here.")
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            body = await request.body()
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except TimeoutError as error:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "The form did not arrive.") from error
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form cannot be read.") from error
    return dict(pairs)
