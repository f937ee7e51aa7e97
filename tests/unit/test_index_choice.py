"""Which index a release gets, and that its recall is measured on real terms."""

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from export.index import RECALL_AT, build_index, exact_nearest
from shop.errors import ReleaseRejected


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def some_items(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """[R, D] in clusters, as trained vectors lie; row 0 zeros."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, 16))
    items = unit(centres[rng.integers(0, 30, count + 1)] + 0.5 * rng.normal(size=(count + 1, 16)))
    items[0] = 0.0
    return items


def some_shoppers(items: NDArray[np.float32], count: int = 40) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return unit(items[rng.integers(1, len(items), count)] + 0.1 * rng.normal(size=(count, 16)))


def test_small_catalogue_is_searched_exactly() -> None:
    items = some_items(500)
    built = build_index(items, some_shoppers(items))
    assert built.kind == "flat"
    assert built.recall == 1.0
    assert built.metrics() == {
        f"index_recall@{RECALL_AT}": 1.0,
        "index_is_exact": 1.0,
        "index_cells": 0.0,
        "index_probes": 0.0,
    }


def test_large_catalogue_gets_cells_and_no_more_probes_than_the_recall_needs() -> None:
    items = some_items(6000)
    shoppers = some_shoppers(items)
    built = build_index(items, shoppers, flat_rows=1000)
    assert built.kind == "ivf-sq8"
    assert built.recall >= 0.95
    assert built.index.nprobe == built.probe_count
    easier = build_index(items, shoppers, flat_rows=1000, recall_target=0.5)
    assert easier.probe_count < built.probe_count
    assert easier.recall < built.recall


def test_exact_search_is_the_answer_where_no_cells_reach_the_target() -> None:
    items = some_items(3000)
    built = build_index(items, some_shoppers(items), flat_rows=1000, recall_target=1.1)
    assert built.kind == "flat"


def test_row_of_the_index_is_row_of_the_catalogue() -> None:
    items = some_items(2000)
    for flat_rows in (5000, 100):
        built = build_index(items, some_shoppers(items), flat_rows=flat_rows)
        assert built.index.ntotal == len(items)
        _, rows = built.index.search(items[[7, 1999]], 1)
        assert rows[:, 0].tolist() == [7, 1999]


def test_probes_survive_the_way_to_disk() -> None:
    items = some_items(3000)
    built = build_index(items, some_shoppers(items), flat_rows=100)
    again = faiss.deserialize_index(faiss.serialize_index(built.index))
    assert again.nprobe == built.probe_count
    assert again.metric_type == faiss.METRIC_INNER_PRODUCT


def test_nearest_products_never_include_the_padding_row() -> None:
    items = some_items(50)
    shoppers = -some_shoppers(items)  # far from everything: zeros would win
    assert (exact_nearest(items, shoppers, 50) > 0).all()
    assert build_index(items, shoppers).recall == 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda items: items.__setitem__(0, items[1]),
        lambda items: items.__setitem__(5, items[5] * 2),
        lambda items: items.__setitem__((5, 3), np.nan),
    ],
)
def test_vectors_that_are_not_unit_length_are_rejected(spoil: object) -> None:
    items = some_items(50)
    shoppers = some_shoppers(items)
    spoil(items)  # type: ignore[operator]
    with pytest.raises(ReleaseRejected, match="item vectors"):
        build_index(items, shoppers)
