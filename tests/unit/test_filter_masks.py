"""Masks of filters: what they hold, when they are made anew, and where the work is done."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.recommend.filter_masks import FilterMasks
from serving.recommend.recently_used import RecentlyUsed
from serving.recommend.request import Losses
from shop.filter_grammar import AllOf, AnyOf, Expression, OneOf, PriceIs
from shop.filters import Filter, parse_filter
from shop.rule_clauses import TooManyBoxes, boxes_of
from shop.split_filters import boxes_on_sale, by_name, passing
from tests.unit.expressions import expressions
from tests.unit.small_shop import SmallShop, a_catalogue, a_shop

Mask = NDArray[np.bool_]
CATALOGUE = a_catalogue(24)


@settings(max_examples=40, deadline=None)
@given(
    expressions,
    st.lists(st.sampled_from([1_199, 1_200, 1_201, 2_000, 2_001]), min_size=25, max_size=25),
    st.lists(st.booleans(), min_size=25, max_size=25),
)
def test_a_filter_taken_apart_means_what_it_meant_whole(
    expression: Expression, prices: list[int], stocked: list[bool]
) -> None:
    price_minor, in_stock = np.array(prices), np.array(stocked)
    try:
        boxes = boxes_on_sale(expression)
    except TooManyBoxes:
        return
    found = passing(
        ((box, by_name(box.by_name, CATALOGUE)) for box in boxes), price_minor, in_stock
    )
    whole = Filter("", expression).mask(CATALOGUE, price_minor=price_minor, in_stock=in_stock)
    np.testing.assert_array_equal(found, whole & in_stock)


def seen(shop: SmallShop, *product_ids: str) -> None:
    """The shop's systems are asked about these now."""
    rows = shop.deps.release.tables.catalogue.rows_of(list(product_ids))
    shop.time.run(
        shop.deps.offers.look_up(
            rows, now_ms=shop.time.now_ms, within_s=1.0, losses=Losses()
        )
    )  # fmt: skip


def mask(shop: SmallShop, masks: FilterMasks, text: str) -> Mask:
    return shop.time.run(masks.of(parse_filter(text), shop.time.now_ms))


def test_a_mask_serves_until_a_price_or_a_stock_figure_changes() -> None:
    shop = a_shop()
    masks = shop.deps.filter_masks
    first = mask(shop, masks, "price < 12")
    assert np.flatnonzero(first).tolist() == [1]
    shop.time.pass_ms(3_600_000)
    seen(shop, "p1", "p2")  # nothing new
    assert mask(shop, masks, "price < 12") is first
    shop.pricing.price_minor["p2"] = 900
    shop.time.pass_ms(2_001)
    seen(shop, "p1", "p2")
    assert np.flatnonzero(mask(shop, masks, "price < 12")).tolist() == [1, 2]
    shop.inventory.units["p1"] = 0
    shop.time.pass_ms(2_001)
    seen(shop, "p1", "p2")
    assert np.flatnonzero(mask(shop, masks, "price < 12")).tolist() == [2]
    shop.promotions.percent_off["p60"] = 90.0
    shop.time.pass_ms(5_001)
    seen(shop, "p60")
    assert np.flatnonzero(mask(shop, masks, "price < 12")).tolist() == [2, 60]


@dataclass(slots=True)
class Bench:
    """Does in its own time what is to be done in a thread."""

    waiting: list[Callable[[], Mask]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, judge: Callable[[], Mask]) -> Mask:
        self.waiting.append(judge)
        await self.go.wait()
        return judge()


def beside(shop: SmallShop, bench: Bench) -> FilterMasks:
    catalogue, offers = shop.deps.release.tables.catalogue, shop.deps.offers
    return FilterMasks(catalogue, offers, ttl_ms=2_000, inline_rows=0, in_thread=bench)


def test_much_work_is_done_beside_the_event_loop_once_for_all_who_want_it() -> None:
    shop, bench = a_shop(), Bench()
    masks, wanted = beside(shop, bench), parse_filter('category = "lamps"')

    async def three() -> list[Mask]:
        asked = [asyncio.ensure_future(masks.of(wanted, shop.time.now_ms)) for _ in range(3)]
        await asyncio.sleep(0.001)
        asked[0].cancel()  # who goes away leaves it to the others
        bench.go.set()
        return [await each for each in asked[1:]]

    one, other = shop.time.run(three())
    assert one is other
    assert np.flatnonzero(one)[:2].tolist() == [4, 8]
    assert len(bench.waiting) == 1


def test_where_judging_is_much_work_a_mask_outlives_a_change_for_its_time_to_live() -> None:
    shop, bench = a_shop(), Bench()
    bench.go.set()
    masks = beside(shop, bench)
    first = mask(shop, masks, "price < 12")
    shop.pricing.price_minor["p2"] = 900
    seen(shop, "p2")
    assert mask(shop, masks, "price < 12") is first
    shop.time.pass_ms(2_001)
    assert np.flatnonzero(mask(shop, masks, "price < 12")).tolist() == [1, 2]


def test_small_work_stays_on_the_event_loop() -> None:
    shop, bench = a_shop(), Bench()
    catalogue, offers = shop.deps.release.tables.catalogue, shop.deps.offers
    masks = FilterMasks(catalogue, offers, ttl_ms=1, inline_rows=200, in_thread=bench)
    mask(shop, masks, 'category = "lamps" AND price < 50')  # 61 rows, three looks at most
    assert bench.waiting == []


def test_a_filter_with_too_many_alternatives_is_judged_whole() -> None:
    either = [AnyOf((OneOf("brand", (f"b{n}",)), PriceIs(">", n))) for n in range(5)]
    wanted = Filter("", AllOf(tuple(either)))
    with pytest.raises(TooManyBoxes):
        boxes_of(wanted.expression)
    shop = a_shop()
    found = shop.time.run(shop.deps.filter_masks.of(wanted, shop.time.now_ms))
    assert np.flatnonzero(found).tolist() == list(range(1, 61))


def test_only_so_many_are_kept_and_the_least_used_goes_first() -> None:
    kept = RecentlyUsed[str, int](2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [kept.get(name) for name in "abc"] == [1, None, 3]
    kept.put("c", 4)
    assert (len(kept), kept.get("a"), kept.get("c")) == (2, 1, 4)


def test_a_new_release_begins_without_masks() -> None:
    one, other = a_shop(24), a_shop(36)
    lamps = [mask(shop, shop.deps.filter_masks, 'category = "lamps"') for shop in (one, other)]
    assert [each.size for each in lamps] == [25, 37]


def test_many_filters_are_forgotten_in_time() -> None:
    shop: SmallShop = a_shop()
    masks = shop.deps.filter_masks
    first = mask(shop, masks, "price < 12")

    async def many() -> None:
        for amount in range(600):
            await masks.of(parse_filter(f"price < {amount}.5"), shop.time.now_ms)

    shop.time.run(many())
    assert mask(shop, masks, "price < 12") is not first
