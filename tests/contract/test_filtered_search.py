"""Filtered search on a real FAISS: each way finds what passes; a narrow filter starves nobody."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.adapters.faiss import FaissIndex
from serving.adapters.faiss_filtering import Way, over_fetch_count, way_for
from shop.errors import DependencyUnavailable
from tests.unit.small_shop import SmallShop, a_shop, an_ask

SIZE, COUNT = 16, 2_000
Mask = NDArray[np.bool_]


def clustered(count: int, size: int) -> NDArray[np.float32]:
    """[count + 1, size] unit vectors in clusters, as trained ones lie; row 0 zeros."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(20, size))
    vectors = centres[rng.integers(0, 20, count + 1)] + 0.6 * rng.normal(size=(count + 1, size))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    return vectors.astype(np.float32)


VECTORS = clustered(COUNT, SIZE)


def flat(vectors: NDArray[np.float32]) -> FaissIndex:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return FaissIndex(index)


def in_cells(kind: str, vectors: NDArray[np.float32] | None) -> FaissIndex:
    index = faiss.index_factory(SIZE, f"IVF40,{kind}", faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS[1:])
    index.add(VECTORS)
    index.nprobe = 8
    return FaissIndex(index, vectors)


INDEXES = {
    "flat": flat(VECTORS),
    "ivf-flat": in_cells("Flat", VECTORS),
    "ivf-sq8": in_cells("SQ8", VECTORS),
    "without vectors": in_cells("SQ8", None),
}


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    for index in INDEXES.values():
        index.close()


