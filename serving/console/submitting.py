"""Submitting: texts that were written elsewhere, handed in to be checked like any other."""

from http import HTTPStatus

from starlette.responses import Response

from serving.console.reviewing import KINDS, PARTS, became, see_version, text_of
from serving.console.visits import Form, Visit
from serving.proto import descriptions_pb2 as pb
from shop.errors import InvalidRequest, NotFound

_FIELDS = ("kind", "id", "model", "products", "stated", *PARTS)


async def show_submit(visit: Visit) -> Response:
    """An empty form; the address may name kind and id."""
    asked = {"kind": visit.asked("kind"), "id": visit.asked("id")}
    return _form(visit, asked, problem="")


async def submit(visit: Visit, form: Form) -> Response:
    """Hands the text in; what is wrong with the form comes back with its reason."""
    try:
        made = await visit.desk.stack.descriptions.submit(_page_of(form, visit.session.name))
    except (InvalidRequest, NotFound) as error:
        return _form(visit, form, problem=str(error))
    return see_version(made, became(made))


def _page_of(form: Form, actor: str) -> pb.SubmitPageRequest:
    kind = KINDS.get(form.get("kind", ""))
    if kind is None:
        raise InvalidRequest("kind", f"must be one of {', '.join(KINDS)}")
    brief = pb.CampaignBrief(
        product_ids=form.get("products", "").replace(",", " ").split(),
        stated=[_stated(line) for line in form.get("stated", "").splitlines() if line.strip()],
    )
    return pb.SubmitPageRequest(
        kind=kind,
        product_id=form.get("id", "").strip(),
        text=text_of(form),
        model=form.get("model", "").strip(),
        actor=actor,
        brief=brief,
    )


def _stated(line: str) -> pb.ProductFact:
    name, equals, value = line.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise InvalidRequest("stated", f"{line.strip()[:60]!r}: write NAME=VALUE, one a line")
    return pb.ProductFact(name=name.strip(), value=value.strip())


def _form(visit: Visit, shown: Form, *, problem: str) -> Response:
    return visit.page(
        "submit.html",
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
        shown={name: shown.get(name, "") for name in _FIELDS},
        kinds=tuple(name for name in KINDS if name != "photo"),  # forms here carry no files
        problem=problem,
    )
