"""A query's way: constraints hold, words rank, losses cost a reason, dead ends are told."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.recommend.request import Ask, Degradation
from serving.recommend.settings import SearchSettings
from serving.reply import encode_answer
from shop.candidates import Source
from shop.errors import DependencyUnavailable, InvalidRequest
from shop.events import EventType
from shop.filters import parse_filter
from shop.merchandising import Promotion
from shop.tokens import decode_page, encode_page
from tests.unit.searchable_shop import SearchableShop, a_searchable_shop
from tests.unit.small_shop import PLAIN, a_context, a_shop, an_ask

DOWN = DependencyUnavailable("twin", "down")
KEY = bytes(32)


def all_sell_alike(rows: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.full((rows.size, 4), 0.1, dtype=np.float32)


def a_search(query: str, **changes: object) -> Ask:
    return an_ask(query=query, context=a_context(placement="search"), **changes)


def rows_shown(searchable: SearchableShop, query: str, **changes: object) -> list[int]:
    answer = searchable.shop.answer(a_search(query, **changes))
    return [int(name[1:]) for name in searchable.shown(answer)]


def test_every_product_is_inside_the_constraints() -> None:
    rows = rows_shown(a_searchable_shop(), "red lamps under 40", page_size=60)
    # Row r is red if even, a lamp if r % 4 == 0, and costs 10.00 + r.
    assert sorted(rows) == [4, 8, 12, 16, 20, 24, 28]


def test_constraints_hold_for_the_price_that_is_shown() -> None:
    searchable = a_searchable_shop()
    searchable.shop.promotions.percent_off = {"p40": 50.0}
    searchable.shop.answer(an_ask(page_size=60))  # from now on the reduction is known
    assert 40 in rows_shown(searchable, "lamps under 30", page_size=60)
    assert 24 not in rows_shown(searchable, "lamps under 30", page_size=60)


def test_words_that_no_constraint_says_decide_the_order() -> None:
    by_relevance = replace(PLAIN, search=SearchSettings(relevance_power=20.0))
    searchable = a_searchable_shop(settings=by_relevance)
    searchable.shop.ranker.judge = all_sell_alike
    rows = rows_shown(searchable, "tall lamps", page_size=15)
    tall = [row for row in rows if row % 3 == 1]
    assert all(row % 4 == 0 for row in rows)
    assert set(rows[: len(tall)]) == set(tall)
    assert len(tall) == 5


def test_where_constraints_say_all_of_it_the_ranker_orders() -> None:
    rows = rows_shown(a_searchable_shop(), "blue chairs", page_size=5)
    assert rows == [1, 5, 9, 13, 17]  # lower rows sell better


def test_a_query_of_constraints_alone_is_a_personal_list_inside_them() -> None:
    searchable = a_searchable_shop()
    answer = searchable.shop.answer(a_search("under 20"))
    assert searchable.encoder.ask_count == searchable.lexical.ask_count == 0
    assert [row for row in answer.slate.rows if row >= 10] == []
    assert answer.candidates.proposed[:, Source.TWO_TOWER].any()


def test_the_callers_filter_holds_beside_the_query() -> None:
    rows = rows_shown(a_searchable_shop(), "red things", filter="price < 20", page_size=60)
    assert sorted(rows) == [2, 4, 6, 8]


def test_excluded_products_and_promotions_keep_to_the_query() -> None:
    asked = {"exclude_product_ids": frozenset({"p4"}), "page_size": 10}
    promotions = (Promotion(parse_filter('category = "mugs"'), 50.0),)
    rows = rows_shown(a_searchable_shop(), "red lamps", promotions=promotions, **asked)
    assert all(row % 4 == 0 for row in rows)
    assert 4 not in rows


def test_the_reply_tells_how_the_query_was_understood_and_what_found_a_product() -> None:
    searchable = a_searchable_shop()
    answer = searchable.shop.answer(a_search("rde lamsp under $30", explain=True))
    catalogue = searchable.shop.deps.release.tables.catalogue
    reply = encode_answer(answer, catalogue, KEY, attribution_ttl_ms=1_000)
    assert reply.search.filter == reply.search.constraints
    assert reply.search.filter == 'category = "lamps" AND price < 30'
    assert [(each.written, each.read_as) for each in reply.search.corrections] == [
        ("lamsp", "lamp")
    ]
    assert list(reply.search.unknown_words) == ["rde"]
    assert reply.search.currency == "USD"
    assert not reply.search.relaxed
    assert set(reply.items[0].sources) == {"text", "lexical"}
    assert set(reply.items[0].explanation.source_scores) == {"text", "lexical"}
    assert "query" in reply.stage_ms


def test_a_call_without_a_query_asks_nothing_of_searching() -> None:
    searchable = a_searchable_shop()
    answer = searchable.shop.answer(an_ask(context=a_context(placement="search")))
    assert searchable.encoder.ask_count == searchable.lexical.ask_count == 0
    assert answer.search is None
    assert "query" not in answer.stage_ms


@pytest.mark.parametrize("lost", ["encoder", "index"])
def test_a_lost_encoder_leaves_the_words(lost: str) -> None:
    searchable = a_searchable_shop()
    getattr(searchable, lost).failure = DOWN
    answer = searchable.shop.answer(a_search("tall red lamps"))
    assert ("candidates", Degradation.NO_TEXT_ENCODER) in answer.degraded
    assert not answer.candidates.proposed[:, Source.TEXT].any()
    assert all(row % 4 == 0 for row in answer.slate.rows)
    assert len(answer.slate) == 10


def test_lost_words_leave_the_meaning() -> None:
    searchable = a_searchable_shop()
    searchable.lexical.stalls = True
    answer = searchable.shop.answer(a_search("tall red lamps"))
    assert ("candidates", Degradation.NO_LEXICAL) in answer.degraded
    assert not answer.candidates.proposed[:, Source.LEXICAL].any()
    assert all(row % 4 == 0 for row in answer.slate.rows)


def test_with_both_lost_popular_products_inside_the_constraints_remain() -> None:
    searchable = a_searchable_shop()
    searchable.encoder.failure = searchable.lexical.failure = DOWN
    answer = searchable.shop.answer(a_search("tall red lamps", page_size=5))
    assert {reason for _, reason in answer.degraded} == {
        Degradation.NO_TEXT_ENCODER,
        Degradation.NO_LEXICAL,
    }
    assert answer.fallback
    assert answer.slate.rows.tolist() == [4, 8, 12, 16, 20]


def test_a_lost_ranker_leaves_the_fused_order() -> None:
    searchable = a_searchable_shop()
    searchable.shop.ranker.failure = DOWN
    rows = rows_shown(searchable, "tall lamps", page_size=5)
    assert all(row % 3 == 1 and row % 4 == 0 for row in rows)


def test_a_search_for_what_there_is_not_is_relaxed_told_and_logged() -> None:
    searchable = a_searchable_shop()
    answer = searchable.shop.answer(a_search("red lamps under 5", shopper="ada"))
    assert ("query", Degradation.RELAXED_SEARCH) in answer.degraded
    assert all(row % 4 == 0 for row in answer.slate.rows)  # still lamps, whatever they cost
    reply = encode_answer(
        answer, searchable.shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000
    )
    assert reply.search.relaxed
    assert reply.search.filter == 'category = "lamps"'
    (event,) = searchable.shop.log.events
    assert (event.type, event.query, event.shopper, event.value) == (
        *(EventType.SEARCH, "red lamps under 5", "ada", 0.0),
    )


def test_a_query_without_a_meaning_here_is_answered_with_the_usual_list_and_logged() -> None:
    searchable = a_searchable_shop()
    answer = searchable.shop.answer(a_search("qwertzuiop"))
    assert ("query", Degradation.RELAXED_SEARCH) in answer.degraded
    assert len(answer.slate) == 10
    assert answer.candidates.proposed[:, Source.TWO_TOWER].any()
    assert len(searchable.shop.log.events) == 1


def test_a_search_that_ends_with_an_empty_list_is_logged_too() -> None:
    searchable = a_searchable_shop()
    searchable.shop.answer(a_search("red lamps"))
    searchable.shop.inventory.units = dict.fromkeys(searchable.shop.inventory.units, 0)
    searchable.shop.time.pass_ms(60_000.0)
    answer = searchable.shop.answer(a_search("red lamps"))
    assert len(answer.slate) == 0
    assert len(searchable.shop.log.events) == 1


def test_a_preview_that_finds_nothing_is_nobodys_dead_end() -> None:
    searchable = a_searchable_shop()
    searchable.shop.inventory.units = dict.fromkeys(searchable.shop.inventory.units, 0)
    answer = searchable.shop.answer(replace(a_search("red lamps"), preview=True))
    assert len(answer.slate) == 0
    assert searchable.shop.log.events == []


def test_a_good_search_logs_no_dead_end() -> None:
    searchable = a_searchable_shop()
    searchable.shop.answer(a_search("red lamps"))
    assert searchable.shop.log.events == []


def paged(searchable: SearchableShop, ask: Ask) -> list[int]:
    """Rows of the second page."""
    first = searchable.shop.answer(ask)
    assert first.next_page is not None
    token = encode_page(first.next_page, KEY, fingerprint=ask.fingerprint())
    page = decode_page(
        token, KEY, fingerprint=ask.fingerprint(), now_ms=searchable.shop.time.now_ms
    )
    second = searchable.shop.answer(replace(ask, page=page))
    assert second.ask.fingerprint() == ask.fingerprint()
    return [int(row) for row in second.slate.rows]


def test_further_pages_keep_to_the_constraints() -> None:
    rows = paged(a_searchable_shop(), a_search("red lamps", page_size=5))
    assert len(rows) == 5
    assert all(row % 4 == 0 for row in rows)


def test_further_pages_of_a_relaxed_list_stay_relaxed_and_log_nothing_more() -> None:
    searchable = a_searchable_shop()
    assert len(paged(searchable, a_search("red lamps under 5", page_size=5))) == 5
    assert len(searchable.shop.log.events) == 1


def test_another_query_does_not_continue_a_list() -> None:
    assert a_search("red lamps").fingerprint() != a_search("blue lamps").fingerprint()


def test_a_release_without_titles_refuses_queries() -> None:
    with pytest.raises(InvalidRequest, match="no titles to search by"):
        a_shop().answer(a_search("red lamps"))
