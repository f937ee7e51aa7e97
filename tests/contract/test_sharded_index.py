"""An index in parts finds what the whole one finds; without some of its parts, what these hold."""

import asyncio
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.adapters.faiss import FaissIndex
from serving.adapters.faiss_filtering import Way
from serving.adapters.faiss_shard import load_shard_index
from serving.adapters.shard_wire import IndexName, Part, encode_answer, part_of
from serving.adapters.shards import ShardedIndex
from serving.recommend.ports import PartlyFound
from shop.errors import DependencyUnavailable, ReleaseRejected
from shop.release import INDEX_FILE
from tests.contract.index_parts import (
    SIZE,
    NearShards,
    flat,
    in_cells,
    parts_of,
    vectors_with_equals,
)

PRODUCTS = 400
KINDS = ("flat", "flat, many alike", "cells", "cells, many alike", "hardly any")


@cache
def whole_of(kind: str) -> tuple[FaissIndex, NDArray[np.float32], Any]:
    products = 3 if kind == "hardly any" else PRODUCTS
    different = 12 if "alike" in kind else products
    vectors = vectors_with_equals(products, different=different)
    index = in_cells(vectors) if "cells" in kind else flat(vectors)
    return FaissIndex(index, vectors if "cells" in kind else None), vectors, index


@cache
def shards_of(kind: str, count: int) -> NearShards:
    _, vectors, index = whole_of(kind)
    return NearShards(parts_of(index, vectors, count, Path(mkdtemp()) / "r0001-parts"))


def in_parts(shards: NearShards, rows: int) -> ShardedIndex:
    return shards.index("r0001-parts", IndexName.PRODUCTS, row_count=rows, vector_size=SIZE)


def search(
    index: FaissIndex | ShardedIndex,
    vector: NDArray[np.float32],
    count: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return asyncio.run(index.search(vector, count, allowed=allowed, timeout_s=30.0))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    shards=st.sampled_from((1, 2, 3, 5)),
    count=st.one_of(st.integers(1, 30), st.sampled_from((99, 100, 399, 400, 401, 1_000))),
    share=st.sampled_from((None, 0.0, 0.01, 0.1, 0.2, 0.5, 0.8, 0.95, 1.0)),
    seed=st.integers(0, 1_000),
)
def test_parts_find_the_very_rows_and_cosines_of_the_whole(
    kind: str, shards: int, count: int, share: float | None, seed: int
) -> None:
    whole, vectors, _ = whole_of(kind)
    rng = np.random.default_rng(seed)
    # Of a product itself, where many are alike, or of anything.
    vector = vectors[rng.integers(1, len(vectors))] if seed % 2 else rng.normal(size=SIZE)
    vector = vector.astype(np.float32)
    allowed = None if share is None else rng.random(len(vectors)) < share
    rows, cosines = search(whole, vector, count, allowed)
    found, of_found = search(
        in_parts(shards_of(kind, shards), len(vectors)), vector, count, allowed
    )
    assert found.tolist() == rows.tolist()
    assert of_found.tobytes() == cosines.tobytes()


def test_every_way_of_a_filtered_search_is_tried_above() -> None:
    whole, _, _ = whole_of("cells")
    tried = {whole.way_for(round(share * PRODUCTS)) for share in (0.01, 0.5, 0.95)}
    assert tried == set(Way)


@pytest.mark.parametrize("kind", ["flat, many alike", "cells, many alike"])
def test_of_equally_near_products_the_lowest_rows_come_first(kind: str) -> None:
    whole, vectors, _ = whole_of(kind)
    alike = np.flatnonzero((vectors == vectors[7]).all(axis=1))
    rows, _ = search(whole, vectors[7], 3)
    assert rows.tolist() == alike[:3].tolist()
    few = np.zeros(len(vectors), np.bool_)
    few[alike[2:]] = True
    assert search(whole, vectors[7], 4, few)[0].tolist() == alike[2:6].tolist()


def test_parts_are_in_order_and_leave_nothing_out() -> None:
    for rows in (1, 2, 5, 19, 400):
        bounds = [part_of(rows, at, 4) for at in range(4)]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == rows
        assert all(before[1] == after[0] for before, after in pairwise(bounds))


@pytest.mark.parametrize("kind", ["flat", "cells"])
@pytest.mark.parametrize("share", [None, 0.5, 0.95])
def test_a_lost_part_costs_its_products_and_says_so(kind: str, share: float | None) -> None:
    whole, vectors, _ = whole_of(kind)
    shards = shards_of(kind, 4)
    shards.answers[2].is_lost = True
    allowed = None if share is None else np.random.default_rng(1).random(len(vectors)) < share
    first, last = part_of(len(vectors), 2, 4)
    try:
        found = search(in_parts(shards, len(vectors)), vectors[3], PRODUCTS, allowed)
    finally:
        shards.answers[2].is_lost = False
    assert isinstance(found, PartlyFound)
    assert found.searched_share == pytest.approx(1.0 - (last - first) / PRODUCTS)
    everything, _ = search(whole, vectors[3], PRODUCTS, allowed)
    left = everything[(everything < first) | (everything >= last)]
    if share is None:
        assert found[0].tolist() == left.tolist()
    else:  # what is missing may have the others look further
        assert set(left.tolist()) <= set(found[0].tolist())
        assert not ((found[0] >= first) & (found[0] < last)).any()


