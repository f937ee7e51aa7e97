"""Commands that ask the door: `vitrine recommend`, `vitrine rerank` and `vitrine event`."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from serving.client import ClientTls, VitrineClient, new_event
from serving.client_calls import read_token
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Stage
from serving.settings_reader import TOKEN_FILE, named_token_file
from serving.stack.folder import StateFolder
from shop.errors import NotFound
from shop.events import EventType
from shop.features import PLACEMENTS

_MAX_PAGE = 500
_TIMEOUT_S = 5.0
_PIPE_WIDTH = 140


def configure_recommend(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine recommend`."""
    parser.add_argument("--user", required=True, metavar="U", help="shopper; may be unknown")
    parser.add_argument("--session", default="", metavar="S", help="session id")
    parser.add_argument(
        "--placement", choices=PLACEMENTS, help="default: home; with --query it is search"
    )
    parser.add_argument("--query", default="", metavar="Q", help="e.g. 'summer dresses under $50'")
    parser.add_argument("--filter", default="", metavar="F", help="e.g. 'price < 50 AND in_stock'")
    parser.add_argument("-n", type=_page_size, default=20, metavar="N", help="1 to 500, default 20")
    parser.add_argument(
        "--explain", action="store_true", help="probabilities, value and rules of every product"
    )
    parser.add_argument("--json", action="store_true", help="the reply as one JSON object")
    add_door_arguments(parser)


def configure_rerank(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine rerank`."""
    parser.add_argument(
        "product", nargs="+", metavar="PRODUCT", help="ids, best first; at most 500"
    )
    parser.add_argument("--user", default="", metavar="U", help="shopper; may be unknown")
    parser.add_argument("--session", default="", metavar="S", help="session id")
    parser.add_argument("--placement", default="search", choices=PLACEMENTS, help="default: search")
    parser.add_argument(
        "--sold-out-last", action="store_true", help="keep what is sold out, behind all others"
    )
    parser.add_argument(
        "--explain", action="store_true", help="probabilities, value and rules of every product"
    )
    parser.add_argument("--json", action="store_true", help="the reply as one JSON object")
    add_door_arguments(parser)


def configure_event(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine event`."""
    types = [str(event) for event in EventType if event is not EventType.SEARCH]
    parser.add_argument("type", choices=types, metavar="TYPE", help=", ".join(types))
    parser.add_argument("--user", required=True, metavar="U", help="shopper; may be new")
    parser.add_argument("--product", required=True, metavar="P", help="product id")
    parser.add_argument("--session", default="", metavar="S", help="session id")
    parser.add_argument("--token", default="", help="attribution token of the list it came from")
    parser.add_argument("--json", action="store_true", help="the receipt as one JSON object")
    add_door_arguments(parser)


def add_address_argument(parser: argparse.ArgumentParser) -> None:
    """Where the door is, if not in the stack that runs here."""
    parser.add_argument(
        "--address", metavar="H:P", help="gRPC door; default: the stack that runs here"
    )


def add_door_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the door is, and how to speak to it if it speaks TLS; for `door_client`."""
    add_address_argument(parser)
    for name, meaning in (
        ("ca", "the door speaks TLS, with a certificate signed by one of these (PEM)"),
        ("certificate", "ours, for doors that ask for one (PEM)"),
        ("key", "of our certificate (PEM)"),
    ):
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help=meaning)
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"our token, for doors that ask for one; default: the file that {TOKEN_FILE} names",
    )


def door_client(arguments: argparse.Namespace) -> VitrineClient:
    """For the door that was named. Raises NotFound if there is none, or no such file."""
    tls, token = tls_of(arguments), token_of(arguments.token_file)
    return VitrineClient(door_address(arguments), timeout_s=_TIMEOUT_S, tls=tls, token=token)


