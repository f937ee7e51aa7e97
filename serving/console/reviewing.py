"""Reviewing: the queue, a product's versions side by side, and what people decide about them."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.console.comparing import Comparison, compared
from serving.console.product_view import ProductView, viewed
from serving.console.visits import Form, Visit, see
from serving.proto import descriptions_pb2 as pb
from shop.errors import InvalidRequest

_QUEUE = 25
KINDS = {
    "product": pb.PAGE_PRODUCT,
    "campaign": pb.PAGE_CAMPAIGN,
    "category": pb.PAGE_CATEGORY,
    "photo": pb.PAGE_PHOTO,
}
PARTS = ("title", "summary", "opening", "bullets", "close")
_DONE = {
    "approved": "Approved: this text is on the page now",
    "rejected": "Rejected: it is kept, and never shown",
    "edited": "Published as you wrote it",
    "rolled_back": "Rolled back: the earlier text is on the page again",
    "published": "Published: nobody needed to decide",
    "queued": "Checked: it waits for a decision",
    "refused": "Rejected by the checks: see what was found in it",
}


async def show_queue(visit: Visit) -> Response:
    """What waits, the greatest impact first."""
    kind = visit.asked("kind")
    found = await visit.desk.stack.descriptions.reviews(
        page_size=_QUEUE,
        page_token=visit.asked("after"),
        kind=KINDS.get(kind, pb.PAGE_KIND_UNSPECIFIED),
    )
    return visit.page(
        "queue.html",
        entries=found.entries,
        waiting=found.waiting,
        greatest=max((entry.impact for entry in found.entries), default=0.0),
        after=visit.asked("after"),
        following=found.next_page_token,
        title_of=title_of,
        kind_name=kind_name,
        kind=kind if kind in KINDS else "",
        kinds=tuple(KINDS),
        done=_done(visit),
    )


async def show_product(visit: Visit) -> Response:
    """A version beside another one, its claims and facts, and every version there is."""
    product_id, kind = _named(visit, "id"), visit.asked("kind")
    kept = await visit.desk.stack.descriptions.versions(product_id, _kind(kind))
    if not kept.versions:
        return visit.page("no_product.html", HTTPStatus.NOT_FOUND, product_id=product_id, kind=kind)
    view = viewed(kept, chosen=visit.asked("version"), against=visit.asked("against"))
    # Tracing the claims of two long texts is work for a thread.
    comparison: Comparison = await asyncio.to_thread(compared, view.chosen, view.other)
    following = waiting = None
    if view.waits:
        following, waiting = await _following(visit, view.chosen.version_id)
    return visit.page(
        "product.html",
        product_id=product_id,
        kind=kind_name(view.chosen),
        kind_name=kind_name,
        title=title_of(view.chosen),
        view=view,
        comparison=comparison,
        following=following,
        waiting=waiting,
        done=_done(visit),
    )


async def show_photo(visit: Visit) -> Response:
    """A photo's file, which never changes under its name."""
    content = await visit.desk.stack.descriptions.photo(_named(visit, "photo"))
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    return Response(content, media_type="image/jpeg", headers=headers)


async def show_editor(visit: Visit) -> Response:
    """A version's text, to be written anew."""
    product_id, version_id = _named(visit, "id"), _named(visit, "version")
    view = await _view(visit, product_id, _kind(visit.asked("kind")), version_id)
    text = view.chosen.text
    parts = (text.title, text.summary, text.opening, "\n".join(text.bullets), text.close)
    return await _editor(visit, view, parts, problem="")


async def approve(visit: Visit, form: Form) -> Response:
    """Publishes what waits, and goes on to the next that does."""
    version_id = _field(form, "version")
    following, _ = await _following(visit, version_id)
    made = await visit.desk.stack.descriptions.approve(version_id, actor=visit.session.name)
    return _go_on("approved", made, following)


async def reject(visit: Visit, form: Form) -> Response:
    """Takes a version out of the queue, and goes on to the next."""
    version_id, reason = _field(form, "version"), " ".join(form.get("reason", "").split())
    following, _ = await _following(visit, version_id)
    made = await visit.desk.stack.descriptions.reject(
        version_id, actor=visit.session.name, reason=reason
    )
    return _go_on("rejected", made, following)


async def edit(visit: Visit, form: Form) -> Response:
    """Publishes a person's text; what no fact grants comes back with its reason."""
    product_id, version_id = _field(form, "id"), _field(form, "version")
    parts = tuple(form.get(name, "").strip() for name in PARTS)
    descriptions = visit.desk.stack.descriptions
    try:
        made = await descriptions.edit(version_id, text_of(form), actor=visit.session.name)
    except InvalidRequest as error:
        view = await _view(visit, product_id, _kind(form.get("kind", "")), version_id)
        return await _editor(visit, view, parts, problem=str(error))
    return see_version(made, "edited")


