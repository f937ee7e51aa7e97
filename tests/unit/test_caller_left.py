"""A call that nobody waits for any more: neither Triton nor anybody else is asked for it."""

import asyncio

import pytest

from serving.deadline import Deadline
from serving.recommend.pipeline import recommend
from serving.turns import Turns
from shop.errors import DependencyTimeout
from tests.unit.small_shop import SmallShop, a_shop, an_ask


def until(shop: SmallShop, client_until_s: float) -> Deadline:
    """A generous budget of ours, and a client who goes at this time."""
    return Deadline(
        shop.time, start_s=0.0, total_s=10.0, reserve_s=0.0, client_until_s=client_until_s
    )


def test_a_client_who_had_gone_before_the_turn_came_costs_nothing() -> None:
    shop = a_shop()
    shop.time.pass_ms(100.0)
    with pytest.raises(DependencyTimeout, match="client's deadline has passed"):
        shop.time.run(recommend(an_ask(), shop.deps, until(shop, 0.1)))
    assert shop.histories.ask_count == shop.tower.ask_count == shop.ranker.ask_count == 0
    assert shop.inventory.ask_count == shop.pricing.ask_count == 0


def test_a_client_who_goes_on_the_way_is_ranked_nothing() -> None:
    shop = a_shop()
    shop.inventory.stalls = shop.pricing.stalls = True  # until their budgets are spent
    with pytest.raises(DependencyTimeout, match="client's deadline has passed"):
        shop.time.run(recommend(an_ask(), shop.deps, until(shop, 0.001)))
    assert shop.tower.ask_count == 1
    assert shop.ranker.ask_count == 0


def test_a_client_who_waits_longer_than_our_budget_gets_the_cheaper_answer() -> None:
    shop = a_shop()
    deadline = Deadline(shop.time, start_s=-1.0, total_s=0.5, reserve_s=0.0, client_until_s=9.0)
    answer = shop.time.run(recommend(an_ask(), shop.deps, deadline))
    assert answer.degraded
    assert answer.scores is None


def test_a_call_cancelled_while_it_waits_for_its_turn_is_never_begun() -> None:
    shop, begun = a_shop(), []

    async def leave_the_queue() -> None:
        turns = Turns(at_once=1, waiting=5)

        async def call(number: int) -> None:
            async with turns.turn():
                begun.append(number)
                await shop.recommend(an_ask())

        async with turns.turn():
            waiting = [asyncio.create_task(call(number)) for number in range(3)]
            await asyncio.sleep(0)
            waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    shop.time.run(leave_the_queue())
    assert begun == [0, 2]
    assert shop.tower.ask_count == shop.ranker.ask_count == 2
