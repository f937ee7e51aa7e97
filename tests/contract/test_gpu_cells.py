"""Approximate search of the GPU benchmark, on the CPU."""

import pytest
import torch

from export.gpu.celling import drawn_around_centres, enough_probes, right_cells
from export.gpu.cells import CellSearch
from export.gpu.plan import cpu_plan
from export.gpu.report import Report

pytestmark = pytest.mark.usefixtures("one_torch_thread")
PLAN = cpu_plan(seed=7, rows=600)
ITEMS, USERS = drawn_around_centres(1_200, 8, PLAN)


def a_search(probes: int = 1) -> CellSearch:
    return CellSearch(ITEMS, count=20, probes=probes, places=32, seed=1)


def test_every_product_lies_in_one_list_and_row_0_in_none() -> None:
    lists = a_search().lists_LS
    rows = lists[lists > 0]
    assert rows.sort().values.tolist() == list(range(1, 1_200))


def test_looking_at_every_list_is_exact() -> None:
    report = Report(PLAN.device)
    right_cells(PLAN, report)
    assert report.is_right, report.text()
    assert len(report.checks) == 3


def test_few_lists_find_neighbours_and_their_own_cosines() -> None:
    search = a_search(probes=4)
    rows, cosines = search(USERS, search.closed_for(None))
    found = cosines > -torch.inf
    for at in range(len(USERS)):
        mine = rows[at][found[at]]
        assert mine.unique().numel() == mine.numel()
        assert torch.allclose(ITEMS[mine] @ USERS[at], cosines[at][found[at]], atol=1e-3)
    assert (rows[~found] == 0).all()


def test_as_few_lists_are_looked_at_as_find_enough() -> None:
    search = a_search()
    checked = enough_probes(search, ITEMS, USERS)
    assert checked.holds, checked.measured
    assert 1 <= search.probes < search.list_count
    assert search.read_bytes < search.table_bytes


def test_a_search_that_finds_others_is_seen() -> None:
    class Astray(CellSearch):
        def forward(
            self, user: torch.Tensor, closed: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return super().forward(-user, closed)

    search = Astray(ITEMS, count=20, probes=1, places=32, seed=1)
    assert not enough_probes(search, ITEMS, USERS).holds


def test_filters_hold_and_leave_places_empty() -> None:
    search = a_search(probes=1_000)
    allowed = torch.zeros(1_200, dtype=torch.bool)
    allowed[[0, 5, 9]] = True
    rows, cosines = search(USERS, search.closed_for(allowed))
    assert (rows[:, :2].sort().values == torch.tensor([5, 9])).all()
    assert (rows[:, 2:] == 0).all()
    assert torch.isinf(cosines[:, 2:]).all()