def tls_of(arguments: argparse.Namespace) -> ClientTls | None:
    """From the files that were named; None if none was. Raises NotFound if there is no such."""
    files = (arguments.tls_ca, arguments.tls_certificate, arguments.tls_key)
    try:
        return ClientTls.of_files(*files) if any(files) else None
    except OSError as error:
        raise NotFound(f"{error.filename}: {error.strerror}; name a PEM file") from error


def token_of(file: Path | None) -> str | None:
    """In this file, else in the one that the environment names; None if neither is named."""
    named = named_token_file() if file is None else file
    return None if named is None else read_token(named)


def door_address(arguments: argparse.Namespace) -> str:
    """Raises NotFound, naming the fix, if no door was named and no stack runs here."""
    if arguments.address:
        return str(arguments.address)
    folder: Path = arguments.state_dir
    return StateFolder(folder).running().door


def run_recommend(arguments: argparse.Namespace) -> int:
    """Asks once and prints the list."""
    request = pb.RecommendRequest(
        user_id=arguments.user,
        session_id=arguments.session,
        placement=arguments.placement or ("search" if arguments.query else "home"),
        query=arguments.query,
        filter=arguments.filter,
        page_size=arguments.n,
        explain=arguments.explain,
    )
    with door_client(arguments) as client:
        reply = client.recommend(request)
    _print(reply, explained=arguments.explain, as_json=arguments.json)
    return 0


def run_rerank(arguments: argparse.Namespace) -> int:
    """Asks once and prints the list in its new order, and what is not in it."""
    with door_client(arguments) as client:
        reply = client.rerank(
            arguments.product,
            user_id=arguments.user,
            session_id=arguments.session,
            placement=arguments.placement,
            sold_out=pb.SOLD_OUT_LAST if arguments.sold_out_last else pb.SOLD_OUT_LEAVE_OUT,
            explain=arguments.explain,
        )
    _print(reply, explained=arguments.explain, as_json=arguments.json)
    return 0


def run_event(arguments: argparse.Namespace) -> int:
    """Logs one event and prints the receipt."""
    event = new_event(
        arguments.type,
        user_id=arguments.user,
        session_id=arguments.session,
        product_id=arguments.product,
        attribution_token=arguments.token,
    )
    with door_client(arguments) as client:
        receipt = client.log_events([event])
    if arguments.json:
        _write_json(MessageToDict(receipt, preserving_proto_field_name=True))
        return 0
    unknown = f"; this release does not know {arguments.product}, it was logged all the same"
    sys.stdout.write(
        f"logged: {arguments.type} of {arguments.product} by {arguments.user}"
        f"{unknown if receipt.unknown_product_ids else ''}\n"
    )
    return 0


def _page_size(text: str) -> int:
    try:
        size = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; give 1 to {_MAX_PAGE}") from error
    if not 1 <= size <= _MAX_PAGE:
        raise argparse.ArgumentTypeError(f"{size} products cannot be asked for; 1 to {_MAX_PAGE}")
    return size


_Reply = pb.RecommendResponse | pb.RerankResponse


def _print(reply: _Reply, *, explained: bool, as_json: bool) -> None:
    if as_json:
        _write_json(MessageToDict(reply, preserving_proto_field_name=True))
        return
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=_PIPE_WIDTH)
    console.print(_shown(reply, explained=explained))


def _shown(reply: _Reply, *, explained: bool) -> Group:
    parts: list[Table | Text] = []
    if isinstance(reply, pb.RecommendResponse):
        parts.extend(Text(line, "cyan") for line in understanding(reply))
    parts.append(_items(reply))
    if explained:
        parts.append(_explanations(reply))
        if isinstance(reply, pb.RecommendResponse) and reply.HasField("search"):
            parts.append(_retrievals(reply))
    if isinstance(reply, pb.RerankResponse):
        parts.extend(_not_in_it(reply))
    else:
        parts.extend(_about_the_filter(reply))
    losses = (
        f"degraded: {loss.stage} {loss.reason}"
        + (f" ({loss.searched_share:.0%} searched)" if loss.searched_share else "")
        for loss in reply.degraded
    )
    parts.extend(Text(loss, "yellow") for loss in losses)
    stages = "  ".join(
        f"{name} {reply.stage_ms[name]:.1f}" for name in Stage.ordered(reply.stage_ms)
    )
    parts.append(
        Text(f"{reply.scored_count} candidates scored by {reply.release}  ·  ms: {stages}")
    )
    return Group(*parts)


