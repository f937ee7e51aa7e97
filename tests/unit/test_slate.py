"""Rules and slate: what moves a product, and what never happens to a list."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.explore import ExplorationSettings, explore
from shop.rules import Caps, PageLimits, keep_caps, spread
from shop.slate import Contenders, Slate, Wishes, arrange

NO_CAPS = Caps(category_share=1.0, brand_share=1.0)
NO_EXPLORATION = ExplorationSettings(epsilon=0.0)


def contenders(
    values: list[float],
    *,
    factors: list[float] | None = None,
    promotable: list[list[bool]] | None = None,
    **columns: list[int] | list[bool],
) -> Contenders:
    """Products 1, 2, 3 … of no category and brand, inside the filter, not to be explored."""
    count = len(values)
    kinds_of = {"inside": np.bool_, "explorable": np.bool_}
    full = {
        name: np.array(column, dtype=kinds_of.get(name, np.int64))
        for name, column in columns.items()
    }
    zeros = np.zeros(count, dtype=np.int64)
    return Contenders(
        rows=np.arange(1, count + 1),
        values=np.array(values, dtype=np.float64),
        categories=full.get("categories", zeros),
        brands=full.get("brands", zeros),
        inside=full.get("inside", np.ones(count, dtype=np.bool_)),
        explorable=full.get("explorable", np.zeros(count, dtype=np.bool_)),
        factors=np.array(factors or [1.0] * count, dtype=np.float64),
        promotable=np.array(promotable or [], dtype=np.bool_).reshape(len(promotable or []), count),
    )


def wishes(
    page_size: int = 10,
    *,
    diversity: float = 0.0,
    caps: Caps = NO_CAPS,
    exploration: ExplorationSettings = NO_EXPLORATION,
    promoted: tuple[int, ...] = (),
) -> Wishes:
    return Wishes(page_size, diversity, caps, exploration, promoted)


def arranged(given: Contenders, wanted: Wishes, seed: int = 1) -> Slate:
    return arrange(given, wanted, np.random.default_rng(seed))


def test_the_list_is_ordered_by_value() -> None:
    slate = arranged(contenders([1.0, 3.0, 2.0]), wishes())
    assert slate.rows.tolist() == [2, 3, 1]
    assert slate.at.tolist() == [1, 2, 0]
    assert slate.values.tolist() == [3.0, 2.0, 1.0]
    assert slate.rules == ((), (), ())


def test_equal_values_keep_their_order() -> None:
    slate = arranged(contenders([1.0] * 50), wishes(5))
    assert slate.rows.tolist() == list(range(1, 51))


def test_nan_and_infinity_never_win() -> None:
    slate = arranged(contenders([math.nan, 1.0, math.inf, -5.0, -math.inf]), wishes())
    assert slate.rows.tolist()[:2] == [2, 4]


def test_nothing_to_show_is_an_empty_slate() -> None:
    assert len(arranged(contenders([]), wishes(diversity=0.5, caps=Caps()))) == 0


def test_full_diversity_lets_categories_take_turns() -> None:
    lamps_then_rugs = contenders([9.0, 8.0, 7.0, 2.0, 1.0], categories=[1, 1, 1, 2, 2])
    slate = arranged(lamps_then_rugs, wishes(diversity=1.0))
    assert slate.rows.tolist() == [1, 4, 2, 5, 3]


def test_a_little_diversity_moves_only_what_is_close() -> None:
    close = contenders([10.0, 9.5, 9.0, 1.0], categories=[1, 1, 2, 2])
    assert arranged(close, wishes(diversity=0.1)).rows.tolist() == [1, 3, 2, 4]


def test_diversity_is_named_for_what_it_lowered() -> None:
    close = contenders([10.0, 9.5, 9.0, 1.0], categories=[1, 1, 2, 2])
    assert arranged(close, wishes(diversity=0.1)).rules == ((), (), ("diversity",), ())


def test_unknown_categories_are_not_kin() -> None:
    unknown = contenders([3.0, 2.9, 2.8, 2.7], categories=[0, 0, 0, 5])
    assert arranged(unknown, wishes(diversity=1.0)).rows.tolist() == [1, 2, 3, 4]


def greedy(values: list[float], categories: list[int], diversity: float) -> list[int]:
    """The loop that `spread` replaces: always take what is worth most after what was taken."""
    left, taken = list(range(len(values))), []
    while left:

        def worth(place: int) -> tuple[float, int, int]:
            kin = sum(categories[place] and categories[t] == categories[place] for t in taken)
            value = values[place]
            return (value * (1 - diversity) ** kin if value > 0 else value, -kin, -place)

        best = max(left, key=worth)
        left.remove(best)
        taken.append(best)
    return taken


@given(
    st.lists(st.tuples(st.integers(-5, 60), st.integers(0, 4)), max_size=25),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_spread_is_the_greedy_choice(items: list[tuple[int, int]], diversity: float) -> None:
    items = sorted(items, key=lambda item: -item[0])
    values, categories = [float(v) for v, _ in items], [c for _, c in items]
    # Powers of a quarter and a half are exact in binary, so ties are ties in both.
    places = spread(np.array(values), np.array(categories, dtype=np.int64), diversity)
    if diversity == 0.0:
        assert places.tolist() == list(range(len(items)))
    else:
        assert places.tolist() == greedy(values, categories, diversity)


def test_a_category_takes_at_most_its_share_of_a_page() -> None:
    lamps_first = contenders(
        [float(v) for v in range(20, 0, -1)], categories=[1] * 10 + [2] * 5 + [3] * 5
    )
    slate = arranged(lamps_first, wishes(4, caps=Caps(category_share=0.5, brand_share=1.0)))
    assert slate.rows.tolist()[:8] == [1, 2, 11, 12, 3, 4, 13, 14]
    assert slate.rules[4] == ("category_cap",)
    assert slate.rows.tolist()[8:] == [5, 6, 7, 8, 9, 10, 15, 16, 17, 18, 19, 20]


def test_a_brand_takes_at_most_its_share_of_a_page() -> None:
    one_brand_first = contenders([4.0, 3.0, 2.0, 1.0], brands=[7, 7, 7, 8])
    slate = arranged(one_brand_first, wishes(3, caps=Caps(category_share=1.0, brand_share=0.5)))
    assert slate.rows.tolist() == [1, 2, 4, 3]
    assert slate.rules[3] == ("brand_cap",)


def test_a_page_that_nothing_else_fills_goes_over_the_cap() -> None:
    only_lamps = contenders([3.0, 2.0, 1.0], categories=[1, 1, 1])
    slate = arranged(only_lamps, wishes(4, caps=Caps(category_share=0.25, brand_share=1.0)))
    assert slate.rows.tolist() == [1, 2, 3]


kinds = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40)


@given(kinds, st.integers(1, 12), st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.integers(0, 3))
def test_caps_hold_on_every_capped_page_that_others_can_fill(
    items: list[tuple[int, int]], page_size: int, share: float, pages: int
) -> None:
    categories = np.array([c for c, _ in items], dtype=np.int64)
    brands = np.array([b for _, b in items], dtype=np.int64)
    capped = keep_caps(
        (
            PageLimits.by_share(categories, share, page_size),
            PageLimits.by_share(brands, share, page_size),
        ),
        pages,
        page_size=page_size,
    )
    assert sorted(capped.order.tolist()) == list(range(len(items)))
    cap = math.ceil(share * page_size)
    for page in range(pages):
        shown = capped.order[page * page_size : (page + 1) * page_size]
        later = capped.order[(page + 1) * page_size :]
        for codes in (categories, brands):
            counts = np.bincount(codes[shown], minlength=4)[1:]
            if counts.max(initial=0) > cap:  # then nothing that was left would have fitted
                fits = [
                    place
                    for place in later
                    if (not categories[place] or counts_of(categories, shown, place) < cap)
                    and (not brands[place] or counts_of(brands, shown, place) < cap)
                ]
                assert fits == []


def counts_of(codes: np.ndarray, shown: np.ndarray, place: int) -> int:
    return int(np.count_nonzero(codes[shown] == codes[place]))


def test_what_lies_outside_the_filter_only_fills_the_first_page() -> None:
    mixed = contenders([1.0, 9.0, 8.0, 7.0], inside=[True, False, False, False])
    slate = arranged(mixed, wishes(3))
    assert slate.rows.tolist() == [1, 2, 3]
    assert slate.rules == ((), ("outside_filter",), ("outside_filter",))


EXPLORING = ExplorationSettings(epsilon=0.3, slots=(2, 4))


def explorers(count: int = 20) -> Contenders:
    return contenders(
        [float(v) for v in range(count, 0, -1)],
        explorable=[False] * 14 + [True] * (count - 14),
    )


def test_propensities_are_the_frequencies_of_a_simulation() -> None:
    shown: dict[tuple[int, int], int] = {}
    claimed: dict[tuple[int, int], float] = {}
    generator, runs = np.random.default_rng(11), 3_000
    for _ in range(runs):
        slate = arrange(explorers(), wishes(5, exploration=EXPLORING), generator)
        for position, row in enumerate(slate.rows.tolist()):
            shown[position, row] = shown.get((position, row), 0) + 1
            propensity = float(slate.propensities[position])
            assert claimed.setdefault((position, row), propensity) == propensity
    for place, propensity in claimed.items():
        error = math.sqrt(propensity * (1 - propensity) / runs)
        assert abs(shown[place] / runs - propensity) <= 5 * error + 1e-12
    for position in range(20):  # and at every position they make one
        assert sum(p for (at, _), p in claimed.items() if at == position) == pytest.approx(1.0)


def test_an_explored_product_trades_places_and_both_say_so() -> None:
    for seed in range(40):
        slate = arranged(explorers(), wishes(5, exploration=EXPLORING), seed)
        assert sorted(slate.rows.tolist()) == list(range(1, 21))
        for slot in np.flatnonzero(slate.explored).tolist():
            assert slot in (1, 3)
            assert slate.rules[slot] == ("exploration",)
            assert slate.rows[slot] > 14
            displaced = slate.rows.tolist().index(slot + 1)
            assert slate.rules[displaced] == ("made_way",)


def test_the_same_seed_explores_alike() -> None:
    first = arranged(explorers(), wishes(5, exploration=EXPLORING), 3)
    again = arranged(explorers(), wishes(5, exploration=EXPLORING), 3)
    assert first.rows.tolist() == again.rows.tolist()


def test_without_a_pool_nothing_is_explored_and_everything_is_certain() -> None:
    slate = arranged(contenders([3.0, 2.0, 1.0]), wishes(2, exploration=EXPLORING))
    assert slate.propensities.tolist() == [1.0, 1.0, 1.0]
    assert not slate.explored.any()


def test_a_pool_smaller_than_the_slots_leaves_a_slot_alone() -> None:
    alone = explore(
        10,
        np.array([8]),
        ExplorationSettings(epsilon=0.5, slots=(1, 2)),
        first_page=5,
        generator=np.random.default_rng(0),
    )
    assert alone.propensities[1] == 1.0
    assert alone.propensities[0] == 0.5


items = st.lists(
    st.tuples(
        st.one_of(st.floats(-10, 100), st.just(math.nan)),
        st.integers(0, 4),
        st.integers(0, 4),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(items, st.integers(1, 15), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_slate_has_no_duplicates_whatever_rules_meet(
    drawn: list[tuple[float, int, int, bool, bool]], page_size: int, diversity: float, seed: int
) -> None:
    given_items = contenders(
        [item[0] for item in drawn],
        categories=[item[1] for item in drawn],
        brands=[item[2] for item in drawn],
        inside=[item[3] for item in drawn],
        explorable=[item[4] for item in drawn],
    )
    wanted = wishes(page_size, diversity=diversity, caps=Caps(), exploration=EXPLORING)
    slate = arranged(given_items, wanted, seed)
    rows = slate.rows.tolist()
    inside = np.flatnonzero(given_items.inside) + 1
    outside_count = min(len(drawn) - inside.size, max(0, page_size - inside.size))
    assert len(rows) == len(set(rows)) == inside.size + outside_count
    assert set(inside.tolist()) <= set(rows)
    assert set(rows[: inside.size]) == set(inside.tolist())
    assert (slate.propensities > 0).all()
    assert (slate.propensities <= 1).all()
    assert given_items.rows[slate.at].tolist() == rows
    assert len(slate.rules) == len(rows)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=30, max_size=60))
def test_exploration_breaks_no_cap_of_the_first_page(kinds_drawn: list[tuple[int, int]]) -> None:
    count = len(kinds_drawn)
    caps = Caps(category_share=0.6, brand_share=0.6, pages=2)
    some = contenders(
        [float(v) for v in range(count, 0, -1)],
        categories=[c for c, _ in kinds_drawn],
        brands=[b for _, b in kinds_drawn],
        explorable=[True] * count,
    )
    before = arranged(some, wishes(10, caps=caps))
    after = arranged(
        some, wishes(10, caps=caps, exploration=ExplorationSettings(epsilon=0.9, slots=(3, 7)))
    )
    for codes in (some.categories, some.brands):
        was = np.bincount(codes[before.at[:10]], minlength=4).max()
        now = np.bincount(codes[after.at[:10]], minlength=4).max()
        assert now <= max(6, was)
