"""Page arguments: how the command line names a kind of page, and what a campaign is about."""

import argparse
import json
from pathlib import Path

from google.protobuf.json_format import ParseDict, ParseError

from serving.proto import descriptions_pb2 as pb
from shop.errors import InvalidRequest, NotFound

_KINDS = {
    "product": pb.PAGE_PRODUCT,
    "campaign": pb.PAGE_CAMPAIGN,
    "category": pb.PAGE_CATEGORY,
    "photo": pb.PAGE_PHOTO,
}


def add_kind(parser: argparse.ArgumentParser, what: str = "what the page is") -> None:
    """`--kind`; a product's page, or every kind in lists, if it is not given."""
    parser.add_argument(
        "--kind",
        type=_kind,
        default=pb.PAGE_KIND_UNSPECIFIED,
        metavar="KIND",
        help=f"{what}: {', '.join(_KINDS)}",
    )


def add_brief(parser: argparse.ArgumentParser) -> None:
    """What a campaign may say."""
    parser.add_argument(
        "--product", dest="about", action="append", default=[], metavar="ID",
        help="of a campaign: a product that it is about; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--state", action="append", default=[], metavar="NAME=VALUE", type=_stated,
        help='of a campaign: what the shop states: "offer=20 %% off all shelves"; again for more',
    )  # fmt: skip


def configure_submit(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine review submit`."""
    parser.add_argument("kind", type=_kind, metavar="KIND", help=", ".join(_KINDS))
    parser.add_argument("product", metavar="ID", help="the product's, campaign's or category's")
    parser.add_argument(
        "--text", type=Path, required=True, metavar="FILE",
        help="JSON with opening, bullets and close, and title and summary for all but products",
    )  # fmt: skip
    parser.add_argument("--model", default="", help="what wrote it; default: a person did")
    parser.add_argument(
        "--photo", type=Path, metavar="FILE",
        help="of a photo: JPEG, PNG or WebP; the text's opening is read aloud in its place",
    )  # fmt: skip
    add_brief(parser)


def submitted(arguments: argparse.Namespace, text: pb.PageText) -> pb.SubmitPageRequest:
    """What `configure_submit` was given."""
    return pb.SubmitPageRequest(
        kind=arguments.kind,
        product_id=arguments.product,
        text=text,
        model=arguments.model,
        actor=arguments.actor,
        brief=brief_of(arguments),
        photo=_photo(arguments.photo),
    )


def brief_of(arguments: argparse.Namespace) -> pb.CampaignBrief:
    """What `add_brief` was given."""
    return pb.CampaignBrief(product_ids=arguments.about, stated=arguments.state)


def kind_name(kind: "pb.PageKind") -> str:
    """As the command line names it."""
    return next((name for name, code in _KINDS.items() if code == kind), "product")


def page_text(file: Path) -> pb.PageText:
    """A text from a JSON file. Raises NotFound or InvalidRequest."""
    try:
        return ParseDict(json.loads(file.read_text()), pb.PageText())
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror}") from error
    except (ValueError, ParseError) as error:
        parts = "opening, bullets, close, and title and summary where the page has them"
        raise InvalidRequest("text", f"{file} is no JSON of {parts}") from error


def _photo(file: Path | None) -> bytes:
    if file is None:
        return b""
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror}") from error


def _kind(text: str) -> "pb.PageKind":
    if text not in _KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; choose {', '.join(_KINDS)}")
    return _KINDS[text]


def _stated(text: str) -> pb.ProductFact:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; write NAME=VALUE")
    return pb.ProductFact(name=name.strip(), value=value.strip())
