"""Filters on the request's way: in the search, on the other sources, and on the final offers."""

import asyncio
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.recommend.filter_masks import FilterMasks
from serving.recommend.request import Degradation
from serving.recommend.settings import RecommendSettings
from serving.telemetry import Telemetry
from shop.blend import Quotas
from shop.errors import DependencyUnavailable
from tests.unit.small_shop import CATEGORIES, PLAIN, a_history, a_shop, an_ask

LAMPS = [f"p{row}" for row in range(1, 61) if CATEGORIES[row % 4 + 1] == "lamps"]


def test_a_strict_filter_is_never_left() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(filter='category = "lamps"', strict_filtering=True, page_size=40))
    assert shop.shown(answer) == LAMPS
    assert answer.next_page is None


def test_lists_that_left_their_filter_are_counted() -> None:
    shop, telemetry = a_shop(), Telemetry()
    for strict in (True, False, False):
        telemetry.answered(
            shop.answer(an_ask(filter='category = "lamps"', strict_filtering=strict, page_size=40))
        )
    assert telemetry.registry.get_sample_value("vitrine_relaxed_answers_total") == 2


def only_the_tower(count: int) -> Quotas:
    """`count` candidates, all of them from the two-tower model."""
    return Quotas(
        two_tower=count,
        item_item=0,
        history=0,
        popular=0,
        exploration=0,
        candidates=count,
        looked_up=count,
    )


def test_a_filter_does_not_starve_the_search() -> None:
    few = replace(PLAIN, quotas=only_the_tower(10))
    shop = a_shop(settings=few)
    answer = shop.answer(an_ask(filter='category = "lamps"', strict_filtering=True))
    assert len(answer.slate) == 10


def test_every_source_keeps_to_the_filter() -> None:
    shop = a_shop(settings=RecommendSettings())
    shop.histories.of_shopper["u1"] = a_history("p4", "p5", "p6")
    for lost in (None, DependencyUnavailable("triton", "off")):
        shop.tower.failure = lost
        answer = shop.answer(
            an_ask(shopper="u1", filter='category = "lamps"', strict_filtering=True)
        )
        assert set(shop.shown(answer)) <= set(LAMPS)
        assert len(answer.candidates) == len(LAMPS)


def test_a_short_list_is_filled_by_relaxing_a_filter_that_is_not_strict() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(filter='category = "lamps" AND price < 20', page_size=5))
    assert shop.shown(answer) == ["p4", "p8", "p12", "p16", "p20"]  # dearer, and still lamps
    assert list(answer.slate.rules) == [(), (), *[("outside_filter",)] * 3]
    assert answer.relaxed == ("price",)
    assert answer.next_page is None


def test_conditions_are_given_up_one_after_the_other() -> None:
    shop = a_shop()
    asked = 'category = "lamps" AND brand = "bright" AND price > 60'  # bright makes no lamps
    answer = shop.answer(an_ask(filter=asked, page_size=20))
    shown = shop.shown(answer)
    assert shown[:3] == LAMPS[-3:]  # at this price, of another brand
    assert shown[3:15] == LAMPS[:-3]
    assert shown[15:] == ["p1", "p2", "p3", "p5", "p6"]
    assert answer.relaxed == ("brand", "price", "category")


def test_nothing_is_said_of_relaxing_where_nothing_was_relaxed() -> None:
    shop = a_shop()
    assert shop.answer(an_ask(filter='category = "lamps"', page_size=5)).relaxed == ()
    assert shop.answer(an_ask(page_size=5)).relaxed == ()
    strict = an_ask(filter='category = "lamps" AND price < 20', strict_filtering=True)
    answer = shop.answer(strict)
    assert shop.shown(answer) == ["p4", "p8"]
    assert answer.relaxed == ()


def test_what_the_inventory_does_not_know_comes_once_nothing_else_is_left() -> None:
    shop = a_shop()
    del shop.inventory.units["p2"]
    answer = shop.answer(an_ask(filter="price < 14 AND in_stock", page_size=3))
    assert shop.shown(answer) == ["p1", "p3", "p2"]
    assert answer.relaxed == ("in_stock",)


