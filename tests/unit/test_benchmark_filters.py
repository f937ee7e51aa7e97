"""The benchmark of filters: a slow choice, a lost neighbour and a short list do not pass."""

from dataclasses import replace

import pytest

from loadtest.benchmarks.filtered_search import Cell, search_checks, search_grids, switch_overs
from serving.adapters.faiss_filtering import Way

CELL = Cell(
    index="flat",
    share=0.1,
    passing=400,
    ms={Way.EXACT: 0.1, Way.SELECTOR: 0.12, Way.OVER_FETCH: 0.02},
    recall={Way.EXACT: 1.0, Way.SELECTOR: 0.95, Way.OVER_FETCH: 0.7},
    chosen=Way.EXACT,
    filled=True,
    unfiltered_recall=0.94,
)


def holds(*cells: Cell) -> bool:
    return all(check.holds for check in search_checks(list(cells)))


def test_a_quick_way_that_finds_too_little_is_not_the_quickest() -> None:
    assert CELL.quickest is Way.EXACT
    assert holds(CELL)
    assert replace(CELL, unfiltered_recall=0.7).quickest is Way.OVER_FETCH


@pytest.mark.parametrize(
    "changes",
    [
        {"ms": {Way.EXACT: 0.2, Way.SELECTOR: 0.12}},
        {"chosen": Way.OVER_FETCH},
        {"filled": False},
    ],
    ids=["slow choice", "lost neighbours", "short list"],
)
def test_what_was_asked_and_did_not_come_does_not_hold(changes: dict[str, object]) -> None:
    assert not holds(CELL, replace(CELL, **changes))  # type: ignore[arg-type]


def test_a_switch_over_is_where_another_way_becomes_quickest() -> None:
    wide = replace(
        CELL, share=0.9, ms={Way.SELECTOR: 0.3, Way.OVER_FETCH: 0.2}, unfiltered_recall=0.7
    )
    assert switch_overs([CELL, wide]) == {"flat": {"exact_up_to": 0.1, "over_fetch_from": 0.9}}
    (grid,) = search_grids([CELL, wide])
    assert [row[0] for row in grid.rows] == ["10.0%", "90.0%"]
