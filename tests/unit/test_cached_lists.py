"""What a list owes to the cache: when rankings are used again, and what is put to them anew."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from serving.recommend.cache import RankingCache
from serving.recommend.cache_settings import CacheSettings
from serving.recommend.request import Answer, CacheStatus
from serving.recommend.settings import SearchSettings
from shop.errors import DependencyUnavailable
from tests.unit.cached_calls import BYPASS, HIT, MISS, PARTIAL, PLAIN, answer, models, status, warm
from tests.unit.cached_shops import TIGHT, Replica, a_replica
from tests.unit.searchable_shop import a_searchable_shop
from tests.unit.small_shop import PLAIN as SHOP_PLAIN
from tests.unit.small_shop import a_context, a_history, an_ask


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