def test_a_list_that_is_long_enough_is_not_filled() -> None:
    shop = a_shop()
    answer = shop.answer(an_ask(filter='category = "lamps"', page_size=5))
    assert shop.shown(answer) == LAMPS[:5]
    assert answer.next_page is not None
    assert len(answer.next_page.rows) == len(LAMPS)


def test_the_fill_has_neither_excluded_nor_sold_out_products() -> None:
    shop = a_shop()
    shop.inventory.units["p6"] = 0
    answer = shop.answer(
        an_ask(
            filter='category = "gone"',
            exclude_product_ids=frozenset({"p5"}),
            context_product_ids=("p4",),
            page_size=3,
        )
    )
    assert shop.shown(answer) == ["p7", "p8", "p9"]  # of the neighbours of p4


def test_the_price_shown_satisfies_the_filter() -> None:
    shop = a_shop()
    shop.pricing.price_minor["p1"] = 9_900  # dearer than the catalogue says
    shop.promotions.percent_off = {"p60": 90.0}  # 7.00, where the catalogue says 70.00
    first = shop.answer(an_ask(filter="price < 13", strict_filtering=True))
    assert shop.shown(first) == ["p2"]
    shop.answer(an_ask(page_size=60))  # now all prices have been seen
    again = shop.answer(an_ask(filter="price < 13", strict_filtering=True))
    assert set(shop.shown(again)) == {"p2", "p60"}


def test_in_stock_wants_to_know_and_not_to_hope() -> None:
    shop = a_shop()
    shop.inventory.failure = DependencyUnavailable("inventory", "off")
    assert len(shop.answer(an_ask()).slate) == 10
    assert len(shop.answer(an_ask(filter="in_stock", strict_filtering=True)).slate) == 0


def test_what_is_known_to_be_gone_takes_no_place_in_a_filtered_search() -> None:
    few = replace(PLAIN, quotas=only_the_tower(3))
    shop = a_shop(settings=few)
    vector = np.eye(1, 4, dtype=np.float32)[0]  # what the twin gives for a stranger
    best = np.argsort(-(shop.index.item_vectors[1:] @ vector))[:3] + 1
    shop.inventory.units |= {f"p{row}": 0 for row in best}
    ask = an_ask(filter="price > 0", strict_filtering=True)
    assert shop.shown(shop.answer(ask)) == []
    assert len(shop.answer(ask).slate) == 3


def test_a_mask_that_is_not_ready_in_time_costs_a_reason_and_not_the_filter() -> None:
    shop = a_shop()

    async def never(judge: object) -> NDArray[np.bool_]:
        return await asyncio.get_running_loop().create_future()

    catalogue = shop.deps.release.tables.catalogue
    masks = FilterMasks(  # as for a catalogue of a million
        catalogue, shop.deps.offers, ttl_ms=2_000, inline_rows=0, in_thread=never
    )
    object.__setattr__(shop.deps, "filter_masks", masks)
    answer = shop.answer(an_ask(filter='category = "lamps"', strict_filtering=True, page_size=40))
    assert shop.shown(answer) == LAMPS
    assert ("candidates", Degradation.FILTER_LATE) in answer.degraded


amounts = st.integers(10, 72)
filters = st.one_of(
    amounts.map(lambda a: f"price < {a}"),
    st.sampled_from(CATEGORIES[1:]).map(lambda c: f'category = "{c}"'),
    st.tuples(st.sampled_from(CATEGORIES[1:]), amounts).map(
        lambda ca: f'NOT category = "{ca[0]}" AND price >= {ca[1]}'
    ),
)


@settings(max_examples=30, deadline=None)
@given(filters, st.booleans(), st.integers(1, 30))
def test_filtered_lists_lead_with_what_matches(text: str, strict: bool, page_size: int) -> None:
    shop = a_shop(settings=RecommendSettings())
    ask = an_ask(filter=text, strict_filtering=strict, page_size=page_size)
    assert ask.filter is not None
    answer = shop.answer(ask)
    catalogue = shop.deps.release.tables.catalogue
    matching = ask.filter.mask(
        catalogue, price_minor=catalogue.list_price_minor, in_stock=np.ones(61, dtype=np.bool_)
    )
    matches = matching[answer.slate.rows]
    assert (np.diff(matches.astype(int)) <= 0).all()
    assert matches.sum() == min(page_size, matching.sum())
    assert len(answer.slate) == (matches.sum() if strict else page_size)
