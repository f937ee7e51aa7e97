"""What rules of the book do to an order, whatever they are: properties over random books."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.recommend.rules import FittedBook
from shop.active_rules import ActiveRules
from shop.compiled_rules import compile_book
from shop.explore import ExplorationSettings
from shop.neighbours import Neighbours
from shop.offers import Offers
from shop.rulebook import (
    BackOrder,
    BookRule,
    Cap,
    Effect,
    Exclude,
    Kind,
    MarginFloor,
    Pin,
    RuleBook,
    Scope,
    Selection,
    Weigh,
)
from shop.rulebook_checks import contradictions
from shop.rules import Caps, stand_in
from shop.ruling import is_excluded, rule_on
from shop.slate import Contenders, Slate, Wishes, arrange
from tests.unit.rule_books import a_fitted
from tests.unit.small_shop import BRANDS, CATEGORIES, a_catalogue, next_five

COUNT = 40
CATALOGUE = a_catalogue(COUNT)
NEIGHBOURS = next_five(COUNT)
ROWS = np.arange(1, COUNT + 1)
CAPS = Caps(category_share=0.5, brand_share=0.5)
PLAIN = Wishes(10, 0.0, CAPS, ExplorationSettings(epsilon=0.0))

selections = st.builds(
    Selection,
    product_ids=st.lists(st.sampled_from([f"p{r}" for r in ROWS]), max_size=4).map(tuple),
    categories=st.lists(st.sampled_from(CATEGORIES[1:]), max_size=2).map(tuple),
    brands=st.lists(st.sampled_from(BRANDS[1:]), min_size=1, max_size=2).map(tuple),
)
everywhere = st.just(Selection())
kinds: dict[Kind, tuple[st.SearchStrategy[Selection], st.SearchStrategy[Effect]]] = {
    Kind.EXCLUDE: (selections, st.just(Exclude())),
    Kind.PIN: (
        everywhere,
        st.builds(Pin, st.sampled_from([f"p{r}" for r in ROWS]), st.integers(1, 25)),
    ),
    Kind.BOOST: (selections, st.builds(Weigh, st.sampled_from([1.5, 3.0, 100.0]))),
    Kind.BURY: (selections, st.builds(Weigh, st.sampled_from([0.01, 0.5]))),
    Kind.CAP: (
        everywhere,
        st.builds(Cap, st.sampled_from(["brand", "category"]), st.sampled_from([0.1, 0.3, 1.0]),
                  st.sampled_from([1, 4, 500])),
    ),
    Kind.MARGIN_FLOOR: (selections, st.builds(MarginFloor, st.sampled_from([0.1, 0.7]))),
    Kind.BACK_ORDER: (everywhere, st.builds(BackOrder, st.sampled_from([0.2, 0.6]))),
}  # fmt: skip


@st.composite
def books(draw: st.DrawFn) -> RuleBook:
    rules = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(sorted(kinds)))
        selection, effect = kinds[kind]
        rules.append(
            BookRule(
                f"r{number}", kind, draw(st.integers(0, 2)), Scope(), draw(selection), draw(effect)
            )
        )
        if contradictions(rules):
            rules.pop()
    return RuleBook("v", tuple(rules))


risks = st.lists(st.sampled_from([math.nan, 0.1, 0.5, 0.9]), min_size=COUNT, max_size=COUNT)


def offers(risk: list[float], rows: NDArray[np.int64] = ROWS) -> Offers:
    price = CATALOGUE.list_price_minor[rows]
    yes, zeros = np.ones(rows.size, dtype=np.bool_), np.zeros(rows.size, dtype=np.int64)
    return Offers(
        rows=rows,
        price_minor=price,
        list_price_minor=price,
        price_known=yes,
        price_as_of_ms=zeros,
        stock=zeros + 5,
        stock_tracked=yes,
        stock_known=yes,
        stock_as_of_ms=zeros,
        cost_minor=np.where(rows % 3 == 0, price * 95 // 100, price // 2),
        backorder_risk=np.array(risk, dtype=np.float32),
    )


def contenders(shown: Offers, values: list[float]) -> Contenders:
    rows = shown.rows
    return Contenders(
        rows=rows,
        values=np.array(values, dtype=np.float64),
        categories=CATALOGUE.category_codes[rows],
        brands=CATALOGUE.brand_codes[rows],
        inside=rows % 11 != 0,
        explorable=rows % 4 == 0,
        factors=np.ones(rows.size),
        promotable=np.zeros((0, rows.size), dtype=np.bool_),
    )


def active(fitted: FittedBook, *, country: str = "DE") -> ActiveRules | None:
    key = fitted.compiled.key(placement="home", country=country, page_filter=None, now_ms=0)
    return fitted.for_key(key)


def ruled(rules: ActiveRules | None, some: Contenders, shown: Offers, wanted: Wishes) -> Slate:
    if rules is not None:
        ruling = rule_on(rules, shown, NEIGHBOURS, explain=True)
        some = replace(some, ruling=ruling)
    return arrange(some, wanted, np.random.default_rng(5))


values_drawn = st.lists(st.integers(-3, 30).map(float), min_size=COUNT, max_size=COUNT)


@settings(max_examples=40, deadline=None)
@given(books(), values_drawn, risks, st.integers(1, 15), st.sampled_from([0.0, 0.4]))
def test_whatever_the_book_the_list_keeps_its_promises(
    book: RuleBook, values: list[float], risk: list[float], page_size: int, epsilon: float
) -> None:
    rules = active(FittedBook(compile_book(book, CATALOGUE)))
    everything = offers(risk)
    kept = np.arange(COUNT) if rules is None else np.flatnonzero(~is_excluded(rules, everything))
    shown = everything.taken(kept)
    some = contenders(shown, [values[at] for at in kept])
    exploration = ExplorationSettings(epsilon=epsilon, slots=(2, 5))
    wanted = replace(PLAIN, page_size=page_size, exploration=exploration)
    slate = ruled(rules, some, shown, wanted)
    rows = slate.rows.tolist()

    assert len(rows) == len(set(rows))
    assert set(rows) <= set(shown.rows.tolist())
    inside = set(shown.rows[some.inside].tolist())
    assert inside == set(rows[: len(inside)])

    placed = pins_by_hand(book, inside)
    for position, row in placed.items():
        assert rows[min(position, len(inside) - 1)] == row or position >= len(inside)
    for row in placed.values():
        assert not slate.explored[rows.index(row)]
        if slate.rows.tolist().index(row) < len(inside):
            assert slate.promoted[rows.index(row)]

    if epsilon == 0.0:
        check_caps(book, slate, page_size, pinned=set(placed.values()), inside=len(inside))


def pins_by_hand(book: RuleBook, inside: set[int]) -> dict[int, int]:
    """0-based position → row."""
    pins = sorted(
        ((-r.priority, r.id, r.effect) for r in book.rules if isinstance(r.effect, Pin)),
        key=lambda pin: pin[:2],
    )
    placed: dict[int, int] = {}
    for _, _, pin in pins:
        row = CATALOGUE.row_of[pin.product_id]
        if row in placed.values() or row not in inside:
            continue
        position = pin.position - 1
        while position in placed:
            position += 1
        placed[position] = row
    return placed


def limit_by_hand(book: RuleBook, per: str, page_size: int) -> int:
    caps = [(r.priority, r.effect) for r in book.rules if isinstance(r.effect, Cap)]
    caps = [(priority, cap) for priority, cap in caps if cap.per == per]
    if not caps:
        return math.ceil(0.5 * page_size)
    highest = max(priority for priority, _ in caps)
    return min(
        min(cap.most, math.ceil(cap.share * page_size))
        for priority, cap in caps
        if priority == highest
    )


def check_caps(
    book: RuleBook, slate: Slate, page_size: int, *, pinned: set[int], inside: int
) -> None:
    """A code of the first page is over its cap only for pins, or where nothing else was left."""
    page, later = slate.rows[:inside][:page_size], slate.rows[:inside][page_size:]
    columns = {"category": CATALOGUE.category_codes, "brand": CATALOGUE.brand_codes}
    limits = {per: limit_by_hand(book, per, page_size) for per in columns}

    def is_full(row: int, per: str) -> bool:
        codes = columns[per]
        return int(np.count_nonzero(codes[page] == codes[row])) >= limits[per]

    for per, codes in columns.items():
        for code in np.unique(codes[page]).tolist():
            of_code = page[codes[page] == code].tolist()
            free = [row for row in of_code if row not in pinned]
            if len(of_code) > limits[per] and free:
                fits = [
                    row
                    for row in later.tolist()
                    if row not in pinned and not any(is_full(row, each) for each in columns)
                ]
                assert fits == []


@settings(max_examples=30, deadline=None)
@given(values_drawn, risks, st.floats(0, 1), st.integers(1, 15))
def test_a_book_that_is_about_others_changes_nothing_bit_for_bit(
    values: list[float], risk: list[float], diversity: float, page_size: int
) -> None:
    idle = a_fitted(
        CATALOGUE,
        'kind = "boost"\nfactor = 9\nproducts = ["nobody"]',
        'kind = "back_order"\nrisk = 0.95',
        'kind = "margin_floor"\nshare = 0.01',
        'kind = "pin"\nproduct = "nobody"\nposition = 1',
    )
    shown = offers(risk)
    some = contenders(shown, values)
    wanted = replace(
        PLAIN,
        page_size=page_size,
        diversity=diversity,
        exploration=ExplorationSettings(epsilon=0.3, slots=(2, 4)),
    )
    with_rules, without = ruled(active(idle), some, shown, wanted), ruled(None, some, shown, wanted)
    for name in ("rows", "at", "values", "propensities", "moved"):
        one, other = getattr(with_rules, name), getattr(without, name)
        assert one.tobytes() == other.tobytes()
    assert active(a_fitted(CATALOGUE)) is None


@settings(max_examples=25, deadline=None)
@given(books(), values_drawn, risks)
def test_among_products_that_no_rule_is_about_the_order_stays(
    book: RuleBook, values: list[float], risk: list[float]
) -> None:
    book = RuleBook("v", tuple(rule for rule in book.rules if rule.kind is not Kind.CAP))
    rules = active(FittedBook(compile_book(book, CATALOGUE)))
    shown = offers(risk)
    some = contenders(shown, values)
    wanted = replace(PLAIN, caps=Caps(category_share=1.0, brand_share=1.0))
    before, after = ruled(None, some, shown, wanted), ruled(rules, some, shown, wanted)
    told = {row for row, names in zip(after.rows.tolist(), after.rules, strict=True) if names}
    untouched = [row for row in before.rows.tolist() if row not in told and row % 11]
    assert [row for row in after.rows.tolist() if row in untouched] == untouched


def order_of(*rules: str, values: list[float] | None = None, risk: list[float] | None = None) -> (
    tuple[list[int], dict[int, tuple[str, ...]]]
):  # fmt: skip
    """Rows in order, and what was told of each."""
    shown = offers(risk or [math.nan] * COUNT)
    some = contenders(shown, values or [float(COUNT - at) for at in range(COUNT)])
    wanted = replace(PLAIN, caps=Caps(category_share=1.0, brand_share=1.0))
    slate = ruled(active(a_fitted(CATALOGUE, *rules)), some, shown, wanted)
    rows = slate.rows.tolist()
    return rows, dict(zip(rows, slate.rules, strict=True))


def test_the_highest_priority_alone_weighs_and_equals_multiply() -> None:
    values = [1.0] * COUNT
    rules = (
        'kind = "boost"\nfactor = 2\nproducts = ["p1", "p2", "p3"]',
        'kind = "boost"\nfactor = 3\nproducts = ["p2"]',
        'kind = "bury"\nfactor = 0.5\nproducts = ["p3"]\npriority = 1',
    )
    rows, told = order_of(*rules, values=values)
    assert (rows[0], rows[1]) == (2, 1)
    assert rows.index(3) > rows.index(40)
    assert told[2] == ("boost", "boost:r1", "boost:r2")
    assert told[3] == ("boost", "bury:r3")


def test_factors_together_stay_within_their_bounds() -> None:
    rules = tuple('kind = "boost"\nfactor = 100\nproducts = ["p9"]' for _ in range(200))
    shown = offers([math.nan] * COUNT)
    rules_active = active(a_fitted(CATALOGUE, *rules))
    assert rules_active is not None
    ruling = rule_on(rules_active, shown, NEIGHBOURS, explain=False)
    assert ruling.factors is not None
    assert (ruling.factors.min(), ruling.factors.max()) == (1.0, 100.0)


def test_a_boost_by_price_counts_beside_one_by_name() -> None:
    rows, told = order_of(
        'kind = "boost"\nfactor = 50\ncondition = "price = 45"',
        'kind = "boost"\nfactor = 2\nproducts = ["p34", "p35"]',
        values=[1.0] * COUNT,
    )
    assert rows[:2] == [35, 34]
    assert told[35] == ("boost", "boost:r1", "boost:r2")


def test_below_the_margin_floor_comes_after_everything_else_but_pins() -> None:
    rows, told = order_of(
        'kind = "margin_floor"\nshare = 0.1',
        'kind = "pin"\nproduct = "p9"\nposition = 2',
    )
    low = [row for row in range(1, COUNT + 1) if row % 3 == 0 and row % 11 and row != 9]
    inside = COUNT - COUNT // 11
    assert rows[inside - len(low) : inside] == low
    assert rows[1] == 9
    assert told[9] == ("promotion", "pin:r2")
    assert told[3] == ("margin_floor:r1",)


def test_what_is_back_ordered_gives_its_place_to_the_most_similar() -> None:
    risk = [0.1] * COUNT
    risk[0] = risk[1] = 0.9  # p1 and p2; p3 is the nearest of p2 and second of p1
    rows, told = order_of('kind = "back_order"\nrisk = 0.5', risk=risk)
    assert rows[:4] == [3, 4, 5, 6]
    assert rows[COUNT - COUNT // 11 - 2 : COUNT - COUNT // 11] == [1, 2]
    assert told[1] == told[2] == ("back_order:r1",)
    assert told[3] == told[4] == ("stands_in:r1",)


def test_who_stands_in_comes_from_further_down_and_for_one_only() -> None:
    demoted = np.array([False, True, True, False, False])
    order, stands_for = stand_in(np.arange(5), demoted, {1: [0, 4], 2: [4, 3]})
    assert order.tolist() == [0, 4, 3, 1, 2]
    assert stands_for == {4: 1, 3: 2}
    order, stands_for = stand_in(np.arange(5), demoted, {1: [0, 4], 2: [4, 3]}, fixed={4})
    assert order.tolist() == [0, 3, 4, 1, 2]
    assert stands_for == {3: 2}


def test_an_unknown_risk_is_none() -> None:
    rows, _ = order_of('kind = "back_order"\nrisk = 0.0')
    assert rows[:5] == [1, 2, 3, 4, 5]


def test_pins_of_one_place_stand_in_a_row_by_priority() -> None:
    rows, told = order_of(
        'kind = "pin"\nproduct = "p20"\nposition = 1',
        'kind = "pin"\nproduct = "p30"\nposition = 1\npriority = 5',
        'kind = "pin"\nproduct = "p25"\nposition = 3',
    )
    assert rows[:4] == [30, 20, 25, 1]
    assert told[25] == ("promotion", "pin:r3")


def test_a_cap_of_the_book_replaces_the_settings_and_is_named() -> None:
    shown = offers([math.nan] * COUNT)
    some = contenders(shown, [100.0 if row % 6 == 0 else 1.0 for row in ROWS])  # acme first
    loose = a_fitted(CATALOGUE, 'kind = "cap"\nper = "brand"\nshare = 1.0\nbrands = ["acme"]')
    tight = a_fitted(
        CATALOGUE,
        'kind = "cap"\nper = "brand"\nmost = 3',
        'kind = "cap"\nper = "brand"\nmost = 1\nbrands = ["acme"]\npriority = 1',
    )
    counts = []
    for fitted in (loose, tight):
        slate = ruled(active(fitted), some, shown, PLAIN)
        counts.append(int(np.count_nonzero(CATALOGUE.brand_codes[slate.rows[:10]] == 1)))
    assert counts == [6, 1]  # there are six of acme
    told = {name for names in slate.rules for name in names}
    assert {"brand_cap", "cap:r2"} <= told


def test_neighbours_that_no_candidate_is_stand_in_for_nobody() -> None:
    lonely = Neighbours(np.zeros((COUNT + 1, 3), np.int32), np.zeros((COUNT + 1, 3), np.float32))
    fitted = a_fitted(CATALOGUE, 'kind = "back_order"\nrisk = 0.5')
    rules = active(fitted)
    assert rules is not None
    ruling = rule_on(rules, offers([0.9] * COUNT), lonely, explain=False)
    assert ruling.stand_ins == {}
