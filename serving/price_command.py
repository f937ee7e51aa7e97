"""`vitrine price`: asks the door what a product could cost, and shows why."""

import argparse
import json
import sys
from collections.abc import Iterator

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.command import add_door_arguments, door_client
from serving.proto import recommendations_pb2 as pb

_PIPE_WIDTH = 140


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine price`."""
    parser.add_argument("product", nargs="+", metavar="PRODUCT", help="product ids, at most 500")
    parser.add_argument("--json", action="store_true", help="the reply as one JSON object")
    add_door_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Asks once and prints the suggestions; 1 if there is none for any product."""
    with door_client(arguments) as client:
        reply = client.suggest_prices(arguments.product)
    if arguments.json:
        shown = MessageToDict(reply, preserving_proto_field_name=True)
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
    else:
        console = Console()
        if not console.is_terminal:  # a file or a pipe has no width of its own
            console = Console(width=_PIPE_WIDTH)
        for each in reply.suggestions:
            for part in _shown(each, reply.currency):
                console.print(part, highlight=False)
        for loss in reply.degraded:
            console.print(Text(f"degraded: {loss.stage} {loss.reason}", "yellow"))
    return 1 if all(each.HasField("failure") for each in reply.suggestions) else 0


def _shown(each: pb.PriceSuggestion, currency: str) -> Iterator[Table | Text]:
    if each.HasField("failure"):
        yield Text(f"{each.product_id}: {each.failure.message}", "yellow")
        return
    outcome = pb.PriceOutcome.Name(each.outcome).removeprefix("PRICE_").lower().replace("_", " ")
    yield Text(
        f"{each.product_id}: {_money(each.current_price_minor)} → {_money(each.price_minor)}"
        f" {currency}  ({outcome}; nothing was applied)",
        "bold",
    )
    table = Table("reason", "what came of it")
    table.add_column("alone", justify="right")
    table.add_column("moved", justify="right")
    for reason in each.reasons:
        wish = _money(reason.wish_minor) if reason.wish_minor else "–"
        moved = f"{reason.moved_minor / 100:+,.2f}" if reason.moved_minor else "–"
        table.add_row(f"{reason.kind} {reason.name}", reason.state.replace("_", " "), wish, moved)
    yield table
    yield Text("limits: " + "  ".join(_band(limit) for limit in each.limits))


def _band(limit: pb.PriceLimitInForce) -> str:
    if limit.unknown:
        return f"{limit.name} unknown"
    least = _money(limit.least_minor) if limit.HasField("least_minor") else ""
    most = _money(limit.most_minor) if limit.HasField("most_minor") else ""
    return f"{limit.name} {least}..{most}"


def _money(minor: int) -> str:
    return f"{minor / 100:,.2f}"
