"""Further pages: the same order, prices of today, and a clear word when it cannot go on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.recommend.request import Answer, Ask, Degradation
from serving.recommend.settings import RecommendSettings
from shop.errors import DependencyUnavailable, InvalidRequest
from shop.explore import ExplorationSettings
from shop.rules import Caps
from shop.tokens import Page, decode_page, encode_page, request_fingerprint
from tests.unit.small_shop import SmallShop, a_shop, an_ask

KEY = b"k" * 32
PRINT = request_fingerprint(placement="home", shopper="", filter_text="", strict=False)


def through_a_token(page: Page, shop: SmallShop) -> Page:
    token = encode_page(page, KEY, fingerprint=PRINT)
    return decode_page(token, KEY, fingerprint=PRINT, now_ms=shop.time.now_ms)


def all_pages(shop: SmallShop, ask: Ask) -> list[Answer]:
    answers = [shop.answer(ask)]
    while (page := answers[-1].next_page) is not None:
        answers.append(shop.answer(replace(ask, page=through_a_token(page, shop))))
    return answers


@settings(max_examples=15, deadline=None)
@given(st.integers(7, 70), st.floats(0, 1), st.text(max_size=5))
def test_pages_one_after_another_are_the_whole_order(
    page_size: int, diversity: float, request_id: str
) -> None:
    ask = an_ask(page_size=page_size, diversity=diversity, request_id=request_id)
    shop = a_shop(settings=RecommendSettings())
    answers = all_pages(shop, ask)
    shown = [row for answer in answers for row in answer.slate.rows.tolist()]
    assert sorted(shown) == list(range(1, 61))
    first = answers[0].next_page
    if first is not None:
        assert first.rows.tolist() == shown
        propensities = np.concatenate([answer.slate.propensities for answer in answers])
        np.testing.assert_allclose(propensities, first.propensities, rtol=1e-6)


def test_a_page_may_have_another_size() -> None:
    shop = a_shop()
    first = shop.answer(an_ask(page_size=10))
    second = shop.answer(an_ask(page_size=25, page=first.next_page))
    assert shop.shown(second) == [f"p{row}" for row in range(11, 36)]
    assert second.first_position == 11
    assert second.next_page is not None
    assert second.next_page.offset == 35


def test_a_further_page_retrieves_and_ranks_nothing() -> None:
    shop = a_shop()
    first = shop.answer(an_ask())
    asked = (shop.tower.ask_count, shop.index.ask_count, shop.ranker.ask_count)
    second = shop.answer(an_ask(page=first.next_page))
    assert (shop.tower.ask_count, shop.index.ask_count, shop.ranker.ask_count) == asked
    assert second.scored_count == 0
    assert second.scores is None
    assert set(second.stage_ms) == {"lookups", "total"}


def test_a_further_page_shows_today_s_prices() -> None:
    shop = a_shop()
    first = shop.answer(an_ask())
    shop.pricing.price_minor["p11"] = 77
    shop.time.pass_ms(60_000)
    second = shop.answer(an_ask(page=first.next_page))
    assert second.offers.price_minor[second.slate.at[0]] == 77
    assert second.slate.values[0] == pytest.approx(first.next_page.values[10])  # type: ignore[union-attr]


def test_what_was_sold_out_meanwhile_is_passed_over() -> None:
    shop = a_shop()
    first = shop.answer(an_ask())
    shop.inventory.units |= {"p11": 0, "p13": 0}
    shop.time.pass_ms(60_000)
    second = shop.answer(an_ask(page_size=3, page=first.next_page))
    assert shop.shown(second) == ["p12", "p14", "p15"]
    third = shop.answer(an_ask(page_size=3, page=second.next_page))
    assert shop.shown(third) == ["p16", "p17", "p18"]


def test_the_last_page_has_no_next_even_if_what_follows_is_sold_out() -> None:
    shop = a_shop()
    first = shop.answer(an_ask(page_size=50))
    shop.inventory.units |= {f"p{row}": 0 for row in range(56, 61)}
    shop.time.pass_ms(60_000)
    second = shop.answer(an_ask(page_size=5, page=first.next_page))
    assert shop.shown(second) == [f"p{row}" for row in range(51, 56)]
    assert second.next_page is None


def test_a_page_of_nothing_sellable_is_empty() -> None:
    shop = a_shop()
    first = shop.answer(an_ask())
    shop.inventory.units = dict.fromkeys(shop.inventory.units, 0)
    shop.time.pass_ms(60_000)
    second = shop.answer(an_ask(page=first.next_page))
    assert len(second.slate) == 0
    assert second.next_page is None


def test_a_strict_filter_holds_for_the_prices_of_a_further_page() -> None:
    shop = a_shop()
    ask = an_ask(filter="price < 30", strict_filtering=True, page_size=5)
    first = shop.answer(ask)
    shop.pricing.price_minor["p6"] = 9_900
    shop.time.pass_ms(60_000)
    assert shop.shown(shop.answer(replace(ask, page=first.next_page)))[0] == "p7"


def test_the_page_of_another_release_has_expired() -> None:
    shop = a_shop()
    page = shop.answer(an_ask()).next_page
    assert page is not None
    with pytest.raises(InvalidRequest, match="release changed from release-0 to release-1"):
        shop.answer(an_ask(page=replace(page, release="release-0")))


def test_a_page_lasts_as_long_as_the_settings_say_and_no_page_extends_it() -> None:
    shop = a_shop()
    begun_ms = shop.time.now_ms
    first = shop.answer(an_ask()).next_page
    assert first is not None
    assert first.expires_ms == begun_ms + shop.deps.settings.page_ttl_ms
    shop.time.pass_ms(60_000)
    second = shop.answer(an_ask(page=first)).next_page
    assert second is not None
    assert second.expires_ms == first.expires_ms
    shop.time.pass_ms(shop.deps.settings.page_ttl_ms)
    with pytest.raises(InvalidRequest, match="expired"):
        through_a_token(second, shop)


def test_further_pages_are_logged_with_their_place() -> None:
    shop = a_shop()
    all_pages(shop, an_ask(page_size=40))
    assert [i.first_position for i in shop.log.impressions] == [1, 41]
    assert [len(i.product_ids) for i in shop.log.impressions] == [40, 20]


def test_a_further_page_gives_the_reasons_and_losses_of_its_list() -> None:
    shop = a_shop()
    shop.histories.failure = DependencyUnavailable("histories", "down")
    shop.ranker.stalls = True
    first = shop.answer(an_ask(shopper="ada"))
    whole = shop.answer(an_ask(shopper="ada", page_size=60))
    shop.histories.failure, shop.ranker.stalls = None, False
    assert first.next_page is not None
    page = through_a_token(first.next_page, shop)
    second = shop.answer(an_ask(shopper="ada", page=page, page_size=50))
    assert second.degraded == (
        ("history", Degradation.NO_HISTORY),
        ("ranking", Degradation.NO_RANKING),
    )
    assert not second.ranked
    assert not second.fallback
    np.testing.assert_array_equal(
        second.proposed[second.slate.at], whole.proposed[whole.slate.at[10:]]
    )
    assert second.proposed.any(axis=1).all()


def test_a_further_page_of_a_fallback_is_a_fallback() -> None:
    shop = a_shop()
    shop.tower.stalls = True
    first = shop.answer(an_ask())
    shop.tower.stalls = False
    assert first.next_page is not None
    second = shop.answer(an_ask(page=through_a_token(first.next_page, shop)))
    assert second.fallback
    assert second.ranked


def test_losses_of_the_look_ups_are_each_page_s_own() -> None:
    shop = a_shop()
    shop.promotions.failure = DependencyUnavailable("promotions", "down")
    first = shop.answer(an_ask())
    assert [reason for _, reason in first.degraded] == [Degradation.DEFAULT_OFFER]
    shop.promotions.failure = None
    shop.time.pass_ms(60_000)
    assert shop.answer(an_ask(page=first.next_page)).degraded == ()


def test_rules_are_told_on_every_page() -> None:
    one_of_a_kind = RecommendSettings(
        caps=Caps(category_share=0.1), exploration=ExplorationSettings(epsilon=0.0)
    )
    shop = a_shop(settings=one_of_a_kind)
    answers = all_pages(shop, an_ask(page_size=10))
    assert answers[0].slate.rules[:4] == ((),) * 4
    assert answers[1].slate.rules == (("category_cap",),) * 10
