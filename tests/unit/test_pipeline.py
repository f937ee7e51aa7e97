"""The request's way with nothing lost: what goes in, what comes out, what it never does."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.recommend.request import RecentEvent, Stage
from serving.recommend.settings import RecommendSettings
from shop.blend import Quotas
from shop.candidates import Source
from shop.events import EVENT_CODES, EventType
from shop.explore import ExplorationSettings
from shop.rules import Caps
from shop.scoring import ValueWeights
from tests.unit.small_shop import (
    PLAIN,
    RELEASE,
    a_context,
    a_history,
    a_shop,
    an_ask,
)
from tests.unit.time_travel import START_MS


def test_the_list_is_ordered_by_expected_value() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask())
    assert shop.shown(answer) == [f"p{row}" for row in range(1, 11)]
    assert answer.slate.values.tolist() == sorted(answer.slate.values.tolist(), reverse=True)
    assert answer.release == RELEASE
    assert answer.scored_count == 60
    assert not answer.fallback


def test_margin_decides_between_equal_chances() -> None:
    shop = a_shop()
    shop.ranker.judge = lambda rows, _: np.full((rows.size, 4), 0.1, dtype=np.float32)
    assert shop.shown(shop.answer(an_ask(page_size=3))) == ["p60", "p59", "p58"]


def test_what_is_often_sent_back_falls() -> None:
    shop = a_shop()

    def p60_is_sent_back(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
        chances = np.full((rows.size, 4), 0.1)
        chances[:, 3] = rows == 60
        return chances.astype(np.float32)

    shop.ranker.judge = p60_is_sent_back
    answer = shop.answer(an_ask(page_size=60))
    assert shop.shown(answer)[0] == "p59"
    assert shop.shown(answer)[-1] == "p60"


def test_an_unknown_shopper_is_a_normal_answer() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(shopper="nobody"))
    assert answer.degraded == ()
    assert len(answer.slate) == 10


def test_a_shopper_without_a_name_is_not_looked_up() -> None:
    shop = a_shop()
    shop.answer(an_ask(shopper=""))
    assert shop.histories.ask_count == 0


def test_sources_of_a_product_are_known() -> None:
    shop = a_shop()
    shop.histories.of_shopper["u1"] = a_history("p20")
    answer = shop.answer(an_ask(shopper="u1", page_size=60))
    at = dict(zip(answer.slate.rows, answer.slate.at, strict=True))
    scores = answer.candidates.source_scores
    assert scores[at[20], Source.HISTORY] == 1.0
    assert scores[at[21], Source.ITEM_ITEM] == 1.0
    assert not math.isnan(scores[at[20], Source.TWO_TOWER])
    assert math.isnan(scores[at[40], Source.HISTORY])


def test_a_source_without_quota_is_not_asked() -> None:
    shop = a_shop(settings=replace(PLAIN, quotas=Quotas(two_tower=0)))
    answer = shop.answer(an_ask())
    assert shop.index.ask_count == 0
    assert shop.tower.ask_count == 1  # the ranker wants its vector
    assert answer.degraded == ()
    assert not answer.fallback


def test_this_session_counts_in_this_very_call() -> None:
    shop = a_shop(settings=replace(PLAIN, value=VALUE_OF_CO_OCCURRENCE))
    shop.ranker.judge = by_item_item
    event = RecentEvent(EVENT_CODES[EventType.CLICK], "p40", START_MS)
    assert shop.shown(shop.answer(an_ask(page_size=1, recent_events=(event,)))) == ["p41"]


def by_item_item(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A ranker that goes by the third candidate value alone."""
    chances = np.zeros((rows.size, 4))
    chances[:, 2] = values[:, 2]
    return chances.astype(np.float32)