def search(
    index: FaissIndex, vector: NDArray[np.float32], count: int, allowed: Mask
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return asyncio.run(index.search(vector, count, allowed=allowed, timeout_s=5.0))


def exact(vector: NDArray[np.float32], count: int, allowed: Mask) -> NDArray[np.float32]:
    """Cosines of the nearest allowed, best first."""
    rows = np.flatnonzero(allowed)
    cosines = VECTORS[rows[rows > 0]] @ vector
    return np.sort(cosines)[::-1][:count]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """From nothing to everything; by chance, or one cluster's worth of near rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.85, 0.99, 1.0]))
    if draw(st.booleans()):
        return rng.random(COUNT + 1) < share
    cosines = VECTORS @ VECTORS[draw(st.integers(1, COUNT))]
    return np.asarray(cosines <= np.quantile(cosines, share))  # the far ones


@pytest.mark.parametrize("name", INDEXES)
@settings(max_examples=40, deadline=None)
@given(masks(), st.integers(1, COUNT), st.sampled_from([1, 20, 600]))
def test_what_is_found_passes_and_there_is_as_much_as_there_can_be(
    name: str, allowed: Mask, near: int, count: int
) -> None:
    rows, cosines = search(INDEXES[name], VECTORS[near], count, allowed)
    assert allowed[rows].all()
    assert 0 not in rows
    assert len(set(rows.tolist())) == rows.size == min(count, np.count_nonzero(allowed[1:]))
    assert (np.diff(cosines) <= 1e-6).all()


@settings(max_examples=60, deadline=None)
@given(masks(), st.integers(1, COUNT), st.sampled_from([1, 20, 600]))
def test_a_flat_index_finds_exactly_the_nearest_that_pass(
    allowed: Mask, near: int, count: int
) -> None:
    rows, cosines = search(INDEXES["flat"], VECTORS[near], count, allowed)
    np.testing.assert_allclose(cosines, exact(VECTORS[near], count, allowed), atol=1e-5)
    np.testing.assert_allclose(cosines, VECTORS[rows] @ VECTORS[near], atol=1e-5)


@pytest.mark.parametrize("way", Way)
@settings(max_examples=30, deadline=None)
@given(masks(), st.integers(1, COUNT), st.sampled_from([1, 20, 600]))
def test_each_way_finds_exactly_the_nearest_in_a_flat_index(
    way: Way, allowed: Mask, near: int, count: int
) -> None:
    query = VECTORS[near : near + 1]
    rows, cosines = INDEXES["flat"].nearest_by(way, query, count, allowed)
    assert allowed[rows].all()
    np.testing.assert_allclose(cosines, exact(VECTORS[near], count, allowed), atol=1e-5)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("name", ["ivf-flat", "ivf-sq8", "without vectors"])
def test_cells_find_most_of_the_nearest_however_few_pass(name: str, share: float) -> None:
    allowed = np.random.default_rng(5).random(COUNT + 1) < share
    hits = wanted = 0
    for near in range(1, COUNT, 100):
        limit = exact(VECTORS[near], 50, allowed)
        rows, _ = search(INDEXES[name], VECTORS[near], 50, allowed)
        hits += np.count_nonzero(VECTORS[rows] @ VECTORS[near] >= limit[-1] - 1e-6)
        wanted += limit.size
    assert hits >= 0.9 * wanted


def test_the_ways_are_taken_where_they_are_quickest() -> None:
    def way(allowed: int, *, in_cells: bool = False, has_vectors: bool = True) -> Way:
        return way_for(allowed, 20_000, in_cells=in_cells, has_vectors=has_vectors)

    assert way(20) is Way.EXACT
    assert way(20, in_cells=True) is Way.EXACT
    assert way(20, in_cells=True, has_vectors=False) is Way.SELECTOR
    assert way(4_000) is Way.EXACT
    assert way(4_000, in_cells=True) is Way.SELECTOR
    assert way(8_000) is Way.SELECTOR
    assert way(18_000) is Way.OVER_FETCH
    assert over_fetch_count(600, 900, 1_000) < 1_000
    assert over_fetch_count(600, 600, 1_000) == 1_000  # more than there are is never asked for


def test_over_fetching_that_finds_too_little_is_made_up_for() -> None:
    """All that fails lies nearest: nothing of what was fetched may be shown."""
    vector = VECTORS[1]
    allowed = np.ones(COUNT + 1, dtype=np.bool_)
    allowed[np.argsort(-(VECTORS @ vector))[:190]] = False
    for index in INDEXES.values():
        assert index.way_for(int(allowed.sum())) is Way.OVER_FETCH
        rows, _ = search(index, vector, 50, allowed)
        assert rows.size == 50
        assert allowed[rows].all()


def a_shop_on_faiss(count: int) -> SmallShop:
    shop = a_shop(count)
    release = shop.deps.release
    index = flat(shop.index.item_vectors)
    shop.deps = replace(shop.deps, release=replace(release, index=index))
    return shop


# Products cost 10.00 and their number: twenty of twenty thousand.
ONE_IN_A_THOUSAND = "price >= 10011 AND price <= 10030"


def test_a_filter_that_leaves_a_thousandth_fills_the_list() -> None:
    shop = a_shop_on_faiss(20_000)
    wanted = {f"p{row}" for row in range(10_001, 10_021)}
    ask = an_ask(filter=ONE_IN_A_THOUSAND, strict_filtering=True, page_size=20)
    assert set(shop.shown(shop.answer(ask))) == wanted
    assert set(shop.shown(shop.answer(replace(ask, shopper="u1", page_size=50)))) == wanted
    shop.tower.failure = DependencyUnavailable("triton", "off")  # the other sources find them, too
    answer = shop.answer(ask)
    assert answer.fallback
    assert set(shop.shown(answer)) == wanted


def test_what_is_gone_of_a_thousandth_is_made_up_for_unless_the_filter_is_strict() -> None:
    shop = a_shop_on_faiss(20_000)
    left = [f"p{row}" for row in range(10_001, 10_016)]
    shop.inventory.units |= {f"p{row}": 0 for row in range(10_016, 10_021)}
    asked = f'category IN ("lamps", "chairs", "rugs", "mugs") AND {ONE_IN_A_THOUSAND}'
    ask = an_ask(filter=asked, page_size=20)
    answer = shop.answer(ask)
    assert shop.shown(answer)[:15] == left
    assert len(answer.slate) == 20
    assert answer.relaxed == ("price",)
    strict = shop.answer(replace(ask, strict_filtering=True))
    assert shop.shown(strict) == left
    assert strict.relaxed == ()
