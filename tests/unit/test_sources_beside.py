"""The sources beside the two-tower model on a request's way: what each proposes, and its loss."""

from dataclasses import replace

import numpy as np
import pytest

from serving.recommend.request import RecentEvent
from serving.recommend.settings import RecommendSettings
from shop.blend import Quotas
from shop.blend_policies import BlendSettings
from shop.candidates import Source
from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODES, EventType
from shop.explore import ExplorationSettings
from shop.features import Context
from shop.neighbours import Neighbours
from shop.source_tables import (
    Arrivals,
    SegmentLists,
    ShopperLists,
    SourceTables,
    day_part,
    shopper_key,
)
from tests.unit.small_shop import PLAIN, SmallShop, a_context, a_history, a_shop, an_ask, next_five
from tests.unit.time_travel import START_MS

DAY_MS = 86_400_000
UNAVAILABLE = DependencyUnavailable("twin", "switched off")
ALL = replace(PLAIN, quotas=replace(Quotas(), user_user=60, fresh=20))


def listed(*rows: int) -> tuple[np.ndarray, np.ndarray]:
    scores = np.linspace(1.0, 0.1, len(rows)).astype(np.float32)
    return np.array([rows], dtype=np.int32), scores[None]


def some_tables(count: int = 60) -> SourceTables:
    """Row r is like row r + 20; u1's likes bought p50; loyal ones buy p33, French ones p34."""
    alike = np.zeros((count + 1, 1), dtype=np.int32)
    alike[1:21, 0] = np.arange(21, 41)
    keys = np.array([shopper_key("u1")], dtype=np.uint64)
    loyal, french = listed(33, 50), listed(34, 50)
    return SourceTables(
        content=Neighbours(alike, (alike > 0).astype(np.float32)),
        user_user=ShopperLists(keys, *listed(50, 51, NO_PRODUCT)),
        segments=SegmentLists(
            ("segment", "country"),
            (("segment", "loyal"), ("country", "FR")),
            np.concatenate([loyal[0], french[0]]),
            np.concatenate([loyal[1], french[1]]),
        ),
        arrivals=Arrivals(
            np.array([60, 59, 58]), START_MS - DAY_MS * np.array([1, 2, 40], dtype=np.int64)
        ),
        wishes=np.zeros(count + 1, dtype=np.int32),
    )


def a_full_shop(settings: RecommendSettings = ALL, **shop: object) -> SmallShop:
    return a_shop(settings=settings, **({"sources": some_tables()} | shop))  # type: ignore[arg-type]


def proposed_by(source: Source, shop: SmallShop, **ask: object) -> dict[str, float]:
    """Products and their scores."""
    found = shop.answer(an_ask(page_size=1, **ask)).candidates
    ids = shop.deps.release.tables.catalogue.product_ids[found.rows].tolist()
    scores = dict(zip(ids, found.source_scores[:, source].tolist(), strict=True))
    return {name: score for name, score in scores.items() if not np.isnan(score)}


def test_a_product_like_the_one_on_the_page_is_found_though_nobody_touched_it() -> None:
    shop = a_full_shop()
    assert proposed_by(Source.CONTENT, shop, context_product_ids=("p7",)) == {"p27": 1.0}


def test_content_sums_what_is_like_the_last_views_the_later_the_more() -> None:
    shop = a_full_shop()
    shop.histories.of_shopper["u1"] = a_history("p7", "p9")
    found = proposed_by(Source.CONTENT, shop, shopper="u1")
    assert found == {"p29": 1.0, "p27": pytest.approx(0.9)}


def test_shoppers_alike_propose_to_those_the_release_knows_and_to_nobody_else() -> None:
    shop = a_full_shop()
    assert set(proposed_by(Source.USER_USER, shop, shopper="u1")) == {"p50", "p51"}
    for stranger in ("", "u2"):
        answer = shop.answer(an_ask(shopper=stranger))
        assert answer.degraded == ()
        assert proposed_by(Source.USER_USER, shop, shopper=stranger) == {}


def test_a_segment_is_the_first_dimension_of_which_the_call_knows_something() -> None:
    shop = a_full_shop()
    french = a_context(country="FR")
    assert set(proposed_by(Source.SEGMENT_POPULAR, shop, context=french)) == {"p34", "p50"}
    loyal = replace(french, segment="loyal")
    assert set(proposed_by(Source.SEGMENT_POPULAR, shop, context=loyal)) == {"p33", "p50"}
    assert proposed_by(Source.SEGMENT_POPULAR, shop, context=a_context(country="SE")) == {}


def test_the_stored_profile_names_the_segment_if_the_call_does_not() -> None:
    shop = a_full_shop()
    shop.histories.of_shopper["u7"] = a_history("p1", segment="loyal")
    assert "p33" in proposed_by(Source.SEGMENT_POPULAR, shop, shopper="u7")


def test_part_of_the_day_goes_by_the_shopper_s_clock() -> None:
    context = Context(now_ms=5 * 3_600_000 + 59 * 60_000, utc_offset_minutes=0, placement="home")
    lists = SegmentLists(("day_part",), (("day_part", "morning"),), *listed(3))
    assert lists.of(context).rows.size == 0
    assert lists.of(replace(context, utc_offset_minutes=1)).rows.tolist() == [3]
    assert [day_part(hour * 3_600_000, 0) for hour in (0, 6, 12, 18)] == [
        "night",
        "morning",
        "afternoon",
        "evening",
    ]


