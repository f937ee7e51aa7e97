"""Which calls share a ranking, and which must not; between replicas, too."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from serving.adapters.memory import MemoryRankings
from serving.recommend.cache_key import KEYED, LIVE, UNCACHED
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.request import Ask, RecentEvent, Stage
from shop.events import EVENT_CODES, EventType
from shop.features import Context, ShopperFeatures
from shop.filters import parse_filter
from shop.merchandising import Boost, Promotion
from tests.unit.cached_calls import HIT, MISS, PLAIN, answer, models, status, warm
from tests.unit.cached_shops import Replica, a_replica
from tests.unit.small_shop import a_context, a_history
from tests.unit.time_travel import START_MS


def test_the_same_call_again_asks_no_model() -> None:
    replica = warm()
    replica.shop.time.pass_ms(1_500)
    cached = replica.shop.time.run(replica.answer(PLAIN))
    assert cached.cache.status is HIT
    assert cached.cache.age_ms == 1_500
    asked = models(replica).ask_count
    replica.shop.time.run(replica.answer(PLAIN))
    assert models(replica).ask_count == asked
    assert Stage.CACHE.value in cached.stage_ms


def test_every_list_is_logged_under_its_own_request() -> None:
    replica = warm()
    again = replica.shop.time.run(replica.answer(replace(PLAIN, request_id="request-2")))
    assert again.cache.status is HIT
    assert again.ask.request_id == "request-2"
    logged = [each.request_id for each in replica.shop.log.impressions]
    assert logged == ["request-1", "request-2"]


CLICK = RecentEvent(EVENT_CODES[EventType.CLICK], "p7", START_MS - 9)


@pytest.mark.parametrize(
    "change",
    [
        {"shopper": "somebody else"},
        {"session_id": "session-0"},  # its clicks were in this session, then
        {"context": a_context(placement="cart")},
        {"context": a_context(device="desktop")},
        {"context": a_context(country="FR")},
        {"context": a_context(segment="loyal")},
        {"context": a_context(utc_offset_minutes=240)},
        {"recent_events": (CLICK,)},
        {"context_product_ids": ("p5",)},
        {"context_product_ids": ("p9",)},  # clicked before, but what is nearby is another
        {"cart_product_ids": ("p5",)},
        {"exclude_product_ids": frozenset({"p5"})},
        {"filter": parse_filter("price < 30")},
        {"promotions": (Promotion(parse_filter("price < 30"), 20.0),)},
    ],
    ids=str,
)
def test_a_call_that_differs_in_what_decides_is_worked_out_anew(change: dict[str, Any]) -> None:
    assert status(warm(), replace(PLAIN, **change)) is MISS


@pytest.mark.parametrize(
    "change",
    [
        {"page_size": 8},
        {"diversity": 0.5},
        {"boosts": (Boost(parse_filter('brand = "dune"'), 50.0),)},
        {"return_fields": frozenset({"title"})},
        {"context": a_context(utc_offset_minutes=121)},
    ],
    ids=str,
)
def test_what_is_put_to_every_list_anew_needs_no_other_ranking(change: dict[str, Any]) -> None:
    assert status(warm(), replace(PLAIN, **change)) is HIT


def test_a_filter_is_known_by_what_it_lets_through() -> None:
    lamps = parse_filter('price < 40 AND category = "lamps"')
    filtered = replace(PLAIN, filter=lamps, strict_filtering=True)
    replica = warm(filtered)
    for text in (
        'category = "lamps" AND price < 40',
        '  CATEGORY  in ("lamps","lamps")  and not price >= 40.00',
    ):
        assert status(replica, replace(filtered, filter=parse_filter(text))) is HIT
    for other in ('category = "lamps" AND price < 20', 'category = "chairs" AND price < 40'):
        assert status(replica, replace(filtered, filter=parse_filter(other))) is MISS
    assert status(replica, replace(filtered, strict_filtering=False)) is MISS
    assert status(replica, replace(filtered, page_size=6)) is MISS


def test_a_list_that_needed_a_relaxed_filter_is_not_kept() -> None:
    few = replace(PLAIN, filter=parse_filter("price < 15"))
    replica = warm(few)
    assert answer(replica, few).relaxed == ("price",)
    assert status(replica, few) is MISS
    enough = replace(PLAIN, filter=parse_filter("price < 40"))
    assert [status(replica, enough) for _ in range(2)] == [MISS, HIT]


def test_a_price_that_comes_to_match_a_filter_makes_another_list() -> None:
    filtered = replace(PLAIN, filter=parse_filter("price < 15"), strict_filtering=True)
    replica = warm(filtered)
    assert "p9" not in replica.shop.shown(answer(replica, filtered))
    replica.shop.pricing.price_minor["p9"] = 1_000
    replica.shop.time.pass_ms(2_500)
    about_p9 = parse_filter("price > 18 AND price < 20")  # as far as is known
    answer(replica, replace(filtered, filter=about_p9))  # sees the price; masks follow
    replica.shop.time.pass_ms(2_500)
    found = answer(replica, filtered)
    assert "p9" in replica.shop.shown(found)
    assert found.cache.status is MISS


def test_promotions_are_known_by_their_places_too() -> None:
    wanted = parse_filter("price < 30")
    promoted = replace(PLAIN, promotions=(Promotion(wanted, 20.0),))
    replica = warm(promoted)
    assert status(replica, promoted) is HIT
    assert status(replica, replace(PLAIN, promotions=(Promotion(wanted, 40.0),))) is MISS


def test_an_event_counts_in_the_very_next_call() -> None:
    replica = warm()
    replica.shop.histories.of_shopper["s1"] = a_history("p7", "p9", "p11")
    assert status(replica) is MISS


@pytest.mark.parametrize(
    "changes",
    [
        {"product_ids": ("p7", "p8")},
        {"event_codes": np.array([2, 3])},
        {"times_ms": np.array([START_MS - 7_200_000, START_MS - 3_600_001])},
        {"session_ids": ("session-0", "session-1")},
        {"segment": "loyal"},
        {"country": "FR"},
        {"device": "desktop"},
    ],
    ids=str,
)
def test_shoppers_of_whom_anything_else_is_known_do_not_share(changes: dict[str, Any]) -> None:
    ask = replace(PLAIN, context=a_context(device=""))
    replica = warm(ask)
    known = replica.shop.histories.of_shopper
    known["s2"] = replace(known["s1"], **changes)
    assert status(replica, replace(ask, shopper="s2")) is MISS


def test_what_the_page_is_about_counts_though_it_was_clicked_and_is_left_out_anyway() -> None:
    ask = replace(PLAIN, session_id="session-0")  # in which s1 has clicked p7 and p9
    replica = warm(replace(ask, exclude_product_ids=frozenset({"p7"})))
    assert status(replica, replace(ask, context_product_ids=("p7",))) is MISS


def test_shoppers_of_whom_the_same_is_known_share() -> None:
    replica = warm(replace(PLAIN, shopper=""))
    assert status(replica, replace(PLAIN, shopper="new", session_id="x")) is HIT


def two(shared: MemoryRankings) -> tuple[Replica, Replica]:
    one = warm(shared=shared)
    return one, a_replica(one.shop, shared=shared)


def test_replicas_share_what_they_found() -> None:
    shared = MemoryRankings()
    _, other = two(shared)
    assert status(other) is HIT
    assert other.cache.counts.shared_hits == 1
    shared.ask_count = 0
    assert status(other) is HIT  # from its own memory, by now
    assert shared.ask_count == 0


def test_losing_what_is_shared_costs_a_miss_and_then_nothing() -> None:
    shared = MemoryRankings()
    one, other = two(shared)
    shared.stalls = True
    began_ms = one.shop.time.now_ms
    for number in range(8):
        assert status(other, replace(PLAIN, exclude_product_ids=frozenset({f"p{number + 1}"})))
    assert shared.ask_count <= 12
    assert one.shop.time.now_ms - began_ms <= 5 * CacheSettings().redis_ms + 1_000
    assert other.cache.counts.shared_failures >= 2
    shared.stalls, shared.ask_count = False, 0
    one.shop.time.pass_ms(1_500)
    assert status(other) is HIT
    assert shared.ask_count >= 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: b"",
        lambda record: b"\0" * len(record),
        lambda record: record[:-1],
        lambda record: record + b"\0",
        lambda record: bytes([9]) + record[1:],
        lambda record: record[:17] + b"\xff\xff\xff\x7f" + record[21:],  # a row that nothing has
        lambda record: record[:17] + record[21:25] + record[21:],  # a row twice
        lambda record: record[:-4] + np.float32(7.0).tobytes(),  # more than certain
        lambda record: record + bytes(2_000_000),
    ],
)
def test_a_damaged_record_costs_a_miss(damage: Any) -> None:
    shared = MemoryRankings()
    _, other = two(shared)
    shared.records = {key: damage(record) for key, record in shared.records.items()}
    assert status(other) is MISS
    assert other.cache.counts.damaged == 1


def test_no_field_that_a_list_depends_on_is_forgotten_in_the_key() -> None:
    """A new field has to be put into `cache_key`, and then here."""
    assert {each.name for each in fields(Ask)} == KEYED | LIVE | UNCACHED
    assert not KEYED & LIVE | KEYED & UNCACHED | LIVE & UNCACHED
    assert {each.name for each in fields(Context)} == {
        *("now_ms", "utc_offset_minutes"),  # by the hour and by weekday
        *("placement", "device", "country", "segment"),  # as codes
    }
    assert {each.name for each in fields(ShopperFeatures)} == {
        *("history_rows", "history_events", "history_ages"),  # by the history itself
        *("context_codes", "context_values"),
    }
