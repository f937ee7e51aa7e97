"""The index on a real FAISS: exact and in cells, restricted, damaged, of another release."""

import asyncio
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from serving.adapters.faiss import FaissIndex, load_index
from serving.adapters.faiss_filtering import Way
from shop.errors import DependencyTimeout, DependencyUnavailable, ReleaseRejected
from shop.release import INDEX_FILE, TEXT_INDEX_FILE, VECTORS_FILE, Manifest
from tests.contract.small_release import PRODUCT_COUNT, SCHEMA, a_release, sign

SIZE = 16


def some_vectors(count: int) -> NDArray[np.float32]:
    """[count + 1, SIZE] unit vectors, row 0 zeros."""
    vectors = np.random.default_rng(7).normal(size=(count + 1, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    return vectors


def flat(vectors: NDArray[np.float32]) -> FaissIndex:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return FaissIndex(index)


def in_cells(vectors: NDArray[np.float32], *, cells: int, probes: int) -> FaissIndex:
    index = faiss.index_factory(vectors.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = probes
    return FaissIndex(index)


def search(
    index: FaissIndex,
    vector: NDArray[np.float32],
    count: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[list[int], NDArray[np.float32]]:
    rows, cosines = asyncio.run(index.search(vector, count, allowed=allowed, timeout_s=5.0))
    return rows.tolist(), cosines


def test_nearest_products_come_best_first_and_row_zero_never() -> None:
    vectors = some_vectors(300)
    rows, cosines = search(flat(vectors), vectors[5], 301)
    exact = vectors @ vectors[5]
    assert rows[0] == 5
    assert 0 not in rows
    assert len(rows) == len(set(rows)) == 300
    np.testing.assert_allclose(cosines, np.sort(exact[1:])[::-1], rtol=1e-5, atol=1e-6)


def test_only_allowed_rows_are_found_and_none_of_them_is_missed() -> None:
    vectors = some_vectors(300)
    allowed = np.zeros(301, dtype=np.bool_)
    allowed[[0, 3, 8, 299]] = True
    rows, _ = search(flat(vectors), vectors[5], 50, allowed)
    assert sorted(rows) == [3, 8, 299]


def test_a_narrow_filter_does_not_starve_an_index_of_cells() -> None:
    vectors = some_vectors(2_000)
    index = in_cells(vectors, cells=32, probes=2)
    allowed = np.zeros(2_001, dtype=np.bool_)
    allowed[1::100] = True
    rows, _ = search(index, vectors[1], 20, allowed)
    assert sorted(rows) == np.flatnonzero(allowed).tolist()


def test_nothing_allowed_is_nothing_found() -> None:
    vectors = some_vectors(40)
    for index in (flat(vectors), in_cells(vectors, cells=1, probes=1)):
        rows, cosines = search(index, vectors[1], 5, np.zeros(41, dtype=np.bool_))
        assert rows == []
        assert cosines.size == 0


def test_what_would_hold_up_the_event_loop_is_searched_beside_it() -> None:
    index, vector = flat(some_vectors(300)), some_vectors(300)[9]
    index.search_s = 1.0  # as of many millions of rows
    rows, _ = search(index, vector, 3)
    assert rows[0] == 9
    with pytest.raises(DependencyTimeout):  # on the loop nothing would notice
        asyncio.run(index.search(vector, 3, allowed=None, timeout_s=0.0))
    index.close()


def test_the_thread_beside_the_event_loop_searches_with_one_thread_alone() -> None:
    index = flat(some_vectors(30))
    threads = index._executor.submit(faiss.omp_get_max_threads).result()
    index.close()
    assert threads == 1


def test_vector_or_filter_of_another_shape_is_refused() -> None:
    index = flat(some_vectors(30))
    with pytest.raises(DependencyUnavailable, match="shape"):
        search(index, np.zeros(8, np.float32), 3)
    with pytest.raises(DependencyUnavailable, match="rows"):
        search(index, np.zeros(SIZE, np.float32), 3, np.ones(7, np.bool_))


def a_release_with_index(folder: Path, rows: int, size: int) -> tuple[Path, Manifest]:
    release, manifest = a_release(folder)
    index = faiss.IndexFlatIP(size)
    index.add(np.zeros((rows, size), np.float32))
    faiss.write_index(index, str(release / INDEX_FILE))
    return release, sign(release, manifest.release, manifest.version)


def load(release: Path, manifest: Manifest) -> FaissIndex:
    return load_index(
        release, manifest, row_count=PRODUCT_COUNT + 1, vector_size=SCHEMA.vector_size
    )


def test_index_of_a_release_is_loaded(tmp_path: Path) -> None:
    release, manifest = a_release_with_index(tmp_path, PRODUCT_COUNT + 1, SCHEMA.vector_size)
    index = load(release, manifest)
    assert (index.row_count, index.vector_size) == (PRODUCT_COUNT + 1, SCHEMA.vector_size)


def test_changed_byte_is_noticed_before_faiss_sees_it(tmp_path: Path) -> None:
    release, manifest = a_release_with_index(tmp_path, PRODUCT_COUNT + 1, SCHEMA.vector_size)
    raw = bytearray((release / INDEX_FILE).read_bytes())
    raw[-1] ^= 1
    (release / INDEX_FILE).write_bytes(raw)
    with pytest.raises(ReleaseRejected, match="damaged"):
        load(release, manifest)


@pytest.mark.parametrize(("rows", "size"), [(5, 8), (PRODUCT_COUNT + 1, 4)])
def test_index_of_another_catalogue_or_model_is_refused(
    tmp_path: Path, rows: int, size: int
) -> None:
    release, manifest = a_release_with_index(tmp_path, rows, size)
    with pytest.raises(ReleaseRejected, match="the tables need"):
        load(release, manifest)


def test_signed_nonsense_is_refused(tmp_path: Path) -> None:
    release, manifest = a_release(tmp_path)
    (release / INDEX_FILE).write_bytes(b"no index at all")
    with pytest.raises(ReleaseRejected, match="cannot be read"):
        load(release, sign(release, manifest.release, manifest.version))


def test_vectors_that_do_not_fit_the_index_are_refused(tmp_path: Path) -> None:
    release, _ = a_release_in_cells(tmp_path)
    np.save(release / VECTORS_FILE, np.zeros((PRODUCT_COUNT + 1, SCHEMA.vector_size)))  # float64
    with pytest.raises(ReleaseRejected, match="needs float32"):
        load(release, sign(release, "r0001-seed0", 1))


def test_vectors_that_changed_after_they_were_signed_are_refused(tmp_path: Path) -> None:
    release, manifest = a_release_in_cells(tmp_path)
    raw = bytearray((release / VECTORS_FILE).read_bytes())
    raw[-1] ^= 1
    (release / VECTORS_FILE).write_bytes(raw)
    with pytest.raises(ReleaseRejected, match="damaged"):
        load(release, manifest)


def a_release_in_cells(folder: Path) -> tuple[Path, Manifest]:
    release, manifest = a_release(folder)
    vectors = np.load(release / VECTORS_FILE)
    index = faiss.index_factory(SCHEMA.vector_size, "IVF1,SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(release / INDEX_FILE))
    return release, sign(release, manifest.release, manifest.version)


def test_texts_are_never_compared_with_the_vectors_of_products(tmp_path: Path) -> None:
    release, manifest = a_release_in_cells(tmp_path)
    (release / INDEX_FILE).rename(release / TEXT_INDEX_FILE)
    (release / INDEX_FILE).write_bytes(b"")
    manifest = sign(release, manifest.release, manifest.version)
    vectors = np.load(release / VECTORS_FILE)
    index = load_index(
        release,
        manifest,
        row_count=PRODUCT_COUNT + 1,
        vector_size=SCHEMA.vector_size,
        file=TEXT_INDEX_FILE,
    )
    allowed = np.zeros(PRODUCT_COUNT + 1, dtype=np.bool_)
    allowed[[3, 7]] = True
    assert index.way_for(2) is Way.SELECTOR
    assert search(index, vectors[7], 5, allowed)[0] == [7, 3]
    index.close()


def test_few_allowed_rows_of_a_release_in_cells_are_compared_as_they_are(tmp_path: Path) -> None:
    release, manifest = a_release_in_cells(tmp_path)
    vectors = np.load(release / VECTORS_FILE)
    allowed = np.zeros(PRODUCT_COUNT + 1, dtype=np.bool_)
    allowed[[3, 7]] = True
    index = load(release, manifest)
    rows, cosines = search(index, vectors[7], 5, allowed)
    assert rows == [7, 3]
    exact = vectors[[7, 3]] @ vectors[7]  # not as the index rounds them
    np.testing.assert_allclose(cosines, exact, atol=1e-6)
    index.close()
