"""Hostile descriptions: sound messages for the descriptions' door, to make hostile ones of.

No text here is true of any product, and no decision names a version that there is.
"""

import random
from collections.abc import Callable

from google.protobuf.message import Message

from loadtest.hostile_messages import MakeSound, Real, Spoken
from serving.proto import descriptions_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Descriptions"]
_ACTOR = "hostile"
_KINDS = tuple(pb.PageKind.values())


def _text(chance: random.Random) -> pb.PageText:
    bullets = [f"Width: {chance.randrange(200)} cm" for _ in range(chance.randrange(4))]
    return pb.PageText(
        title="Boats for every lake", opening="Here is the boat.", bullets=bullets, close="See it."
    )


def _submit(chance: random.Random, real: Real) -> pb.SubmitPageRequest:
    kind = chance.choice(_KINDS)
    request = pb.SubmitPageRequest(
        kind=kind, product_id=chance.choice(real.products), text=_text(chance), actor=_ACTOR
    )
    if kind == pb.PAGE_CAMPAIGN:
        request.brief.product_ids.extend(chance.sample(real.products, 2))
        request.brief.stated.add(name="offer", value="20 % off")
    if kind == pb.PAGE_PHOTO:
        request.photo = b"\xff\xd8\xff\xe0" + chance.randbytes(200)
    return request


def _of_page(make: Callable[..., Message]) -> MakeSound:
    """Of the requests that name a page and what it is."""
    return lambda chance, real: make(
        product_id=chance.choice(real.products), kind=chance.choice(_KINDS)
    )


def _of_version(make: Callable[..., Message]) -> MakeSound:
    """Of those that decide about a version; none has this name."""
    return lambda chance, _: make(version_id=f"v{chance.randrange(1 << 40)}", actor=_ACTOR)


def _generate(chance: random.Random, real: Real) -> pb.GenerateDescriptionRequest:
    return pb.GenerateDescriptionRequest(
        product_id=chance.choice(real.products), actor=_ACTOR, seed=chance.randrange(1 << 31)
    )


def _edit(chance: random.Random, _: Real) -> pb.EditRequest:
    return pb.EditRequest(version_id="v", text=_text(chance), actor=_ACTOR)


def _rollback(chance: random.Random, real: Real) -> pb.RollbackRequest:
    return pb.RollbackRequest(product_id=chance.choice(real.products), actor=_ACTOR)


DESCRIPTIONS = Spoken(
    SERVICE,
    {
        "GetDescription": _of_page(pb.GetDescriptionRequest),
        "GenerateDescription": _generate,
        "SubmitPage": _submit,
        "GetPhoto": lambda chance, _: pb.GetPhotoRequest(photo=chance.randbytes(32).hex()),
        "ListReviews": lambda chance, _: pb.ListReviewsRequest(page_size=chance.randrange(100)),
        "Approve": _of_version(pb.ApproveRequest),
        "Edit": _edit,
        "Reject": _of_version(pb.RejectRequest),
        "ListVersions": _of_page(pb.ListVersionsRequest),
        "Rollback": _rollback,
    },
)