def _about_the_filter(reply: pb.RecommendResponse) -> Iterator[Text]:
    if not reply.items:
        yield Text("No eligible product. A narrower filter than the catalogue allows?")
    if reply.relaxed:
        yield Text(f"filter relaxed, without {', '.join(reply.relaxed)}", "yellow")


def _not_in_it(reply: pb.RerankResponse) -> Iterator[Text]:
    for each in reply.left_out:
        why = pb.LeftOutReason.Name(each.reason).removeprefix("LEFT_OUT_").lower().replace("_", " ")
        yield Text(f"left out: {each.product_id} ({why})", "yellow")
    if reply.missing_product_ids:
        yield Text(f"unknown: {', '.join(reply.missing_product_ids)}", "yellow")


def _items(reply: _Reply) -> Table:
    """Fits a narrow terminal at the cost of the titles alone."""
    table = Table(title_justify="left")
    table.add_column("#", no_wrap=True)
    table.add_column("product", no_wrap=True)
    table.add_column("title", max_width=48)
    for name in (f"price {reply.currency}", "stock", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason", no_wrap=True)
    for rank, item in enumerate(reply.items, start=1):
        table.add_row(
            str(rank),
            item.product_id,
            Text(item.title, no_wrap=True, overflow="ellipsis"),
            _price(item),
            str(item.stock) if item.HasField("stock") else "–",
            f"{item.score:.2f}",
            pb.Reason.Name(item.reason).lower(),
        )
    return table


def _price(item: pb.RecommendedProduct) -> str:
    price = f"{item.price_minor / 100:,.2f}"
    if item.list_price_minor > item.price_minor:
        return f"(−{1 - item.price_minor / item.list_price_minor:.0%}) {price}"
    return price


def _explanations(reply: _Reply) -> Table:
    table = Table()
    for name in ("#", "product"):
        table.add_column(name, no_wrap=True)
    for name in ("click", "cart", "purchase", "return", "propensity"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("sources", overflow="fold")
    table.add_column("rules", overflow="fold")
    for rank, item in enumerate(reply.items, start=1):
        why = item.explanation
        heads = ("click", "cart", "purchase", "return_risk")
        table.add_row(
            str(rank),
            item.product_id,
            *(f"{getattr(why, head):.2%}" if why.HasField(head) else "–" for head in heads),
            f"{why.propensity:.3f}",
            ", ".join(item.sources),
            ", ".join(why.rules),
        )
    return table


def understanding(reply: pb.RecommendResponse) -> list[str]:
    """How the query was read, line by line; none without a query."""
    if not reply.HasField("search"):
        return []
    search = reply.search
    lines = [f"searched: {search.text or '–'}  inside: {search.filter or 'everything'}"]
    if search.corrections:
        pairs = ", ".join(f"{each.written} → {each.read_as}" for each in search.corrections)
        lines.append(f"read as: {pairs}")
    if search.relaxed:
        asked = search.constraints or "no word of it is known here"
        lines.append(f"relaxed: nothing satisfies what was asked for ({asked})")
    if search.currency and search.currency != reply.currency:
        lines.append(f"amounts in {search.currency} are taken as {reply.currency}")
    return lines


def _retrievals(reply: pb.RecommendResponse) -> Table:
    """Which retrieval found each product, by its own measure."""
    table = Table("#", "product")
    names = ("text", "lexical")
    for name in names:
        table.add_column(name, justify="right")
    for rank, item in enumerate(reply.items, start=1):
        scores = item.explanation.source_scores
        found = (f"{scores[name]:.3f}" if name in scores else "–" for name in names)
        table.add_row(str(rank), item.product_id, *found)
    return table


def _write_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