VALUE_OF_CO_OCCURRENCE = ValueWeights(1.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("field", ["context_product_ids", "cart_product_ids"])
def test_what_the_page_shows_steers_the_list_and_is_not_in_it(field: str) -> None:
    shop = a_shop(settings=replace(PLAIN, value=VALUE_OF_CO_OCCURRENCE))
    shop.ranker.judge = by_item_item
    shown = shop.shown(shop.answer(an_ask(page_size=60, **{field: ("p40",)})))
    assert shown[:3] == ["p41", "p42", "p43"]
    assert "p40" not in shown


def test_excluded_products_are_not_shown_and_others_take_their_place() -> None:
    shop = a_shop()
    shown = shop.shown(shop.answer(an_ask(exclude_product_ids=frozenset({"p1", "p3"}))))
    assert shown == ["p2", "p4", *(f"p{row}" for row in range(5, 13))]


def test_unknown_products_of_the_request_are_reported_once() -> None:
    shop = a_shop()
    answer = shop.answer(
        an_ask(
            context_product_ids=("p1", "x1"),
            cart_product_ids=("x2", "x1"),
            recent_events=(RecentEvent(EVENT_CODES[EventType.CLICK], "x3", START_MS),),
            exclude_product_ids=frozenset({"x4", "p2"}),
        )
    )
    assert answer.missing_product_ids == ("x1", "x2", "x3", "x4")


def test_sold_out_products_are_not_shown() -> None:
    shop = a_shop()
    shop.inventory.units |= {"p1": 0, "p2": None}
    assert shop.shown(shop.answer(an_ask(page_size=3))) == ["p2", "p3", "p4"]


def test_products_without_a_price_are_not_shown() -> None:
    shop = a_shop()
    del shop.pricing.price_minor["p1"]
    assert shop.shown(shop.answer(an_ask(page_size=2))) == ["p2", "p3"]


def test_nothing_to_sell_is_an_empty_list_and_no_impression() -> None:
    shop = a_shop()
    shop.inventory.units = dict.fromkeys(shop.inventory.units, 0)
    answer = shop.answer(an_ask())
    assert len(answer.slate) == 0
    assert answer.degraded == ()
    assert answer.next_page is None
    assert shop.ranker.ask_count == 0
    assert shop.log.impressions == []


def test_a_product_whose_scores_are_not_numbers_comes_last() -> None:
    shop = a_shop()

    def p1_is_nan(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
        chances = np.full((rows.size, 4), 0.1)
        chances[rows == 1] = math.nan
        return chances.astype(np.float32)

    shop.ranker.judge = p1_is_nan
    answer = shop.answer(an_ask(page_size=60))
    assert shop.shown(answer)[-1] == "p1"
    assert answer.degraded == ()


def test_the_promoted_price_is_shown_and_ranked() -> None:
    shop = a_shop()
    shop.promotions.percent_off = {"p1": 50.0}
    seen: list[float] = []

    def note_discount(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        seen.append(float(values[rows == 1][0][1]))
        return np.full((rows.size, 4), 0.1, dtype=np.float32)

    shop.ranker.judge = note_discount
    answer = shop.answer(an_ask(page_size=60))
    at = answer.slate.at[shop.shown(answer).index("p1")]
    assert answer.offers.price_minor[at] == 550
    assert answer.offers.list_price_minor[at] == 1_100
    assert seen == [0.5]


def test_every_stage_is_timed() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask())
    of_prices = {Stage.FEEDS, Stage.PRICING}  # see test_price_suggestions.py
    elsewhere = {Stage.QUERY, Stage.CACHE}  # see test_pipeline_search.py, test_cached_lists.py
    assert set(answer.stage_ms) == {stage.value for stage in Stage} - of_prices - elsewhere


def test_a_preview_shows_the_same_list_and_is_not_logged_as_shown() -> None:
    shop = a_shop()
    seen = shop.shown(shop.answer(an_ask()))
    logged = len(shop.log.impressions)
    assert shop.shown(shop.answer(an_ask(preview=True))) == seen
    assert len(shop.log.impressions) == logged


def test_the_impression_tells_what_was_shown_in_which_context() -> None:
    shop = a_shop()
    shop.histories.of_shopper["u1"] = a_history("p5", segment="loyal", country="FR", device="tv")
    shop.promotions.percent_off = {"p1": 10.0}
    answer = shop.answer(an_ask(shopper="u1", page_size=2))
    (impression,) = shop.log.impressions
    assert impression.product_ids == tuple(shop.shown(answer)) == ("p1", "p2")
    assert impression.price_minor == (990, 1_200)
    assert impression.discounts == (pytest.approx(0.1), 0.0)
    assert impression.propensities == (1.0, 1.0)
    assert (impression.request_id, impression.shopper) == ("request-1", "u1")
    assert (impression.segment, impression.country) == ("loyal", "FR")  # from the profile
    assert impression.device == "mobile"  # the request knows better
    assert (impression.release, impression.first_position) == (RELEASE, 1)


EXPLORING = replace(PLAIN, exploration=ExplorationSettings(epsilon=0.5, slots=(2, 4)))


def test_the_same_request_id_explores_alike_and_another_differs() -> None:
    shop = a_shop(settings=EXPLORING)
    first, again = (shop.shown(shop.answer(an_ask(request_id="a"))) for _ in range(2))
    others = {tuple(shop.shown(shop.answer(an_ask(request_id=f"b{n}")))) for n in range(8)}
    assert first == again
    assert len(others) > 1


def test_explored_products_carry_their_propensity_into_the_log() -> None:
    shop = a_shop(settings=EXPLORING)
    for number in range(8):
        answer = shop.answer(an_ask(request_id=f"b{number}"))
        slots = answer.slate.propensities[[1, 3]]
        assert (slots < 1.0).all()
        assert shop.log.impressions[-1].propensities == tuple(answer.slate.propensities.tolist())


def test_cancelling_a_call_reaches_what_it_waits_for() -> None:
    shop = a_shop()
    shop.ranker.stalls = True

    async def give_up() -> int:
        call = asyncio.create_task(shop.recommend(an_ask()))
        await asyncio.sleep(0.001)  # virtual: until everything waits for the ranker
        assert shop.ranker.ask_count == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return len(asyncio.all_tasks())

    assert shop.time.run(give_up()) == 1
    assert shop.log.impressions == []


def test_the_order_of_calls_does_not_matter() -> None:
    shop, other = a_shop(), a_shop()
    for shopper in ("u1", "u2"):
        shop.histories.of_shopper[shopper] = a_history("p9", "p30")
        other.histories.of_shopper[shopper] = a_history("p9", "p30")
    one = [shop.shown(shop.answer(an_ask(shopper=s))) for s in ("u1", "u2")]
    two = [other.shown(other.answer(an_ask(shopper=s))) for s in ("u2", "u1")]
    assert one == two[::-1]


ids = st.integers(1, 45).map(lambda n: f"p{n}")  # p41 … p45 do not exist


@settings(max_examples=40, deadline=None)
@given(
    stock=st.lists(st.sampled_from([0, 3, None]), min_size=40, max_size=40),
    past=st.lists(ids, max_size=12),
    cart=st.lists(ids, max_size=3),
    excluded=st.frozensets(ids, max_size=10),
    page_size=st.integers(1, 50),
    diversity=st.floats(0, 1),
    request_id=st.text(min_size=1, max_size=8),
)
def test_a_list_is_distinct_sellable_and_without_what_was_excluded(
    stock: list[int | None],
    past: list[str],
    cart: list[str],
    excluded: frozenset[str],
    page_size: int,
    diversity: float,
    request_id: str,
) -> None:
    shop = a_shop(40, settings=RecommendSettings(caps=Caps()))
    shop.inventory.units = {f"p{n}": units for n, units in enumerate(stock, start=1)}
    shop.histories.of_shopper["u1"] = a_history(*past)
    shown = shop.shown(
        shop.answer(
            an_ask(
                shopper="u1",
                request_id=request_id,
                context=a_context(placement="cart"),
                cart_product_ids=tuple(cart),
                exclude_product_ids=excluded,
                page_size=page_size,
                diversity=diversity,
            )
        )
    )
    sellable = {name for name, units in shop.inventory.units.items() if units != 0}
    sellable -= set(cart) | excluded
    assert len(shown) == len(set(shown)) == min(page_size, len(sellable))
    assert set(shown) <= sellable
