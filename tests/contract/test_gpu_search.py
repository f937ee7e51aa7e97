"""Exact search, live values and the chain on a device, by the CPU: right, whatever the speed."""

import numpy as np
import pytest
import torch

from export.gpu.bench import NO_GPU, main
from export.gpu.chain import Chain
from export.gpu.checks import check_chain, check_search, check_values, shopper_inputs
from export.gpu.drawn import draw_shop, unit_vectors
from export.gpu.engines import make_engine
from export.gpu.graphs import GraphedCall
from export.gpu.search import ExactSearch, chunk_rows_for, group_size, merged

CPU = torch.device("cpu")
ITEMS = unit_vectors(600, 64, CPU, seed=1)
USERS = unit_vectors(7, 64, CPU, seed=2)[1:]


@pytest.mark.parametrize("storage", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("chunk_rows", [0, 250])
def test_nearest_products_are_those_of_float64(storage: str, chunk_rows: int) -> None:
    search = ExactSearch(ITEMS, storage=storage, count=60, chunk_rows=chunk_rows)  # type: ignore[arg-type]
    for users in (USERS, USERS[:1]):
        checked = check_search("search", search, ITEMS, users, None)
        assert checked.holds, checked.measured


def test_filters_of_all_and_of_each_request_are_kept() -> None:
    search = ExactSearch(ITEMS, storage="fp16", count=40)
    draw = torch.Generator().manual_seed(3)
    for allowed in (
        torch.rand(600, generator=draw) < 0.3,
        torch.rand(6, 600, generator=draw) < 0.05,
    ):
        rows, cosines = search(USERS, search.closed_for(allowed))
        for at in range(len(USERS)):
            mask = allowed if allowed.dim() == 1 else allowed[at]
            assert mask[rows[at][torch.isfinite(cosines[at])]].all()
        assert check_search("filtered", search, ITEMS, USERS, allowed).holds


def test_places_that_no_product_may_take_hold_row_0_and_no_cosine() -> None:
    search = ExactSearch(ITEMS, storage="fp16", count=40)
    allowed = torch.zeros(600, dtype=torch.bool)
    allowed[:6] = True  # row 0 among them, which is none
    rows, cosines = search(USERS, search.closed_for(allowed))
    assert sorted(rows[0, :5].tolist()) == [1, 2, 3, 4, 5]
    assert (rows[:, 5:] == 0).all()
    assert torch.isinf(cosines[:, 5:]).all()


def test_row_0_is_not_found_even_where_every_product_points_away() -> None:
    away = -ITEMS[1:3].mean(dim=0, keepdim=True)
    few = torch.cat([torch.zeros(1, 64), ITEMS[1:3]])
    search = ExactSearch(few, storage="fp32", count=2)
    rows, _ = search(away, search.closed_for(None))
    assert sorted(rows[0].tolist()) == [1, 2]


def test_a_check_sees_a_search_that_misses_one_product() -> None:
    search = ExactSearch(ITEMS, storage="fp32", count=30)

    def forgetful(users: torch.Tensor, closed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        best = int(search(users, closed)[0][0, 0])
        spoilt = closed.clone()
        spoilt[best] = -torch.inf
        return search(users, spoilt)

    assert not check_search("spoilt", search, ITEMS, USERS[:1], None, run=forgetful).holds


def test_shards_of_several_devices_are_merged_like_chunks_of_one() -> None:
    scores = USERS @ ITEMS.T
    parts = [slice(0, 400), slice(400, 600)]
    found = []
    for part in parts:
        top = scores[:, part].topk(50)
        found.append((top.indices + part.start, top.values))
    rows, values = merged(found, 50)
    whole = scores.topk(50)
    assert (rows.sort().values == whole.indices.sort().values).all()
    assert torch.equal(values.sort().values, whole.values.sort().values)


def test_groups_balance_maxima_against_opened_rows() -> None:
    assert group_size(1_000_000, 550) == 32 or group_size(1_000_000, 550) == 64
    assert group_size(10_000_000, 550) == 128
    assert group_size(100, 50) == 16
    assert chunk_rows_for(256, 10_000_000) < 10_000_000
    assert chunk_rows_for(1, 10_000_000) == 10_000_000


def test_candidate_values_are_the_gateways_own() -> None:
    shop = draw_shop(300, CPU, seed=4)
    checked = check_values(shop.values, np.random.default_rng(4))
    assert checked.holds, checked.measured


def test_prices_that_change_reach_the_next_list() -> None:
    shop = draw_shop(300, CPU, seed=4)
    history, wanted = torch.zeros(1, 50, dtype=torch.int64), torch.tensor([[7, 8]])
    shop.values.set_prices(torch.tensor([7]), torch.tensor([1_999]), torch.tensor([0.3]))
    told = shop.values(history, wanted)
    assert told[0, 0, 0].item() == pytest.approx(np.log1p(19.99), rel=1e-6)
    assert told[0, 0, 1].item() == pytest.approx(0.3)
    assert told[0, 1, 1].item() == 0.0


def test_chain_ranks_what_its_own_tower_finds() -> None:
    shop = draw_shop(600, CPU, seed=5)
    search = ExactSearch(shop.items_RD, storage="fp16", count=40)
    chain = Chain(shop.tower, search, shop.values, shop.ranker).eval()
    inputs = (*shopper_inputs(shop, 3, 5), search.closed_for(None))
    for precision in ("fp32", "bf16"):
        engine = make_engine(chain, "eager", precision, inputs)  # type: ignore[arg-type]
        assert engine.label == f"torch eager {precision}"
        checked = check_chain("chain", engine, shop, search, inputs, precision=precision)
        assert checked.holds, checked.measured


def test_graphs_are_refused_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="CUDA device"):
        GraphedCall(lambda tensor: tensor, [torch.zeros(1)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_benchmark_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == NO_GPU
    said = capsys.readouterr()
    assert "NOTHING WAS MEASURED" in said.err
    assert said.out == ""
