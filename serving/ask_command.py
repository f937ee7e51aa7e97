"""`vitrine ask`: asks the door a question about products, and prints the answer as it comes."""

import argparse
import json
import sys

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.text import Text

from serving.client_calls import ASK_TIMEOUT_S
from serving.command import add_door_arguments, door_client
from serving.proto import recommendations_pb2 as pb

_PIPE_WIDTH = 140
_REFUSALS = {
    pb.NO_FACTS: "nothing that is known of these products answers it",
    pb.NO_PRODUCTS: "nothing that was asked for can be sold now",
    pb.NOT_UNDERSTOOD: "no word of it means anything in this shop",
    pb.QUESTION_REFUSED: "this is no question of a shopper",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine ask`."""
    parser.add_argument("question", metavar="QUESTION", help="e.g. 'a warm winter coat under 80'")
    parser.add_argument("--user", default="", metavar="U", help="shopper; may be unknown")
    parser.add_argument(
        "--about", action="append", default=[], metavar="P", help="a product on the page; repeat"
    )
    parser.add_argument("--filter", default="", metavar="F", help="see docs/filters.md")
    parser.add_argument("--seed", type=int, metavar="N", help="equal seeds ask for equal answers")
    parser.add_argument(
        "--json", action="store_true", help="each message as one JSON object on a line"
    )
    add_door_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints products and sentences as they come; 1 if there is no answer."""
    fields: dict[str, int] = {} if arguments.seed is None else {"seed": arguments.seed}
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=_PIPE_WIDTH)
    outcome = pb.ANSWER_OUTCOME_UNSPECIFIED
    with door_client(arguments) as client:
        for step in client.ask(
            arguments.question,
            timeout_s=ASK_TIMEOUT_S,
            user_id=arguments.user,
            context_product_ids=arguments.about,
            filter=arguments.filter,
            strict_filtering=bool(arguments.filter),
            **fields,  # type: ignore[arg-type]
        ):
            outcome = step.finished.outcome
            if arguments.json:
                shown = MessageToDict(step, preserving_proto_field_name=True)
                sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            else:
                for line in _lines(step):
                    console.print(line, highlight=False)
    return 0 if outcome == pb.ANSWERED else 1


def _lines(step: pb.AskResponse) -> list[Text]:
    if step.HasField("products"):
        return _of_products(step.products)
    if step.HasField("sentence"):
        cited = ", ".join(step.sentence.product_ids)
        return [Text.assemble(step.sentence.text, ("  [" + cited + "]", "cyan"))]
    return _of_the_end(step.finished)


def _of_products(products: pb.AskedProducts) -> list[Text]:
    lines = [
        Text.assemble(
            (f"{item.product_id}  ", "cyan"),
            f"{item.title}  {item.price_minor / 100:,.2f} {products.currency}",
        )
        for item in products.items
    ]
    lines += [Text(f"unknown: {each}", "yellow") for each in products.missing_product_ids]
    lines += [Text(f"degraded: {each.stage} {each.reason}", "yellow") for each in products.degraded]
    return lines


def _of_the_end(end: pb.FinishedAnswer) -> list[Text]:
    lines = []
    if end.outcome in _REFUSALS:
        lines.append(Text(f"no answer: {_REFUSALS[end.outcome]}", "yellow"))
    if end.untold:
        lines.append(Text(f"nothing is known about: {', '.join(end.untold)}", "yellow"))
    if end.left_out:
        why = ", ".join(f"{count} × {name}" for name, count in sorted(end.left_out_reasons.items()))
        lines.append(Text(f"written, and not said: {why}", "dim"))
    total, model = end.stage_ms.get("total", 0.0), end.model_version or "no model asked"
    lines.append(Text(f"{total:,.0f} ms, {model}", "dim"))
    return lines