def test_latest_arrivals_are_proposed_while_they_are_new() -> None:
    shop = a_full_shop()
    found = proposed_by(Source.FRESH, shop)
    assert found == {"p60": 1.0, "p59": 0.5}
    shop.time.pass_ms(int(12.5 * DAY_MS))
    assert list(proposed_by(Source.FRESH, shop)) == ["p60"]


def test_arrivals_in_the_categories_at_hand_come_before_later_ones() -> None:
    shop = a_full_shop()
    found = proposed_by(Source.FRESH, shop, context_product_ids=("p3",))  # p59's category
    assert found["p59"] > found["p60"]


def test_half_of_what_is_drawn_to_be_tried_comes_from_the_latest_arrivals() -> None:
    drawn = replace(Quotas(), exploration=4)
    for share, expected in ((0.0, 0), (0.5, 2)):
        exploring = ExplorationSettings(epsilon=0.1, fresh_share=share)
        shop = a_full_shop(replace(PLAIN, quotas=drawn, exploration=exploring))
        found = proposed_by(Source.EXPLORATION, shop)
        assert len(found) == 4
        assert len({"p59", "p60"} & set(found)) == expected


def test_item_item_goes_by_a_cart_that_was_filled_many_views_ago() -> None:
    shop = a_full_shop()
    cart = RecentEvent(EVENT_CODES[EventType.CART], "p40", START_MS - 50_000)
    views = tuple(
        RecentEvent(EVENT_CODES[EventType.CLICK], "p1", START_MS - 40_000 + at) for at in range(25)
    )
    scores = proposed_by(Source.ITEM_ITEM, shop, recent_events=(cart, *views))
    assert scores["p41"] == pytest.approx(1.0)  # as if it had been touched last
    taken_out = RecentEvent(EVENT_CODES[EventType.REMOVE], "p40", START_MS - 45_000)
    without = proposed_by(Source.ITEM_ITEM, shop, recent_events=(cart, *views, taken_out))
    assert "p41" not in without


@pytest.mark.parametrize("policy", ["weighted", "mixed", "cascade"])
def test_every_policy_gives_an_answer_with_the_sources_of_every_product(policy: str) -> None:
    blending = BlendSettings(home=policy)  # type: ignore[arg-type]
    shop = a_full_shop(replace(ALL, blend=blending))
    shop.histories.of_shopper["u1"] = a_history("p30", "p10")
    answer = shop.answer(an_ask(shopper="u1", page_size=60))
    assert answer.degraded == ()
    assert len(answer.slate) == 60
    scores = answer.candidates.source_scores[answer.candidates.rows.tolist().index(30)]
    named = {source for source in Source if not np.isnan(scores[source])}
    assert {Source.TWO_TOWER, Source.HISTORY, Source.CONTENT} <= named


def beyond(tables: SourceTables, source: Source) -> SourceTables:
    """One of its lists names a product that the catalogue does not have."""
    match source:
        case Source.CONTENT:
            tables.content.rows[7, 0] = 999
        case Source.USER_USER:
            tables.user_user.rows[0, 1] = 999
        case Source.SEGMENT_POPULAR:
            tables.segments.rows[0, 1] = 999
    return tables


@pytest.mark.parametrize("source", [Source.CONTENT, Source.USER_USER, Source.SEGMENT_POPULAR])
@pytest.mark.parametrize("filter_text", [None, "price < 1000000"])
def test_a_lost_source_costs_a_reason_and_not_the_answer(
    source: Source, filter_text: str | None
) -> None:
    shop = a_full_shop(sources=beyond(some_tables(), source))
    shop.histories.of_shopper["u1"] = a_history("p7", segment="loyal")
    answer = shop.answer(an_ask(shopper="u1", filter=filter_text))
    assert [(stage, reason.value) for stage, reason in answer.degraded] == [
        ("candidates", "SOURCE_LOST")
    ]
    assert len(answer.slate) == 10
    assert np.isnan(answer.candidates.source_scores[:, source]).all()
    assert not np.isnan(answer.candidates.source_scores[:, Source.TWO_TOWER]).all()


def test_a_filter_holds_for_every_source() -> None:
    shop = a_full_shop()
    shop.histories.of_shopper["u1"] = a_history("p7", segment="loyal", country="FR")
    answer = shop.answer(an_ask(shopper="u1", filter="price < 20", strict_filtering=True))
    assert answer.candidates.rows.max() < 10
    assert len(answer.candidates) == 9


def test_without_the_tower_the_shop_s_own_lists_stand_in() -> None:
    shop = a_full_shop(neighbours=replace(next_five(60), scores=np.zeros((61, 5), np.float32)))
    shop.histories.of_shopper["u1"] = a_history("p7")
    shop.tower.failure = shop.ranker.failure = UNAVAILABLE
    answer = shop.answer(an_ask(shopper="u1", page_size=4))
    assert shop.shown(answer) == ["p7", "p50", "p51", "p27"]
    assert answer.fallback


def test_a_source_without_quota_is_not_asked() -> None:
    quotas = replace(Quotas(), content=0, segment_popular=0, fresh=0, exploration=0)
    shop = a_full_shop(replace(PLAIN, quotas=quotas), sources=beyond(some_tables(), Source.CONTENT))
    answer = shop.answer(an_ask(context_product_ids=("p7",), shopper="u1"))
    assert answer.degraded == ()
