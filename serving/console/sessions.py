"""Sessions: the log-in and the log-out page."""

import logging
import unicodedata
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.console.visits import Form, Visit, landing, see, visit_of, with_session

logger = logging.getLogger(__name__)

_LONGEST_NAME = 60


async def show_login(request: Request) -> Response:
    """Asks for the token and a name; a browser that is logged in goes on."""
    visit = visit_of(request)
    if visit.session.is_known:
        return RedirectResponse(landing(visit.asked("next")), 303)
    page = visit.page("login.html", next=visit.asked("next"), name="", problem="")
    return with_session(visit, page, visit.session)


async def log_in(visit: Visit, form: Form) -> Response:
    """Opens a session under a name, which every decision is remembered with."""
    name, wanted = form.get("name", "").strip(), form.get("next", "")
    problem = _problem(visit, name, form.get("token", ""))
    if problem:
        return visit.page(
            "login.html", HTTPStatus.FORBIDDEN, next=wanted, name=name, problem=problem
        )
    logger.info("%s logged in", name)
    return with_session(visit, RedirectResponse(landing(wanted), 303), visit.desk.access.open(name))


async def log_out(visit: Visit, form: Form) -> Response:
    """Ends the session here, not only in the browser."""
    visit.desk.access.end(visit.session)
    answer = see("/login")
    answer.delete_cookie(visit.desk.cookie_name, httponly=True, samesite="strict")
    return answer


def _problem(visit: Visit, name: str, token: str) -> str:
    if not visit.desk.access.is_token(token):
        logger.warning("somebody came with a wrong token")
        return "That is not the token. `vitrine status` on the machine of the stack shows it."
    if not name or len(name) > _LONGEST_NAME or not _is_plain(name):
        return f"Give your name, in at most {_LONGEST_NAME} letters: decisions are kept with it."
    return ""


def _is_plain(name: str) -> bool:
    return all(unicodedata.category(letter)[0] != "C" for letter in name)
