"""Exact search in parts on several devices, rehearsed on one: the same as in one piece."""

import pytest
import torch

from export.gpu.checks import check_search
from export.gpu.drawn import unit_vectors
from export.gpu.search import ExactSearch
from export.gpu.shards import ShardedSearch

CPU = torch.device("cpu")
ITEMS = unit_vectors(601, 64, CPU, seed=1)
USERS = unit_vectors(7, 64, CPU, seed=2)[1:]


@pytest.mark.parametrize("storage", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_find_what_float64_finds(storage: str, parts: int) -> None:
    search = ShardedSearch(ITEMS, [CPU] * parts, storage=storage, count=60)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(3)
    filters = (
        None,
        torch.rand(601, generator=draw) < 0.3,
        torch.rand(6, 601, generator=draw) < 0.05,
    )
    for allowed in filters:
        checked = check_search("parts", search, ITEMS, USERS, allowed)
        assert checked.holds, checked.measured


def test_parts_answer_bit_by_bit_like_the_whole() -> None:
    whole = ExactSearch(ITEMS, storage="fp32", count=50)
    parts = ShardedSearch(ITEMS, [CPU, CPU, CPU], storage="fp32", count=50)
    rows, cosines = whole(USERS, whole.closed_for(None))
    own_rows, own_cosines = parts(USERS, parts.closed_for(None))
    assert torch.equal(rows, own_rows)
    assert torch.equal(cosines, own_cosines)


def test_places_that_no_product_may_take_hold_row_0() -> None:
    parts = ShardedSearch(ITEMS, [CPU, CPU], storage="fp16", count=40)
    allowed = torch.zeros(601, dtype=torch.bool)
    allowed[[0, 5, 300, 301, 600]] = True  # row 0 among them, which is no product
    rows, cosines = parts(USERS, parts.closed_for(allowed))
    assert sorted(rows[0, :4].tolist()) == [5, 300, 301, 600]
    assert (rows[:, 4:] == 0).all()
    assert torch.isinf(cosines[:, 4:]).all()


def test_more_is_asked_for_than_there_is() -> None:
    few = ITEMS[:6]
    parts = ShardedSearch(few, [CPU, CPU], storage="fp32", count=40)
    rows, _ = parts(USERS, parts.closed_for(None))
    assert [sorted(each) for each in rows.tolist()] == [[1, 2, 3, 4, 5]] * 6


def test_each_device_reads_its_own_part() -> None:
    whole = ExactSearch(ITEMS, storage="fp16", count=50)
    parts = ShardedSearch(ITEMS, [CPU] * 3, storage="fp16", count=50)
    assert parts.table_bytes < 0.6 * whole.table_bytes


@pytest.mark.parametrize("count", [0, 602])
def test_devices_must_have_something_to_search(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} devices"):
        ShardedSearch(ITEMS, [CPU] * count, count=5)
