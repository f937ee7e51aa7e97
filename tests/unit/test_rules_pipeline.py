"""The rule book on a request's whole way: retrieval, offers, order, pages, explanation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.codec import Decoder
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Answer
from serving.reply import encode_answer
from shop.candidates import Source
from shop.filters import parse_filter
from shop.merchandising import Promotion
from shop.neighbours import Neighbours
from shop.tokens import MAX_TOKEN_CHARS, decode_page, encode_page
from tests.unit.rule_books import a_fitted, enforce
from tests.unit.small_shop import PLAIN, SmallShop, a_context, a_shop, an_ask
from tests.unit.time_travel import START_MS

KEY = b"k" * 32


def shown(shop: SmallShop, **asked: Any) -> list[str]:
    return shop.shown(shop.answer(an_ask(**asked)))


def told(shop: SmallShop, answer: Answer) -> dict[str, tuple[str, ...]]:
    return dict(zip(shop.shown(answer), answer.slate.rules, strict=True))


def test_what_is_excluded_is_not_shown_on_any_page() -> None:
    shop = a_shop()
    enforce(shop, 'kind = "exclude"\nproducts = ["p1"]\nbrands = ["acme"]')  # acme: p6, p12 …
    first = shop.answer(an_ask())
    assert shop.shown(first)[:5] == ["p2", "p3", "p4", "p5", "p7"]
    enforce(shop, 'kind = "exclude"\ncondition = "price >= 30"')
    second = shop.answer(an_ask(page=first.next_page))
    assert shop.shown(second) == ["p14", "p15", "p16", "p17", "p19"]


@pytest.mark.parametrize(
    ("country", "is_shown"),
    [("DE", True), ("de", True), ("FR", False), ("fr", False), ("", False), ("Germany", False)],
)
def test_a_legal_exclusion_holds_in_its_countries_and_where_none_is_known(
    country: str, is_shown: bool
) -> None:
    shop = a_shop()
    enforce(shop, 'kind = "legal"\ncountries = ["FR", "BE"]\nproducts = ["p1"]')
    assert ("p1" in shown(shop, context=a_context(country=country))) == is_shown


def test_other_rules_that_name_countries_need_a_known_one() -> None:
    shop = a_shop()
    enforce(shop, 'kind = "exclude"\ncountries = ["FR"]\nproducts = ["p1"]')
    assert "p1" in shown(shop)
    assert "p1" not in shown(shop, context=a_context(country="FR"))


def test_rules_hold_on_their_placements_and_category_pages_only() -> None:
    shop = a_shop()
    enforce(
        shop,
        'kind = "pin"\nproduct = "p40"\nposition = 1\nplacements = ["cart"]',
        'kind = "pin"\nproduct = "p48"\nposition = 1\npriority = 1\npage_categories = ["lamps"]',
    )
    assert shown(shop)[0] == "p1"
    assert shown(shop, context=a_context(placement="cart"))[0] == "p40"
    assert shown(shop, filter='category = "lamps" AND price < 90')[0] == "p48"
    assert shown(shop, filter='category = "chairs"')[0] == "p1"


def test_a_campaign_begins_and_ends_by_the_clock_of_the_request() -> None:
    shop = a_shop()
    begin, end = "2025-06-15T15:10:00Z", "2025-06-15T15:20:00Z"  # START_MS is 15:06:40
    enforce(
        shop,
        f'kind = "pin"\nproduct = "p50"\nposition = 1\nfrom = {begin}\nuntil = {end}',
    )
    leaders = []
    for minute in (0, 4, 13, 14):
        shop.time.now_s = minute * 60.0
        leaders.append(shown(shop)[0])
    assert leaders == ["p1", "p50", "p50", "p1"]


def test_a_pinned_product_is_found_though_no_source_proposes_it() -> None:
    shop = a_shop(4_000)
    enforce(shop, 'kind = "pin"\nproduct = "p3999"\nposition = 3')
    answer = shop.answer(an_ask(explain=True))
    assert shop.shown(answer)[2] == "p3999"
    assert told(shop, answer)["p3999"] == ("promotion", "pin:r1")
    reply = encode_answer(answer, shop.deps.release.tables.catalogue, KEY, attribution_ttl_ms=1_000)
    assert reply.items[2].reason == pb.PROMOTED
    assert list(reply.items[2].explanation.rules) == ["promotion", "pin:r1"]


def test_without_the_ranker_pins_stand_all_the_same() -> None:
    shop = a_shop()
    shop.ranker.stalls = True
    enforce(shop, 'kind = "pin"\nproduct = "p33"\nposition = 2')
    assert shown(shop)[1] == "p33"


def test_hard_rules_and_the_callers_own_wishes_are_stronger_than_a_pin() -> None:
    shop = a_shop()
    enforce(
        shop,
        'kind = "pin"\nproduct = "p40"\nposition = 1',
        'kind = "pin"\nproduct = "p41"\nposition = 2',
        'kind = "pin"\nproduct = "p42"\nposition = 3',
        'kind = "legal"\ncountries = ["DE"]\nproducts = ["p40"]',
    )
    shop.inventory.units["p41"] = 0
    assert shown(shop)[:3] == ["p1", "p2", "p42"]
    assert shown(shop, exclude_product_ids=frozenset({"p42"}))[:3] == ["p1", "p2", "p3"]
    assert shown(shop, filter="price < 30")[:3] == ["p1", "p2", "p3"]


def test_pins_beside_promotions_share_the_page() -> None:
    shop = a_shop()
    enforce(
        shop,
        *(f'kind = "pin"\nproduct = "p{50 + n}"\nposition = {n}' for n in range(1, 5)),
    )
    answer = shop.answer(an_ask(promotions=(promotion('brand = "acme"', 80.0),)))
    rows = answer.slate.rows[:10].tolist()
    assert rows[:4] == [51, 52, 53, 54]
    assert all(row % 6 == 0 for row in rows[4:])
    assert len(rows) == 10


def promotion(text: str, percent: float) -> Promotion:
    return Promotion(parse_filter(text), percent)


def test_an_exclusion_of_half_the_shop_does_not_starve_the_list() -> None:
    shop = a_shop(4_000)
    enforce(shop, 'kind = "exclude"\ncategories = ["lamps", "chairs", "rugs"]')
    answer = shop.answer(an_ask(page_size=500))
    assert len(answer.slate) == 500
    codes = shop.deps.release.tables.catalogue.category_codes[answer.slate.rows]
    assert set(codes.tolist()) == {4}


def test_further_pages_tell_the_rules_that_the_first_was_asked_to_explain() -> None:
    shop = a_shop()
    enforce(shop, 'kind = "bury"\nfactor = 0.5\nproducts = ["p1", "p2"]')
    for explain, expected in ((True, ("boost", "bury:r1")), (False, ("boost",))):
        ask = an_ask(page_size=1, explain=explain)
        page = shop.answer(ask).next_page
        assert page is not None
        token = encode_page(page, KEY, fingerprint=ask.fingerprint())
        back = decode_page(token, KEY, fingerprint=ask.fingerprint(), now_ms=START_MS)
        answer = shop.answer(an_ask(page_size=59, page=back))
        assert told(shop, answer)["p2"] == expected


def test_a_token_with_the_names_of_many_rules_keeps_its_size() -> None:
    shop = a_shop(500)
    enforce(
        shop,
        *(
            f'id = "{"x" * 50}-{n}"\nkind = "boost"\nfactor = 1.01\ncondition = "price < {n + 11}"'
            for n in range(200)
        ),
    )
    ask = an_ask(page_size=1, explain=True)
    page = shop.answer(ask).next_page
    assert page is not None
    page.propensities[:] = 0.5
    token = encode_page(page, KEY, fingerprint=ask.fingerprint())
    assert len(token) <= MAX_TOKEN_CHARS
    decode_page(token, KEY, fingerprint=ask.fingerprint(), now_ms=START_MS)


def with_risks(shop: SmallShop, risks: dict[str, float]) -> SmallShop:
    """The supply system tells these risks; at most 500 candidates."""
    shop.supply.risk_and_days = {product_id: (risk, 30.0) for product_id, risk in risks.items()}
    quotas = replace(PLAIN.quotas, candidates=500, looked_up=500)
    return replace(shop, deps=replace(shop.deps, settings=replace(PLAIN, quotas=quotas)))


BACK_ORDER = 'kind = "back_order"\nrisk = 0.5'


def test_a_back_ordered_product_is_replaced_by_the_most_similar_candidate() -> None:
    shop = with_risks(a_shop(), {"p1": 0.9, "p2": 0.4})
    enforce(shop, BACK_ORDER)
    answer = shop.answer(an_ask(page_size=60, explain=True))
    assert shop.shown(answer)[:3] == ["p2", "p3", "p4"]
    assert shop.shown(answer)[-1] == "p1"
    assert told(shop, answer)["p1"] == ("back_order:r1",)
    assert told(shop, answer)["p2"] == ("stands_in:r1",)


def test_without_a_rule_a_risk_moves_nothing() -> None:
    assert shown(with_risks(a_shop(), {"p1": 0.9}))[0] == "p1"


def only_neighbours(count: int, pairs: dict[int, list[int]]) -> Neighbours:
    rows = np.zeros((count + 1, 3), dtype=np.int32)
    for row, others in pairs.items():
        rows[row, : len(others)] = others
    return Neighbours(rows, (rows > 0).astype(np.float32))


def test_where_no_candidate_is_like_it_the_neighbours_table_is_asked() -> None:
    near = only_neighbours(4_000, {1: [3_998, 3_999, 4_000]})
    shop = with_risks(a_shop(4_000, neighbours=near), {"p1": 0.9, "p3999": 0.9})
    shop.inventory.units["p3998"] = 0
    enforce(shop, BACK_ORDER)
    answer = shop.answer(an_ask(explain=True))
    assert shop.shown(answer)[0] == "p4000"
    assert told(shop, answer)["p4000"] == ("stands_in:r1",)
    proposed = answer.proposed[answer.slate.at[0]]
    assert np.flatnonzero(proposed).tolist() == [Source.ITEM_ITEM]
    assert answer.scores is not None
    assert len(answer.offers) == len(answer.candidates) <= 500


def test_stand_ins_keep_to_the_filter_and_to_what_may_be_shown() -> None:
    near = only_neighbours(4_000, {1: [3_998, 3_999, 4_000]})
    shop = with_risks(a_shop(4_000, neighbours=near), {"p1": 0.9})
    enforce(shop, BACK_ORDER, 'kind = "exclude"\nproducts = ["p3998"]')
    assert shown(shop)[0] == "p3999"
    excluded = frozenset({"p3999", "p4000"})
    assert "p3998" not in shown(shop, exclude_product_ids=excluded)
    assert shown(shop, filter="price < 100", strict_filtering=True)[0] == "p2"


def test_a_call_goes_by_one_book_to_its_end() -> None:
    shop = a_shop()
    enforce(shop, 'kind = "pin"\nproduct = "p40"\nposition = 1')
    catalogue = shop.deps.release.tables.catalogue
    judge = shop.ranker.judge

    def swapping(rows: Any, values: Any) -> Any:
        shop.deps.rules.enforce(a_fitted(catalogue, 'kind = "exclude"\nproducts = ["p40"]'))
        return judge(rows, values)

    shop.ranker.judge = swapping
    assert shown(shop)[0] == "p40"
    assert "p40" not in shown(shop, page_size=60)


def test_the_country_comes_from_the_request() -> None:
    decoder = Decoder("EUR", KEY, lambda: START_MS, lambda: "r")
    ask = decoder.ask(pb.RecommendRequest(placement="home", country="FR"))
    shop = a_shop()
    enforce(shop, 'kind = "legal"\ncountries = ["FR"]\nproducts = ["p1"]')
    assert "p1" not in shop.shown(shop.answer(ask))


def test_kinds_of_calls_with_the_same_rules_share_what_is_worked_out() -> None:
    catalogue = a_shop().deps.release.tables.catalogue
    fitted = a_fitted(
        catalogue,
        'kind = "exclude"\nproducts = ["p1"]',
        'kind = "exclude"\nproducts = ["p2"]\ncountries = ["FR"]\nfrom = 2025-06-15T15:10:00Z',
    )
    worked_out = fitted.work_out(START_MS)
    fitted.keep(worked_out)
    assert len(worked_out) == 6 * 3  # placements × unknown, FR, any other
    assert len({id(active) for active in worked_out.values()}) == 1
    later = fitted.work_out(START_MS + 600_000)  # the campaign has begun
    assert len({id(active) for active in later.values()}) == 2
    assert fitted.work_out(START_MS) == {}
    for key, active in worked_out.items():
        assert fitted.for_key(key) is active
