"""Sources and how they are blended into one list of candidates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.blend import Proposal, Quotas, interleave, make_room, stack, with_more
from shop.candidates import BLENDED, SOURCE_COUNT, Candidates, Source
from shop.events import EVENT_CODES, EventType, History
from shop.neighbours import ItemItemScores
from shop.popularity import Popularity
from shop.sources import from_chance, from_history, from_neighbours, from_popularity

TOWER, ITEM_ITEM, POPULAR = Source.TWO_TOWER, Source.ITEM_ITEM, Source.POPULAR


NO_SOURCE = {source.name.lower(): 0 for source in BLENDED}


def proposal(source: Source, *rows: int) -> Proposal:
    scores = np.linspace(1.0, 0.5, len(rows)).astype(np.float32)
    return Proposal(source, np.array(rows, dtype=np.int64), scores)


def quotas(**counts: int) -> Quotas:
    return Quotas(**(NO_SOURCE | {"candidates": 500} | counts))


def test_a_source_with_twice_the_quota_appears_twice_as_often() -> None:
    blended = interleave(
        [proposal(TOWER, 1, 2, 3, 4), proposal(ITEM_ITEM, 5, 6)],
        quotas(two_tower=4, item_item=2),
        9,
    )
    assert blended.rows.tolist() == [1, 5, 2, 3, 6, 4]


def test_a_product_of_two_sources_stands_once_and_keeps_both_scores() -> None:
    blended = interleave(
        [proposal(TOWER, 1, 2), proposal(ITEM_ITEM, 2, 3)], quotas(two_tower=2, item_item=2), 9
    )
    assert blended.rows.tolist() == [1, 2, 3]
    assert blended.source_scores[1, [TOWER, ITEM_ITEM]].tolist() == [0.5, 1.0]
    assert np.isnan(blended.source_scores[0, ITEM_ITEM])


def test_a_source_beyond_its_quota_fills_what_others_left_free() -> None:
    blended = interleave(
        [proposal(TOWER, 1, 2, 3, 4, 5), proposal(ITEM_ITEM)],
        quotas(two_tower=2, item_item=2),
        4,
    )
    assert blended.rows.tolist() == [1, 2, 3, 4]


def test_exploration_comes_after_every_quota_and_before_what_exceeds_one() -> None:
    blended = interleave(
        [proposal(TOWER, 1, 2, 3), proposal(Source.EXPLORATION, 8, 9)],
        quotas(two_tower=2, exploration=2),
        9,
    )
    assert blended.rows.tolist() == [1, 2, 8, 9, 3]


def test_stacking_keeps_the_sources_apart() -> None:
    stacked = stack([proposal(ITEM_ITEM, 4, 2), proposal(POPULAR, 2, 1, 3)], 4)
    assert stacked.rows.tolist() == [4, 2, 1, 3]
    assert stacked.source_scores[1, POPULAR] == 1.0


def test_nothing_proposed_is_an_empty_list() -> None:
    assert len(interleave([], quotas(two_tower=1), 9)) == 0
    assert len(stack([proposal(POPULAR)], 5)) == 0


def test_more_candidates_follow_without_repeating_any() -> None:
    first, more = stack([proposal(TOWER, 3, 1)], 9), stack([proposal(POPULAR, 1, 5, 6, 7)], 9)
    assert with_more(first, more, 2).rows.tolist() == [3, 1, 5, 6]


lists = st.lists(st.lists(st.integers(1, 30), unique=True, max_size=20), min_size=4, max_size=4)


@given(lists, st.integers(1, 40))
def test_a_blend_has_no_duplicates_and_knows_who_proposed_what(
    rows: list[list[int]], count: int
) -> None:
    proposals = [proposal(Source(at), *own) for at, own in enumerate(rows)]
    blended = interleave(proposals, quotas(two_tower=8, item_item=4, history=2, popular=2), count)
    shown = blended.rows.tolist()
    assert len(shown) == len(set(shown)) == min(count, len(set().union(*rows)))
    for at, row in enumerate(shown):
        proposed = [row in own for own in rows] + [False] * (SOURCE_COUNT - len(rows))
        assert (~np.isnan(blended.source_scores[at])).tolist() == proposed


@pytest.mark.parametrize(
    ("counts", "setting"),
    [
        ({"popular": -1}, "popular"),
        ({"candidates": 501}, "candidates"),
        ({"candidates": 0}, "candidates"),
        ({"looked_up": 499}, "looked_up"),
        (NO_SOURCE | {"exploration": 20}, "two_tower"),
    ],
)
def test_senseless_quotas_are_refused(counts: dict[str, int], setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        Quotas(**counts)


def test_candidates_must_fit_their_scores() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Candidates(np.array([1, 2]), np.zeros((3, SOURCE_COUNT), np.float32))


def test_neighbours_are_proposed_best_first_inside_the_filter() -> None:
    scored = ItemItemScores(np.array([2, 5, 7]), np.array([0.1, 0.9, 0.5], dtype=np.float32))
    allowed = np.ones(10, dtype=np.bool_)
    allowed[5] = False
    assert from_neighbours(scored, 2, None).rows.tolist() == [5, 7]
    assert from_neighbours(scored, 2, allowed).rows.tolist() == [7, 2]


def history(*deeds: tuple[int, EventType]) -> History:
    count = len(deeds)
    return History(
        np.array([row for row, _ in deeds], dtype=np.int64),
        np.array([EVENT_CODES[event] for _, event in deeds], dtype=np.int64),
        np.arange(count, dtype=np.int64),
        np.zeros(count, dtype=np.bool_),
    )


def test_what_was_wanted_last_comes_first_and_once() -> None:
    past = history(
        (3, EventType.CLICK), (4, EventType.PURCHASE), (3, EventType.CART), (0, EventType.CLICK)
    )
    found = from_history(past, 10, None)
    assert found.rows.tolist() == [3, 4]
    assert found.scores[0] > found.scores[1] > 0


def test_what_was_sent_back_is_not_proposed_unless_wanted_again() -> None:
    past = history(
        (3, EventType.PURCHASE),
        (3, EventType.RETURN),
        (4, EventType.CART),
        (4, EventType.REMOVE),
        (4, EventType.CLICK),
        (5, EventType.DWELL),
    )
    assert from_history(past, 10, None).rows.tolist() == [4]


def popularity() -> Popularity:
    """Rows 1 … 8, the lower the more popular; odd rows in category 1, even ones in 2."""
    rows = np.arange(9)
    return Popularity.of(
        rows[1:],
        np.where(rows > 0, 1.0 / np.maximum(rows, 1), 0).astype(np.float32),
        np.where(rows > 0, 2 - rows % 2, 0),
    )


def test_the_most_popular_in_the_category_come_first_then_from_anywhere() -> None:
    found = from_popularity(popularity(), np.array([2]), 6, None)
    assert found.rows.tolist() == [2, 4, 6, 8, 1, 3]
    assert found.scores[0] == 0.5


def test_several_categories_are_one_shelf() -> None:
    assert popularity().best_in(np.array([2, 1, 1, 0]), 3, None).tolist() == [1, 2, 3]
    assert popularity().best_in(np.array([0]), 3, None).tolist() == []


def test_popularity_looks_on_until_it_has_enough_that_is_allowed() -> None:
    count = 5_000
    shelf = Popularity.of(
        np.arange(1, count + 1),
        np.ones(count + 1, dtype=np.float32),
        np.ones(count + 1, dtype=np.int64),
    )
    allowed = np.zeros(count + 1, dtype=np.bool_)
    allowed[[10, 2_000, 4_999]] = True
    assert shelf.best(3, allowed).tolist() == [10, 2_000, 4_999]
    assert shelf.best(2, allowed).tolist() == [10, 2_000]


def test_chance_draws_distinct_products_and_the_same_ones_for_the_same_seed() -> None:
    allowed = np.arange(100) % 2 == 0
    first = from_chance(100, 10, allowed, np.random.default_rng(5))
    again = from_chance(100, 10, allowed, np.random.default_rng(5))
    assert first.rows.tolist() == again.rows.tolist()
    assert len(set(first.rows.tolist())) == first.rows.size == 10
    assert (first.rows > 0).all()
    assert (first.rows % 2 == 0).all()


def test_chance_finds_nothing_in_an_empty_catalogue() -> None:
    assert len(from_chance(1, 10, None, np.random.default_rng(5))) == 0


@given(st.integers(0, 30), st.integers(0, 8), st.integers(8, 30), st.data())
def test_room_is_made_by_what_is_least_needed(
    first_count: int, more_count: int, count: int, data: st.DataObject
) -> None:
    proposed = np.full((first_count, SOURCE_COUNT), np.nan, dtype=np.float32)
    explorable = data.draw(st.integers(0, min(3, first_count)))
    proposed[first_count - explorable :, Source.EXPLORATION] = 0.0
    first = Candidates(np.arange(1, first_count + 1), proposed)
    more = Candidates(
        np.arange(100, 100 + more_count), np.zeros((more_count, SOURCE_COUNT), np.float32)
    )
    needed = np.arange(first_count) % 10 == 9
    both = make_room(first, more, needed, count)
    assert len(both) == min(count, first_count + more_count)
    assert np.unique(both.rows).size == len(both)
    if first_count + more_count > count >= more_count + needed.sum() + explorable:
        assert set(more.rows) <= set(both.rows)
        assert set(first.rows[needed]) <= set(both.rows)
        assert set(first.rows[first_count - explorable :]) <= set(both.rows)


def test_the_few_that_are_allowed_of_many_come_most_popular_first() -> None:
    count = 70_000
    score = np.random.default_rng(1).permutation(count + 1).astype(np.float32)
    score[0] = 0.0
    rows = np.argsort(-score[1:], kind="stable") + 1
    popular = Popularity.of(rows, score, np.ones(count + 1, dtype=np.int64))
    for few in (3, 1_000, 1_001):
        allowed = np.zeros(count + 1, dtype=np.bool_)
        allowed[rows[-few:]] = True
        assert popular.best(40, allowed).tolist() == rows[-few:][:40].tolist()
