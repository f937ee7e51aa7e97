"""What a merchandiser gets: prices inside the limits, each explained to the last cent."""

from serving.proto import recommendations_pb2 as pb
from tests.e2e.running_stack import RunningStack, eventually


def some_products(stack: RunningStack, count: int) -> list[str]:
    reply = stack.home(stack.known_shopper, page_size=count)
    return [item.product_id for item in reply.items]


def suggestions(stack: RunningStack, count: int) -> pb.SuggestPriceResponse:
    """With every feed answering: the forecast is made while the stack comes up."""
    ids = some_products(stack, count)
    assert eventually(lambda: not stack.client.suggest_prices(ids).degraded)
    return stack.client.suggest_prices(ids)


def test_prices_are_suggested_inside_their_limits_with_reasons_that_add_up(
    stack: RunningStack,
) -> None:
    reply = suggestions(stack, 100)
    assert reply.release == stack.prepared.release
    changed = [each for each in reply.suggestions if each.outcome == pb.PRICE_CHANGE]
    assert len(changed) > 30
    for each in reply.suggestions:
        moved = sum(reason.moved_minor for reason in each.reasons)
        assert moved == each.price_minor - each.current_price_minor
    for each in changed:
        for limit in each.limits:
            assert not limit.unknown
            assert not limit.HasField("least_minor") or each.price_minor >= limit.least_minor
            assert not limit.HasField("most_minor") or each.price_minor <= limit.most_minor


def test_a_price_is_shown_on_the_command_line(stack: RunningStack) -> None:
    (product,) = some_products(stack, 1)
    shown = stack.cli("price", product)
    assert shown.returncode == 0, shown.stderr
    assert f"{product}: " in shown.stdout
    assert "nothing was applied" in shown.stdout


def test_a_dead_feed_costs_a_reason_and_not_the_answer(stack: RunningStack) -> None:
    ids = [each.product_id for each in suggestions(stack, 20).suggestions]
    with stack.fault("calendar", dead=True):  # current for five seconds more, then named
        assert eventually(
            lambda: (
                [loss.reason for loss in stack.client.suggest_prices(ids).degraded]
                == ["STALE_CALENDAR"]
            )
        )
    assert eventually(lambda: not stack.client.suggest_prices(ids).degraded)
