"""Commands that ask the door: `vitrine recommend` and `vitrine event`."""

import argparse
import json
import sys
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from serving.client import VitrineClient, new_event
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Stage
from serving.stack.folder import StateFolder
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
    add_address_argument(parser)


def configure_event(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine event`."""
    types = [str(event) for event in EventType if event is not EventType.SEARCH]
    parser.add_argument("type", choices=types, metavar="TYPE", help=", ".join(types))
    parser.add_argument("--user", required=True, metavar="U", help="shopper; may be new")
    parser.add_argument("--product", required=True, metavar="P", help="product id")
    parser.add_argument("--session", default="", metavar="S", help="session id")
    parser.add_argument("--token", default="", help="attribution token of the list it came from")
    parser.add_argument("--json", action="store_true", help="the receipt as one JSON object")
    add_address_argument(parser)


def add_address_argument(parser: argparse.ArgumentParser) -> None:
    """Where the door is, if not in the stack that runs here."""
    parser.add_argument(
        "--address", metavar="H:P", help="gRPC door; default: the stack that runs here"
    )


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
    with VitrineClient(door_address(arguments), timeout_s=_TIMEOUT_S) as client:
        reply = client.recommend(request)
    if arguments.json:
        _write_json(MessageToDict(reply, preserving_proto_field_name=True))
    else:
        console = Console()
        if not console.is_terminal:  # a file or a pipe has no width of its own
            console = Console(width=_PIPE_WIDTH)
        console.print(_shown(request, reply))
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
    with VitrineClient(door_address(arguments), timeout_s=_TIMEOUT_S) as client:
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


def _shown(request: pb.RecommendRequest, reply: pb.RecommendResponse) -> Group:
    parts: list[Table | Text] = [Text(line, "cyan") for line in understanding(reply)]
    parts.append(_items(reply))
    if request.explain:
        parts.append(_explanations(reply))
        if request.query:
            parts.append(_retrievals(reply))
    if not reply.items:
        parts.append(Text("No eligible product. A narrower filter than the catalogue allows?"))
    losses = (f"degraded: {loss.stage} {loss.reason}" for loss in reply.degraded)
    parts.extend(Text(loss, "yellow") for loss in losses)
    ordered = [stage.value for stage in Stage if stage.value in reply.stage_ms]
    stages = "  ".join(f"{name} {reply.stage_ms[name]:.1f}" for name in ordered)
    parts.append(
        Text(f"{reply.scored_count} candidates scored by {reply.release}  ·  ms: {stages}")
    )
    return Group(*parts)


def _items(reply: pb.RecommendResponse) -> Table:
    table = Table("#", "product", title_justify="left")
    table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=48)
    for name in (f"price {reply.currency}", "stock", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason", no_wrap=True)
    table.add_column("sources", no_wrap=True)
    for rank, item in enumerate(reply.items, start=1):
        table.add_row(
            str(rank),
            item.product_id,
            item.title,
            _price(item),
            str(item.stock) if item.HasField("stock") else "–",
            f"{item.score:.2f}",
            pb.Reason.Name(item.reason).lower(),
            ", ".join(item.sources),
        )
    return table


def _price(item: pb.RecommendedProduct) -> str:
    price = f"{item.price_minor / 100:,.2f}"
    if item.list_price_minor > item.price_minor:
        return f"(−{1 - item.price_minor / item.list_price_minor:.0%}) {price}"
    return price


def _explanations(reply: pb.RecommendResponse) -> Table:
    table = Table("#", "product")
    for name in ("click", "cart", "purchase", "return", "value", "propensity"):
        table.add_column(name, justify="right")
    table.add_column("rules")
    for rank, item in enumerate(reply.items, start=1):
        why = item.explanation
        heads = ("click", "cart", "purchase", "return_risk")
        table.add_row(
            str(rank),
            item.product_id,
            *(f"{getattr(why, head):.2%}" if why.HasField(head) else "–" for head in heads),
            f"{why.expected_value_minor / 100:.3f}",
            f"{why.propensity:.3f}",
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