async def generate(visit: Visit, form: Form) -> Response:
    """Has a new version written from the facts, and shows what became of it."""
    product_id, kind = _field(form, "id"), _kind(form.get("kind", ""))
    made = await visit.desk.stack.descriptions.generate(
        product_id, actor=visit.session.name, kind=kind
    )
    return see_version(made, became(made))


def text_of(form: Form) -> pb.PageText:
    """The text of a form: bullets one a line, and no line breaks elsewhere."""
    plain = {name: " ".join(form.get(name, "").split()) for name in PARTS if name != "bullets"}
    lines = form.get("bullets", "").strip().splitlines()
    return pb.PageText(**plain, bullets=[" ".join(line.split()) for line in lines if line.strip()])


def became(version: pb.DescriptionVersion) -> str:
    """What the checks made of a new version, by its name in the address."""
    named = {pb.VERSION_PUBLISHED: "published", pb.VERSION_IN_REVIEW: "queued"}
    return named.get(version.state, "refused")


async def roll_back(visit: Visit, form: Form) -> Response:
    """Shows an earlier version again."""
    product_id, version_id = _field(form, "id"), _field(form, "version")
    made = await visit.desk.stack.descriptions.roll_back(
        product_id, version_id, actor=visit.session.name, kind=_kind(form.get("kind", ""))
    )
    return see_version(made, "rolled_back")


def title_of(version: pb.DescriptionVersion) -> str:
    """A letter's or category page's own title, the product's by its facts, else the id."""
    if version.text.title:
        return str(version.text.title)
    return next((fact.value for fact in version.facts if fact.name == "title"), version.product_id)


def kind_name(version: pb.DescriptionVersion) -> str:
    """What it is a version of, in a word."""
    return next((name for name, code in KINDS.items() if code == version.kind), "product")


def _kind(name: str) -> pb.PageKind:
    kind = KINDS.get(name or "product")
    if kind is None:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"A page is one of: {', '.join(KINDS)}.")
    return kind


def see_version(made: pb.DescriptionVersion, done: str) -> Response:
    """Sends the browser to a version, with what was done to it."""
    return see(
        "/product",
        id=made.product_id,
        kind=_other_kind(made),
        version=made.version_id,
        done=done,
    )


def _other_kind(version: pb.DescriptionVersion) -> str:
    """Addresses of products have no kind, as ever."""
    name = kind_name(version)
    return "" if name == "product" else name


async def _view(visit: Visit, product_id: str, kind: pb.PageKind, version_id: str) -> ProductView:
    kept = await visit.desk.stack.descriptions.versions(product_id, kind)
    if not any(version.version_id == version_id for version in kept.versions):
        raise HTTPException(HTTPStatus.NOT_FOUND, "No such version of this product is kept.")
    return viewed(kept, chosen=version_id, against="")


async def _editor(
    visit: Visit, view: ProductView, parts: tuple[str, ...], *, problem: str
) -> Response:
    comparison = await asyncio.to_thread(compared, view.chosen)
    return visit.page(
        "edit.html",
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
        title=title_of(view.chosen),
        version=view.chosen,
        comparison=comparison,
        kind=kind_name(view.chosen),
        parts=dict(zip(PARTS, parts, strict=True)),
        problem=problem,
    )


async def _following(visit: Visit, version_id: str) -> tuple[pb.DescriptionVersion | None, int]:
    """What waits behind this version, if anything does, and how many wait in all."""
    found = await visit.desk.stack.descriptions.reviews(page_size=1, page_token=version_id)
    return (found.entries[0].version if found.entries else None), found.waiting


def _go_on(
    done: str, made: pb.DescriptionVersion, following: pb.DescriptionVersion | None
) -> Response:
    done_to = {"done": done, "of": made.product_id, "of_kind": _other_kind(made)}
    if following is None:
        return see("/reviews", **done_to)
    return see(
        "/product",
        id=following.product_id,
        kind=_other_kind(following),
        version=following.version_id,
        **done_to,
    )


def _done(visit: Visit) -> tuple[str, str, str] | None:
    """What was just done, in words of ours, and to which page, if it is not the shown one."""
    words = _DONE.get(visit.asked("done"))
    return (words, visit.asked("of"), visit.asked("of_kind")) if words else None


def _named(visit: Visit, name: str) -> str:
    value = visit.asked(name)
    if not value:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"The address lacks `{name}`.")
    return value


def _field(form: Form, name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"The form lacks `{name}`.")
    return value
