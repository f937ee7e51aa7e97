"""Commands about product texts: `vitrine describe` and `vitrine review`."""

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.client_calls import authorized, channel_options, our_errors
from serving.command import add_door_arguments, tls_of, token_of
from serving.page_arguments import (
    add_brief,
    add_kind,
    brief_of,
    configure_submit,
    kind_name,
    page_text,
    submitted,
)
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from serving.stack.folder import StateFolder
from shop.errors import NotFound

_TIMEOUT_S = 5.0
_READING_S = 30.0  # a spam filter reads a letter for some seconds
_WRITING_S = 120.0  # three attempts of a large model on a CPU
_PIPE_WIDTH = 140


def configure_describe(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine describe`."""
    parser.add_argument(
        "product", metavar="PRODUCT", help="product id; with --kind a campaign's or a category's"
    )
    parser.add_argument(
        "--again", action="store_true", help="write a new version even if one is published"
    )
    parser.add_argument("--seed", type=int, help="equal seeds ask for equal texts")
    add_kind(parser)
    add_brief(parser)
    _add_common(parser)


def configure_review(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine review`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="what waits, the greatest impact first")
    listed.add_argument("-n", type=int, default=20, metavar="N", help="1 to 100, default 20")
    add_kind(listed, "those of this kind alone")
    for name, what in (
        ("approve", "publish a version that waits"),
        ("edit", "publish your own text instead"),
        ("reject", "take a version out of the queue"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument("version", metavar="VERSION", help="version id")
        if name == "edit":
            action.add_argument(
                "--text", type=Path, required=True, metavar="FILE",
                help="JSON with opening, bullets, close; title and summary, if it has them",
            )  # fmt: skip
        if name == "reject":
            action.add_argument("--reason", default="", help="kept with the decision")
    back = actions.add_parser("rollback", help="publish an earlier version again")
    back.add_argument("product", metavar="PRODUCT", help="product id")
    back.add_argument("version", nargs="?", default="", help="default: what was shown before")
    versions = actions.add_parser("versions", help="every version and decision of a product")
    versions.add_argument("product", metavar="PRODUCT", help="product id")
    for each in (back, versions):
        add_kind(each)
    configure_submit(actions.add_parser("submit", help="hand in a text that was written elsewhere"))
    for each in actions.choices.values():
        _add_common(each)
        # As behind every other command; the parser above has it too, with the default.
        each.add_argument(
            "--state-dir",
            type=Path,
            default=argparse.SUPPRESS,
            metavar="DIR",
            help="state folder of the stack (default: .vitrine in the project)",
        )


def run_describe(arguments: argparse.Namespace) -> int:
    """Shows the published text, or writes one; 1 if what was written was rejected."""
    with _stub(arguments) as stub:
        version = None if arguments.again else _published(stub, arguments)
        if version is None:
            version = _written(stub, arguments)
    _print(arguments, version, lambda console: _show(console, version))
    return 1 if version.state == pb.VERSION_REJECTED else 0


def run_review(arguments: argparse.Namespace) -> int:
    """One action on the review queue or on a product's versions."""
    with _stub(arguments) as stub:
        if arguments.action == "list":
            found = stub.ListReviews(
                pb.ListReviewsRequest(page_size=arguments.n, kind=arguments.kind),
                timeout=_TIMEOUT_S,
                metadata=_token(arguments),
            )
            _print(arguments, found, lambda console: console.print(_queue(found)))
        elif arguments.action == "versions":
            request = pb.ListVersionsRequest(product_id=arguments.product, kind=arguments.kind)
            kept = stub.ListVersions(request, timeout=_TIMEOUT_S, metadata=_token(arguments))
            _print(arguments, kept, lambda console: console.print(_history(kept)))
        else:
            reply = _decide(stub, arguments)
            _print(arguments, reply.version, lambda console: _show(console, reply.version))
    return 0


def _decide(stub: rpc.DescriptionsStub, arguments: argparse.Namespace) -> pb.DecisionResponse:
    actor = arguments.actor
    request: Message
    match arguments.action:
        case "approve":
            request = pb.ApproveRequest(version_id=arguments.version, actor=actor)
            decided = stub.Approve(request, timeout=_TIMEOUT_S, metadata=_token(arguments))
        case "reject":
            request = pb.RejectRequest(
                version_id=arguments.version, actor=actor, reason=arguments.reason
            )
            decided = stub.Reject(request, timeout=_TIMEOUT_S, metadata=_token(arguments))
        case "edit":
            text = page_text(arguments.text)
            request = pb.EditRequest(version_id=arguments.version, actor=actor, text=text)
            decided = stub.Edit(request, timeout=_TIMEOUT_S, metadata=_token(arguments))
        case "submit":
            request = submitted(arguments, page_text(arguments.text))
            decided = stub.SubmitPage(request, timeout=_READING_S, metadata=_token(arguments))
        case _:
            request = pb.RollbackRequest(
                product_id=arguments.product,
                version_id=arguments.version,
                actor=actor,
                kind=arguments.kind,
            )
            decided = stub.Rollback(request, timeout=_TIMEOUT_S, metadata=_token(arguments))
    reply: pb.DecisionResponse = decided
    return reply


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--actor", default=getpass.getuser(), help="who does it; default: you")
    parser.add_argument("--json", action="store_true", help="the reply as one JSON object")
    add_door_arguments(parser)


@contextmanager
def _stub(arguments: argparse.Namespace) -> Iterator[rpc.DescriptionsStub]:
    """For the descriptions' door that was named, else of the stack that runs here."""
    address = arguments.address or _running_door(arguments.state_dir)
    options = channel_options(retries=False)
    tls = tls_of(arguments)
    channel = (
        grpc.insecure_channel(address, options=options)
        if tls is None
        else grpc.secure_channel(address, tls.credentials(), options=options)
    )
    with channel, our_errors(address):
        yield rpc.DescriptionsStub(channel)  # type: ignore[no-untyped-call]


def _token(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...] | None:
    """What shows the door who calls."""
    return authorized(token_of(arguments.token_file))


def _running_door(state_dir: Path) -> str:
    address = StateFolder(state_dir).running().addresses.get("descriptions", "")
    if not address:
        raise NotFound("the stack that runs here has no descriptions; see describe.is_on")
    return address


def _published(
    stub: rpc.DescriptionsStub, arguments: argparse.Namespace
) -> pb.DescriptionVersion | None:
    request = pb.GetDescriptionRequest(
        product_id=arguments.product, with_claims=True, kind=arguments.kind
    )
    try:
        reply = stub.GetDescription(request, timeout=_TIMEOUT_S, metadata=_token(arguments))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    version: pb.DescriptionVersion = reply.version
    return version


def _written(stub: rpc.DescriptionsStub, arguments: argparse.Namespace) -> pb.DescriptionVersion:
    request = pb.GenerateDescriptionRequest(
        product_id=arguments.product,
        actor=arguments.actor,
        seed=arguments.seed,
        kind=arguments.kind,
        brief=brief_of(arguments),
    )
    finished = pb.DescriptionVersion()
    for step in stub.GenerateDescription(request, timeout=_WRITING_S, metadata=_token(arguments)):
        if arguments.json:
            pass
        elif step.HasField("piece"):
            sys.stderr.write(step.piece.text)
            sys.stderr.flush()
        elif step.HasField("judged"):
            sys.stderr.write("\n")
            for fault in step.judged.faults:
                sys.stderr.write(f"  {fault.kind}: {fault.text} {fault.reason}\n")
        if step.HasField("finished"):
            finished = step.finished
    return finished


def _print(arguments: argparse.Namespace, reply: Message, show: Callable[[Console], Any]) -> None:
    if arguments.json:
        shown = MessageToDict(reply, preserving_proto_field_name=True)
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
        return
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=_PIPE_WIDTH)
    show(console)


def _show(console: Console, version: pb.DescriptionVersion) -> None:
    """Texts are shown as texts: no markup of theirs is obeyed."""
    for head in (version.text.title, version.text.summary):
        if head:
            console.print(Text(head, "bold"))
    console.print(Text(version.text.opening))
    for bullet in version.text.bullets:
        console.print(Text(f"  • {bullet}"))
    console.print(Text(version.text.close))
    by = version.model or f"{version.actor} (by hand)"
    console.print(
        Text(
            f"version {version.number} ({version.version_id}), {_state(version)}, by {by};"
            f" confidence {version.scores.confidence:.2f}, brand {version.scores.brand:.2f},"
            f" coverage {version.scores.coverage:.0%}",
            "cyan",
        )
    )
    for measure in version.measures:
        console.print(Text(f"{measure.name}: {measure.value:.2f}", "cyan"))
    for fault in version.faults:
        console.print(Text(f"{fault.kind}: {fault.text} {fault.reason}", "yellow"))


def _queue(found: pb.ListReviewsResponse) -> Table:
    table = Table(title=f"{found.waiting} wait", title_justify="left")
    for name in ("kind", "product", "version", "impact", "confidence", "opening"):
        table.add_column(name, no_wrap=name != "opening")
    for entry in found.entries:
        version = entry.version
        table.add_row(
            kind_name(version.kind),
            Text(version.product_id),
            version.version_id,
            f"{entry.impact:,.0f}",
            f"{version.scores.confidence:.2f}",
            Text(version.text.opening[:80]),
        )
    return table


def _history(kept: pb.ListVersionsResponse) -> Table:
    table = Table("number", "version", "state", "by", "decisions", "opening")
    for version in kept.versions:
        decisions = [d for d in kept.decisions if d.version_id == version.version_id]
        table.add_row(
            str(version.number),
            version.version_id,
            _state(version),
            Text(version.model or version.actor),
            Text(", ".join(f"{d.action} by {d.actor}" for d in reversed(decisions))),
            Text(version.text.opening[:60]),
        )
    return table


def _state(version: pb.DescriptionVersion) -> str:
    return pb.VersionState.Name(version.state).removeprefix("VERSION_").lower().replace("_", " ")
