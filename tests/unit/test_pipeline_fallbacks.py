"""Every row of the table of fallbacks: what is lost, what the answer is, what the reply says.

Time is virtual: a stage that stalls costs its budget on the clock and nothing in the test.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from serving.adapters.memory import Temper
from serving.recommend.request import Degradation, Stage
from shop.candidates import Source
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.neighbours import Neighbours
from tests.unit.small_shop import PLAIN, SmallShop, a_history, a_shop, an_ask, next_five

UNAVAILABLE = DependencyUnavailable("twin", "switched off")
TIMEOUT = DependencyTimeout("twin", "too slow")


def stall(twin: Temper) -> None:
    twin.stalls = True


def refuse(twin: Temper) -> None:
    twin.failure = UNAVAILABLE


def time_out(twin: Temper) -> None:
    twin.failure = TIMEOUT


every_way = pytest.mark.parametrize("lose", [stall, refuse, time_out])
Lose = Callable[[Temper], None]


def a_visited_shop() -> SmallShop:
    shop = a_shop()
    shop.histories.of_shopper["u1"] = a_history("p30", "p40")
    return shop


def reasons(answer_degraded: tuple[tuple[str, Degradation], ...]) -> list[tuple[str, str]]:
    return [(stage, reason.value) for stage, reason in answer_degraded]


@every_way
def test_lost_history_is_a_cold_start_from_the_context(lose: Lose) -> None:
    shop = a_visited_shop()
    stranger = shop.shown(shop.answer(an_ask(shopper="nobody")))
    lose(shop.histories)
    answer = shop.answer(an_ask(shopper="u1"))
    assert reasons(answer.degraded) == [("history", "NO_HISTORY")]
    assert shop.shown(answer) == stranger


@every_way
def test_a_lost_tower_leaves_item_item_then_popular(lose: Lose) -> None:
    shop = a_visited_shop()
    lose(shop.tower)
    shop.ranker.failure = UNAVAILABLE  # so that the order is the retrieval's
    answer = shop.answer(an_ask(shopper="u1", page_size=60))
    assert ("candidates", "FALLBACK_CANDIDATES") in reasons(answer.degraded)
    assert answer.fallback
    assert shop.index.ask_count == 0
    # p40's neighbours before p30's (0.7 of their scores), then the own history, then popular.
    assert shop.shown(answer)[:4] == ["p41", "p31", "p42", "p32"]
    assert shop.shown(answer)[10:12] == ["p40", "p30"]
    assert np.isnan(answer.candidates.source_scores[:, Source.TWO_TOWER]).all()


@every_way
def test_a_lost_index_leaves_the_same(lose: Lose) -> None:
    shop = a_visited_shop()
    lose(shop.index)
    answer = shop.answer(an_ask(shopper="u1"))
    assert reasons(answer.degraded) == [("candidates", "FALLBACK_CANDIDATES")]
    assert answer.fallback
    assert len(answer.slate) == 10


def test_without_tower_and_history_the_popular_of_the_page_s_category_come_first() -> None:
    nobody = Neighbours(np.zeros((61, 5), dtype=np.int32), np.zeros((61, 5), dtype=np.float32))
    shop = a_shop(neighbours=nobody)
    shop.tower.failure = shop.ranker.failure = UNAVAILABLE
    answer = shop.answer(an_ask(context_product_ids=("p8",), page_size=4))
    assert shop.shown(answer) == ["p4", "p12", "p16", "p20"]  # p8's own category, without p8


@pytest.mark.parametrize("fault", ["shape", "nan"])
def test_a_senseless_user_vector_is_a_lost_tower(fault: str) -> None:
    shop = a_shop()
    if fault == "shape":
        shop.tower.item_vectors = np.eye(3, dtype=np.float32)
    else:
        shop.tower.item_vectors = np.full((61, 4), np.nan, dtype=np.float32)
        shop.histories.of_shopper["u1"] = a_history("p1")
    answer = shop.answer(an_ask(shopper="u1"))
    assert reasons(answer.degraded) == [("candidates", "FALLBACK_CANDIDATES")]


def test_an_index_of_another_catalogue_is_a_lost_index() -> None:
    shop = a_shop()
    shop.index.item_vectors = np.ones((99, 4), dtype=np.float32)
    answer = shop.answer(an_ask())
    assert reasons(answer.degraded) == [("candidates", "FALLBACK_CANDIDATES")]


def test_a_lost_source_leaves_the_others() -> None:
    table = next_five(60)
    table.rows[40, 2] = 61  # a product that this catalogue does not have
    shop = a_shop(neighbours=table)
    shop.histories.of_shopper["u1"] = a_history("p40")
    answer = shop.answer(an_ask(shopper="u1"))
    assert reasons(answer.degraded) == [("candidates", "SOURCE_LOST")]
    assert not answer.fallback
    assert len(answer.slate) == 10


@every_way
def test_a_lost_price_is_the_last_known_one(lose: Lose) -> None:
    shop = a_shop()
    learnt_ms = shop.time.now_ms
    shop.answer(an_ask())
    lose(shop.pricing)
    shop.time.pass_ms(10_000)
    answer = shop.answer(an_ask())
    assert reasons(answer.degraded) == [("lookups", "STALE_PRICE")]
    assert set(answer.offers.price_as_of_ms.tolist()) == {learnt_ms}
    assert len(answer.slate) == 10


@every_way
def test_a_product_whose_price_was_never_known_is_dropped(lose: Lose) -> None:
    shop = a_shop()
    lose(shop.pricing)
    answer = shop.answer(an_ask())
    assert reasons(answer.degraded) == [("lookups", "STALE_PRICE")]
    assert len(answer.slate) == 0


@every_way
def test_lost_stock_never_sells_what_is_known_to_be_gone(lose: Lose) -> None:
    shop = a_shop()
    shop.inventory.units["p1"] = 0
    shop.answer(an_ask())
    lose(shop.inventory)
    shop.time.pass_ms(500_000)  # older than any limit
    answer = shop.answer(an_ask())
    assert reasons(answer.degraded) == [("lookups", "STALE_STOCK")]
    assert shop.shown(answer)[:2] == ["p2", "p3"]
    assert not answer.offers.stock_known.any()


@pytest.mark.parametrize(("sell", "shown"), [(True, 10), (False, 0)])
def test_stock_never_known_follows_the_settings(sell: bool, shown: int) -> None:
    shop = a_shop(settings=replace(PLAIN, offers=replace(PLAIN.offers, sell_unknown_stock=sell)))
    shop.inventory.failure = UNAVAILABLE
    answer = shop.answer(an_ask())
    assert reasons(answer.degraded) == [("lookups", "STALE_STOCK")]
    assert len(answer.slate) == shown


@every_way
def test_a_lost_promotion_is_the_list_price(lose: Lose) -> None:
    shop = a_shop()
    shop.promotions.percent_off = {"p1": 50.0}
    lose(shop.promotions)
    answer = shop.answer(an_ask())
    assert reasons(answer.degraded) == [("lookups", "DEFAULT_OFFER")]
    assert (answer.offers.price_minor == answer.offers.list_price_minor).all()


@every_way
def test_a_lost_ranker_leaves_the_retrieval_order_with_rules_applied(lose: Lose) -> None:
    shop = a_shop()
    shop.inventory.units["p1"] = 0
    lose(shop.ranker)
    answer = shop.answer(an_ask(page_size=60, diversity=1.0, exclude_product_ids=frozenset({"p2"})))
    assert reasons(answer.degraded) == [("ranking", "NO_RANKING")]
    assert answer.scores is None
    assert answer.scored_count == 0
    assert not {"p1", "p2"} & set(shop.shown(answer))
    categories = shop.deps.release.tables.catalogue.category_codes[answer.slate.rows[:4]]
    assert len(set(categories.tolist())) == 4  # diversity took turns
    assert answer.slate.at[0] == 0  # the retrieval's first


@pytest.mark.parametrize("fault", ["shape", "nan"])
def test_senseless_probabilities_are_a_lost_ranker(fault: str) -> None:
    shop = a_shop()
    shape = (61, 4) if fault == "shape" else (60, 4)
    shop.ranker.judge = lambda rows, values: np.full(shape, np.nan, dtype=np.float32)
    assert reasons(shop.answer(an_ask()).degraded) == [("ranking", "NO_RANKING")]


STAGE_OF = {
    "histories": (Stage.HISTORY, PLAIN.budgets.history_ms),
    "tower": (Stage.TOWER, PLAIN.budgets.tower_ms),
    "index": (Stage.CANDIDATES, PLAIN.budgets.index_ms),
    "pricing": (Stage.LOOKUPS, PLAIN.budgets.lookups_ms),
    "ranker": (Stage.RANKING, PLAIN.budgets.ranking_ms),
}


@pytest.mark.parametrize("stage", STAGE_OF)
def test_a_stage_that_stalls_costs_its_budget_and_no_more(stage: str) -> None:
    shop = a_visited_shop()
    getattr(shop, stage).stalls = True
    answer = shop.answer(an_ask(shopper="u1"))
    name, budget_ms = STAGE_OF[stage]
    assert budget_ms - 1.0 <= answer.stage_ms[name.value] <= budget_ms + 1e-6
    assert budget_ms - 1.0 <= answer.stage_ms["total"] <= budget_ms + 1e-6
    assert len(answer.degraded) == 1


def test_everything_stalling_still_answers_within_the_deadline() -> None:
    shop = a_visited_shop()
    shop.answer(an_ask())  # prices were known once
    shop.time.pass_ms(5_000)
    for stage in STAGE_OF:
        getattr(shop, stage).stalls = True
    answer = shop.answer(an_ask(shopper="u1"), total_s=0.05)
    assert 44.0 <= answer.stage_ms["total"] <= 45.0 + 1e-6  # 5 ms stay in reserve
    assert {reason for _, reason in answer.degraded} == {
        Degradation.NO_HISTORY,
        Degradation.FALLBACK_CANDIDATES,
        Degradation.STALE_PRICE,
        Degradation.NO_RANKING,
    }
    assert len(answer.slate) == 10


def test_a_spent_deadline_asks_nobody_and_still_answers() -> None:
    shop = a_visited_shop()
    shop.answer(an_ask())
    asked = (shop.tower.ask_count, shop.ranker.ask_count, shop.histories.ask_count)
    answer = shop.answer(an_ask(shopper="u1"), total_s=0.004)  # less than the reserve
    assert (shop.tower.ask_count, shop.ranker.ask_count, shop.histories.ask_count) == asked
    assert len(answer.slate) == 10
    assert answer.stage_ms["total"] == 0.0


def test_recovery_shows_in_the_very_next_call() -> None:
    shop = a_visited_shop()
    shop.tower.stalls = shop.ranker.stalls = True
    assert shop.answer(an_ask(shopper="u1")).degraded
    shop.tower.stalls = shop.ranker.stalls = False
    assert shop.answer(an_ask(shopper="u1")).degraded == ()


def test_degradations_reach_the_log() -> None:
    shop = a_shop()
    shop.ranker.failure = UNAVAILABLE
    shop.answer(an_ask())
    assert shop.log.impressions[0].degraded == ("NO_RANKING",)
