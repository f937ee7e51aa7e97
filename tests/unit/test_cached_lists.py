"""What a list owes to the cache: when rankings are used again, and what is put to them anew."""

import asyncio
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from serving.adapters.memory import MemoryRankings
from serving.recommend.cache import RankingCache
from serving.recommend.cache_key import KEYED, LIVE, UNCACHED
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.request import Answer, Ask, CacheStatus, RecentEvent, Stage
from serving.recommend.settings import SearchSettings
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODES, EventType
from shop.features import Context, ShopperFeatures
from shop.filters import parse_filter
from shop.merchandising import Boost, Promotion
from tests.unit.cached_shops import TIGHT, NoticingModels, Replica, a_replica, same
from tests.unit.searchable_shop import a_searchable_shop
from tests.unit.small_shop import PLAIN as SHOP_PLAIN
from tests.unit.small_shop import a_context, a_history, an_ask
from tests.unit.time_travel import START_MS

HIT, PARTIAL, MISS, BYPASS = CacheStatus
PLAIN = an_ask(shopper="s1", page_size=5)


def answer(replica: Replica, ask: Ask = PLAIN) -> Answer:
    """What it answers, and that it would answer the same without its cache."""

    async def both() -> tuple[Answer, Answer]:
        return await replica.answer(ask), await replica.answer_anew(ask)

    cached, anew = replica.shop.time.run(both())
    assert same(cached, anew)
    return cached


def status(replica: Replica, ask: Ask = PLAIN) -> CacheStatus:
    return answer(replica, ask).cache.status


def warm(ask: Ask = PLAIN, **made: Any) -> Replica:
    """A replica that has answered this once. s1 has clicked p7 and p9."""
    replica = a_replica(**made)
    replica.shop.histories.of_shopper["s1"] = a_history("p7", "p9")
    assert status(replica, ask) in (MISS, BYPASS)
    return replica


def models(replica: Replica) -> NoticingModels:
    found = replica.deps.release.ranker
    assert isinstance(found, NoticingModels)
    return found


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


def ranked_rows(replica: Replica) -> list[int]:
    return sorted(int(row) for rows in models(replica).asked for row in rows)


def test_only_what_costs_materially_more_or_less_is_ranked_anew() -> None:
    replica = warm()
    listed = answer(replica)
    moved, hardly = (replica.shop.shown(listed)[at] for at in (0, 2))
    replica.shop.pricing.price_minor[moved] = round(replica.shop.pricing.price_minor[moved] * 1.006)
    replica.shop.time.pass_ms(2_500)
    models(replica).asked.clear()
    partial = replica.shop.time.run(replica.answer(PLAIN))
    assert partial.cache.status is PARTIAL
    row_of = replica.deps.release.tables.catalogue.row_of
    assert ranked_rows(replica) == [row_of[moved]]
    assert status(replica) is HIT  # what was ranked anew is kept
    before = replica.shop.pricing.price_minor[hardly]
    replica.shop.pricing.price_minor[hardly] = before + 4  # of 1,000 and more: below half a percent
    replica.shop.time.pass_ms(2_500)
    shown = replica.shop.time.run(replica.answer(PLAIN))
    assert shown.cache.status is HIT
    at = replica.shop.shown(shown).index(hardly)
    assert shown.offers.price_minor[shown.slate.at[at]] == before + 4


def test_the_same_price_by_a_reduction_is_another_offer() -> None:
    replica = warm()
    product = replica.shop.shown(answer(replica))[0]
    replica.shop.pricing.price_minor[product] *= 2
    replica.shop.promotions.percent_off[product] = 50.0
    replica.shop.time.pass_ms(6_000)
    assert status(replica) is PARTIAL


def test_what_is_ranked_anew_is_ranked_with_all_that_is_known_of_it() -> None:
    replica = warm()
    for product, price in replica.shop.pricing.price_minor.items():
        replica.shop.pricing.price_minor[product] = round(price * 1.1)
    replica.shop.time.pass_ms(2_500)
    assert status(replica) is PARTIAL  # and as if made anew, with item–item scores


def test_what_was_not_ranked_gets_nobody_elses_probability() -> None:
    replica = a_replica()
    prices = replica.shop.pricing.price_minor
    prices.update(dict.fromkeys(prices, 2_000))
    shown = replica.shop.shown(answer(replica))
    replica.shop.inventory.units.update(dict.fromkeys(shown, 0))
    replica.shop.time.pass_ms(2_500)
    assert status(replica) is PARTIAL


def test_what_is_sold_out_is_not_shown_and_what_steps_in_is_ranked() -> None:
    replica = warm()
    gone = replica.shop.shown(answer(replica))[:2]
    for product in gone:
        replica.shop.inventory.units[product] = 0
    replica.shop.time.pass_ms(2_500)
    shorter = answer(replica)
    assert not set(gone) & set(replica.shop.shown(shorter))
    assert shorter.cache.status is PARTIAL
    assert status(replica) is HIT


def test_rules_hold_at_once_for_what_was_kept() -> None:
    replica = warm()
    first = replica.shop.shown(answer(replica))[0]
    replica.go_by(f'kind = "exclude"\nproducts = ["{first}"]')
    assert first not in replica.shop.shown(answer(replica))
    replica.go_by()
    assert first in replica.shop.shown(answer(replica))


def test_what_rules_let_a_search_find_is_part_of_the_key() -> None:
    replica = warm()
    replica.go_by('kind = "pin"\nproduct = "p37"\nposition = 1')
    pinned = answer(replica)
    assert pinned.cache.status is MISS
    assert replica.shop.shown(pinned)[0] == "p37"
    replica.go_by('kind = "exclude"\nbrands = ["acme", "bright", "calm"]')
    assert status(replica) is MISS
    replica.go_by('kind = "boost"\nfactor = 2.0\nbrands = ["elm"]')  # has no say in the search
    assert status(replica) is HIT


