"""Boosts and promotions in a slate, and that every other rule still holds beside them."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.rules import Caps
from tests.unit.test_slate import (
    EXPLORING,
    NO_CAPS,
    arranged,
    contenders,
    counts_of,
    items,
    kinds,
    wishes,
)


def test_a_boost_multiplies_the_value_and_says_so() -> None:
    slate = arranged(contenders([3.0, 2.0, 1.0], factors=[1.0, 1.0, 4.0]), wishes())
    assert slate.rows.tolist() == [3, 1, 2]
    assert slate.values.tolist() == [4.0, 3.0, 2.0]
    assert slate.rules == (("boost",), (), ())


def test_a_boost_never_puts_a_loss_lower_nor_lifts_what_has_no_value() -> None:
    losses = contenders([-2.0, -3.0, -math.inf, math.nan], factors=[1.0, 2.0, 9.0, 9.0])
    assert arranged(losses, wishes()).rows.tolist()[:2] == [2, 1]


def test_promoted_products_stand_on_the_first_page_where_their_value_puts_them() -> None:
    promotable = [[False, True, False, False, False, True, True]]
    some = contenders([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], promotable=promotable)
    slate = arranged(some, wishes(4, promoted=(2,)))
    assert slate.rows.tolist() == [1, 2, 3, 6, 4, 5, 7]
    assert slate.promoted.tolist() == [False, True, False, True, False, False, False]
    assert slate.rules[3] == ("promotion",)


def test_caps_hold_for_promoted_products_too() -> None:
    lamps = [True] * 6 + [False] * 6
    some = contenders(
        [float(v) for v in range(12, 0, -1)], categories=[1] * 6 + [2] * 6, promotable=[lamps]
    )
    capped = Caps(category_share=0.5, brand_share=1.0)
    slate = arranged(some, wishes(4, caps=capped, promoted=(4,)))
    assert slate.rows.tolist()[:4] == [1, 2, 7, 8]
    assert slate.promoted.sum() == 2


def test_a_page_promised_whole_is_promoted_whole() -> None:
    last_ten = [at >= 20 for at in range(30)]
    some = contenders([float(v) for v in range(30, 0, -1)], promotable=[last_ten])
    without_caps = Caps(category_share=0.5, brand_share=0.5, pages=0)
    for caps in (NO_CAPS, without_caps):
        slate = arranged(some, wishes(5, caps=caps, promoted=(5,)))
        assert slate.rows.tolist()[:8] == [21, 22, 23, 24, 25, 1, 2, 3]


def test_what_lies_outside_the_filter_is_not_promoted() -> None:
    some = contenders([3.0, 2.0, 1.0], inside=[True, False, True], promotable=[[False, True, True]])
    slate = arranged(some, wishes(3, promoted=(2,)))
    assert slate.rows.tolist() == [1, 3, 2]
    assert slate.promoted.tolist() == [False, True, False]


promotions_drawn = st.lists(st.lists(st.booleans(), min_size=60, max_size=60), max_size=3)


@settings(max_examples=80, deadline=None)
@given(
    items,
    promotions_drawn,
    st.lists(st.integers(0, 4), min_size=3, max_size=3),
    st.integers(12, 15),
    st.sampled_from([0.2, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_promotions_have_exactly_their_places_and_every_other_promise_holds(
    drawn: list[tuple[float, int, int, bool, bool]],
    matches: list[list[bool]],
    slots: list[int],
    page_size: int,
    share: float,
    seed: int,
) -> None:
    count = len(drawn)
    some = contenders(
        [item[0] for item in drawn],
        categories=[item[1] for item in drawn],
        brands=[item[2] for item in drawn],
        inside=[item[3] for item in drawn],
        explorable=[item[4] for item in drawn],
        promotable=[column[:count] for column in matches],
    )
    caps = Caps(category_share=share, brand_share=share)
    wanted = tuple(slots[: len(matches)])
    slate = arranged(
        some, wishes(page_size, caps=caps, exploration=EXPLORING, promoted=wanted), seed
    )
    assert len(set(slate.rows.tolist())) == len(slate)
    assert not slate.promoted[page_size:].any()
    assert not (slate.promoted & slate.explored).any()
    cap = math.ceil(share * page_size)
    promoted = slate.at[slate.promoted]
    for codes in (some.categories, some.brands):
        assert np.bincount(codes[promoted], minlength=2)[1:].max() <= cap
    matching = some.inside & some.promotable.any(axis=0) if matches else np.zeros(count, np.bool_)
    assert set(promoted.tolist()) <= set(np.flatnonzero(matching).tolist())
    assert slate.promoted.sum() <= sum(wanted)
    # The first promotion is exact whenever enough match; the others, where those taken before them
    # are not missed. Without caps that is plain to see.
    if share == 1.0 and all(
        np.count_nonzero(some.inside & column) >= sum(wanted) for column in some.promotable
    ):
        assert slate.promoted.sum() == sum(wanted)


@settings(max_examples=40, deadline=None)
@given(
    kinds, st.integers(1, 12), st.sampled_from([0.25, 0.5]), st.lists(st.booleans(), min_size=40)
)
def test_caps_hold_beside_promoted_products(
    drawn: list[tuple[int, int]], page_size: int, share: float, matched: list[bool]
) -> None:
    some = contenders(
        [float(len(drawn) - at) for at in range(len(drawn))],
        categories=[c for c, _ in drawn],
        brands=[b for _, b in drawn],
        promotable=[matched[: len(drawn)]] if drawn else None,
    )
    caps = Caps(category_share=share, brand_share=share)
    asked = (page_size // 2,) if drawn else ()
    slate = arranged(some, wishes(page_size, caps=caps, promoted=asked))
    cap = math.ceil(share * page_size)
    shown, later = slate.at[:page_size], slate.at[page_size:]
    for codes in (some.categories, some.brands):
        if np.bincount(codes[shown], minlength=4)[1:].max(initial=0) > cap:
            # Then nothing that was left would have fitted.
            assert not any(
                (not some.categories[at] or counts_of(some.categories, shown, at) < cap)
                and (not some.brands[at] or counts_of(some.brands, shown, at) < cap)
                for at in later.tolist()
            )