def test_a_part_without_an_allowed_product_is_not_asked_and_not_missed() -> None:
    _, vectors, _ = whole_of("flat")
    shards = shards_of("flat", 4)
    index = in_parts(shards, len(vectors))
    search(index, vectors[1], 1)  # it knows the index's kind from here on
    allowed = np.zeros(len(vectors), np.bool_)
    allowed[5:9] = True
    shards.answers[3].is_lost = True
    asked = shards.answers[3].asked
    try:
        found = search(index, vectors[1], 10, allowed)
    finally:
        shards.answers[3].is_lost = False
    assert not isinstance(found, PartlyFound)
    assert sorted(found[0].tolist()) == [5, 6, 7, 8]
    assert shards.answers[3].asked == asked


def test_without_any_part_there_is_no_index() -> None:
    _, vectors, _ = whole_of("flat")
    shards = NearShards(shards_of("flat", 2).parts)
    for each in shards.answers:
        each.is_lost = True
    allowed = np.ones(len(vectors), np.bool_)
    for mask in (None, allowed):
        with pytest.raises(DependencyUnavailable, match="no shard answers"):
            search(in_parts(shards, len(vectors)), vectors[1], 5, mask)


def test_a_part_that_keeps_failing_is_left_alone_and_found_again_when_it_is_back() -> None:
    _, vectors, _ = whole_of("flat")
    now = [100.0]
    shards = NearShards(shards_of("flat", 2).parts, clock=lambda: now[0])
    index = in_parts(shards, len(vectors))
    shards.answers[1].is_lost = True
    for _ in range(8):
        assert isinstance(search(index, vectors[1], 5), PartlyFound)
    assert shards.answers[1].asked == 5
    assert index.covered_share == pytest.approx(199 / 400)
    assert (index.shard_counts[0].failed, index.shard_counts[1].failed) == (0, 5)
    shards.answers[1].is_lost = False
    assert isinstance(search(index, vectors[1], 5), PartlyFound)  # it is not probed yet
    now[0] += 2.0
    assert not isinstance(search(index, vectors[1], 5), PartlyFound)
    assert index.covered_share == 1.0


ROWS = np.array([1, 2], np.int64)
COSINES = np.array([0.5, 0.4], np.float32)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"VSH1" + b"\xff" * 400,
        b"".join(encode_answer(ROWS, COSINES, Part(0, 200, 401))),  # another shard's
        b"".join(encode_answer(ROWS, COSINES, Part(200, 401, 402))),  # another catalogue's
        b"".join(encode_answer(ROWS + 300, COSINES, Part(200, 401, 401))),  # beyond its end
        b"".join(encode_answer(ROWS, COSINES * np.float32("nan"), Part(200, 401, 401))),
        b"".join(encode_answer(ROWS.repeat(9), COSINES.repeat(9), Part(200, 401, 401))),
    ],
)
def test_what_is_no_answer_of_that_part_counts_as_none(raw: bytes) -> None:
    _, vectors, _ = whole_of("flat")
    shards = NearShards(shards_of("flat", 2).parts)
    shards.answers[1].raw = raw
    found = search(in_parts(shards, len(vectors)), vectors[1], 5)
    assert isinstance(found, PartlyFound)
    assert (found[0] < 200).all()


def test_an_index_and_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _, vectors, index = whole_of("flat")
    with pytest.raises(ReleaseRejected, match="the vectors are"):
        parts_of(index, vectors[:-1], 2, tmp_path / "r0001-misfit")


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_bytes(b"no index at all")
    with pytest.raises(ReleaseRejected, match="cannot be read"):
        load_shard_index(tmp_path, IndexName.PRODUCTS, None, shard=0, shards=2)


def test_a_part_that_does_not_answer_in_time_is_done_without() -> None:
    whole, vectors, _ = whole_of("flat")
    shards = NearShards(shards_of("flat", 2).parts)
    shards.answers[1].stalls = True
    index = in_parts(shards, len(vectors))
    found = asyncio.run(index.search(vectors[1], 5, allowed=None, timeout_s=0.2))
    assert isinstance(found, PartlyFound)
    everything, _ = search(whole, vectors[1], PRODUCTS)
    assert found[0].tolist() == everything[everything < 200][:5].tolist()