def test_another_release_has_other_rankings_and_the_one_before_is_still_known() -> None:
    replica = warm()
    replica.serve("release-2")
    assert status(replica) is MISS
    replica.serve("release-1")
    assert status(replica) is HIT


@pytest.mark.parametrize("lost", ["models", "index", "histories", "pricing", "promotions"])
def test_a_degraded_list_is_not_kept(lost: str) -> None:
    replica = a_replica()
    replica.shop.histories.of_shopper["s1"] = a_history("p7", "p9")
    shop = replica.shop
    twin = models(replica) if lost == "models" else getattr(shop, lost)
    twin.failure = DependencyUnavailable(lost, "down")
    degraded = answer(replica)
    assert degraded.degraded
    twin.failure = None
    shop.time.pass_ms(1_500)  # a breaker lets a probe through
    sound = answer(replica)
    assert (sound.degraded, sound.cache.status) == ((), MISS)


def test_without_the_ranker_nothing_half_ranked_is_shown() -> None:
    replica = warm()
    product = replica.shop.shown(answer(replica))[0]
    replica.shop.pricing.price_minor[product] *= 2
    replica.shop.time.pass_ms(2_500)
    models(replica).failure = DependencyUnavailable("triton", "down")
    lost = replica.shop.time.run(replica.answer(PLAIN))
    assert [reason.value for _, reason in lost.degraded] == ["NO_RANKING"]
    assert lost.scores is None
    models(replica).failure = None
    assert status(replica) is PARTIAL


def test_explanations_and_further_pages_are_not_from_the_cache() -> None:
    replica = warm()
    first = answer(replica)
    assert status(replica, replace(PLAIN, explain=True)) is BYPASS
    assert status(replica, replace(PLAIN, page=first.next_page)) is BYPASS


def test_pages_of_a_list_from_the_cache_are_its_whole_order() -> None:
    replica = warm()
    page = answer(replica)
    shown: list[str] = []
    while True:
        shown += replica.shop.shown(page)
        if page.next_page is None:
            break
        page = answer(replica, replace(PLAIN, page=page.next_page))
    assert len(shown) == len(set(shown)) == TIGHT.quotas.candidates


def test_nothing_is_older_than_the_time_to_live() -> None:
    replica = warm(cache=CacheSettings(ttl_ms=30_000))
    replica.shop.time.pass_ms(29_000)
    assert status(replica) is HIT
    replica.shop.time.pass_ms(1_100)
    assert status(replica) is MISS


def test_a_replica_without_memory_for_it_keeps_nothing() -> None:
    replica = warm(cache=CacheSettings(max_mb=0))
    assert status(replica) is BYPASS


def test_what_is_explored_on_a_hit_is_as_likely_as_the_list_says() -> None:
    replica = warm()
    plain = answer(replica)
    assert plain.cache.status is HIT
    slot = 1  # 2, counted from 1
    expected: dict[int, float] = {}
    seen: dict[int, int] = {}
    count = 150

    async def many() -> None:
        for number in range(count):
            shown = await replica.answer(replace(PLAIN, request_id=f"view-{number}"))
            row = int(shown.slate.rows[slot])
            seen[row] = seen.get(row, 0) + 1
            expected[row] = float(shown.slate.propensities[slot])

    replica.shop.time.run(many())
    assert len(expected) >= 2
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-6)
    for row, chance in expected.items():
        sigma = np.sqrt(count * chance * (1.0 - chance))
        assert abs(seen[row] - count * chance) < 4.0 * sigma


def test_calls_for_the_same_list_wait_for_the_first() -> None:
    replica = a_replica()

    async def three() -> list[CacheStatus]:
        answers = await asyncio.gather(*(replica.answer(PLAIN) for _ in range(3)))
        return [each.cache.status for each in answers]

    assert replica.shop.time.run(three()) == [MISS, HIT, HIT]
    assert models(replica).ask_count == 2  # tower and ranker, once
    assert replica.cache.counts.waited == 2


def test_who_waits_is_not_held_up_by_one_that_hangs_or_was_given_up() -> None:
    replica = a_replica()

    async def run() -> Answer:
        models(replica).stalls = True
        first = asyncio.create_task(replica.answer(PLAIN))
        await asyncio.sleep(0.001)
        models(replica).stalls = False
        second = await replica.answer(PLAIN)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return second

    answered = replica.shop.time.run(run())
    assert (answered.cache.status, answered.degraded) == (MISS, ())
    assert status(replica) is HIT


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


def searched_twice(first: str, second: str) -> tuple[list[str], Answer, list[str]]:
    """What the first query shows, the answer to the second, and what that shows."""
    settings = replace(SHOP_PLAIN, search=SearchSettings(relevance_power=20.0))
    searchable = a_searchable_shop(settings=settings)
    shop = searchable.shop
    shop.deps = replace(shop.deps, cache=RankingCache(settings.cache, shop.time))
    asks = [an_ask(query=query, context=a_context(placement="search")) for query in (first, second)]
    before = shop.answer(asks[0])
    after = shop.answer(asks[1])
    return searchable.shown(before), after, searchable.shown(after)


def test_a_search_from_the_cache_stands_in_the_same_order() -> None:
    shown, again, shown_again = searched_twice("tall lamps", "LAMPS  tall")
    assert again.cache.status is HIT
    assert again.search is not None
    assert shown_again == shown


def test_a_search_for_something_else_is_another_one() -> None:
    _, other, _ = searched_twice("tall lamps", "round lamps")
    assert other.cache.status is MISS
