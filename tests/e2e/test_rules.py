"""A merchandiser's day: a book written while the shop serves, a typing error, a book taken back."""

from collections.abc import Iterator

import pytest

from serving.proto import recommendations_pb2 as pb
from tests.e2e.running_stack import RunningStack, eventually

HEAD = 'schema = 1\nversion = "{}"\n'


@pytest.fixture(autouse=True)
def _no_rules_again(stack: RunningStack) -> Iterator[None]:
    yield
    write(stack, "none")
    assert eventually(lambda: version(stack) == "none")


def write(stack: RunningStack, named: str, *rules: str) -> None:
    tables = "".join(f'[[rules]]\nid = "r{n}"\n{rule}\n' for n, rule in enumerate(rules, start=1))
    part = stack.state_dir / "rules.part"
    part.write_text(HEAD.format(named) + tables)
    part.rename(stack.state_dir / "rules.toml")


def version(stack: RunningStack) -> str:
    rules = stack.cli_json("status")["rules"]
    return "" if rules is None else str(rules["version"])


def top(stack: RunningStack, country: str = "DE") -> list[pb.RecommendedProduct]:
    shopper = stack.known_shopper
    return list(stack.home(shopper, country=country, explain=True, request_id="r").items)


def test_a_book_is_taken_up_while_the_door_serves(stack: RunningStack) -> None:
    before = [item.product_id for item in top(stack)]
    last, first = before[-1], before[0]
    write(
        stack,
        "monday",
        f'kind = "pin"\nproduct = "{last}"\nposition = 1',
        f'kind = "legal"\ncountries = ["FR"]\nproducts = ["{first}"]',
    )
    assert eventually(lambda: top(stack)[0].product_id == last)
    leader = top(stack)[0]
    assert leader.reason == pb.PROMOTED
    assert "pin:r1" in leader.explanation.rules
    assert first in [item.product_id for item in top(stack)]
    assert first not in [item.product_id for item in top(stack, country="FR")]
    assert first not in [item.product_id for item in top(stack, country="")]
    assert version(stack) == "monday"


def test_a_faulty_book_is_told_of_and_the_one_before_stays(stack: RunningStack) -> None:
    product = top(stack)[0].product_id
    write(stack, "good", f'kind = "exclude"\nproducts = ["{product}"]')
    assert eventually(lambda: version(stack) == "good")
    write(stack, "bad", 'kind = "exclude"\ncategories = ["no such category"]')
    assert eventually(lambda: bool(stack.cli_json("status")["rules"]["faults"]))
    assert version(stack) == "good"
    assert product not in [item.product_id for item in top(stack)]
    shown = stack.cli("status").stdout
    assert "rules REFUSED" in shown
    checked = stack.cli("rules", "check")
    assert checked.returncode == 1
    assert "is no category of this catalogue" in checked.stdout
    assert "exclude:r1" in stack.cli("rules", "show").stdout
