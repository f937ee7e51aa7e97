"""FAISS: nearest products from a release's index, in this process.

Row r of the index is catalogue row r; row 0 holds zeros and is never found.
Shapes: D vector size, R catalogue rows.
"""

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from serving.adapters.faiss_filtering import (
    EXACT_ROW_S,
    SCAN_ROW_S,
    Way,
    cells_to_visit,
    exact_nearest,
    over_fetch_count,
    selector_for,
    stored_vectors,
    way_for,
)
from serving.adapters.faiss_order import found_by_faiss, nearest_in_order
from serving.adapters.release_files import check_files
from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyTimeout, DependencyUnavailable, ReleaseRejected
from shop.release import INDEX_FILE, VECTORS_FILE, Manifest, check_file

faiss: Any = faiss_library  # its stubs know neither the search parameters nor the subclasses

_DEPENDENCY = "index"
_INLINE_S = 0.001  # above that a search would hold up the event loop, so it gets a thread
_TRIAL_COUNT = 350  # as many as the two-tower source is asked for
_TRIALS = 5

# One search is one thread: requests are the parallelism, and OpenMP's workers would spin between
# searches on the very cores that Triton needs. Every thread that searches must be told so: without,
# one search of 100,000 rows took 16 ms of CPU in our own thread, and 1.4 ms with.
faiss.omp_set_num_threads(1)


class FaissIndex:
    """Nearest products of a unit vector. Build it with `load_index`."""

    def __init__(self, index: Any, vectors: NDArray[np.float32] | None = None) -> None:
        """`vectors` [R, D]: of an index that does not hold them as they are, in a mapped file."""
        self._index = index
        self._rows = int(index.ntotal)
        self._in_cells = isinstance(index, faiss.IndexIVF)
        held = stored_vectors(index)
        self._vectors = vectors if held is None else held
        self._is_mapped = held is None  # a page that is not in memory would hold up the event loop
        self._executor = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="faiss",
            initializer=faiss.omp_set_num_threads,
            initargs=(1,),
        )
        self.search_s = self._measured_search_s()

    @property
    def vector_size(self) -> int:
        """D."""
        return int(self._index.d)

    @property
    def row_count(self) -> int:
        """R."""
        return self._rows

    def close(self) -> None:
        """Lets a running search end; the index cannot be asked any more."""
        self._executor.shutdown(wait=True)

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines, best first. A search once started ends, even if nobody waits.

        Finds as many of the allowed rows [R] as were wanted, if there are as many; of equally near
        ones the lowest.
        """
        if user_vector.shape != (self.vector_size,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"vector of shape {user_vector.shape}, need ({self.vector_size},)"
            )
        if allowed is not None and allowed.shape != (self._rows,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"allowed has {allowed.size} rows, the index {self._rows}"
            )
        if self._estimated_s(allowed) < _INLINE_S:
            return self._search(user_vector, count, allowed)
        loop = asyncio.get_running_loop()
        searching = loop.run_in_executor(self._executor, self._search, user_vector, count, allowed)
        try:
            return await asyncio.wait_for(searching, timeout_s)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error

    def _estimated_s(self, allowed: NDArray[np.bool_] | None) -> float:
        """How long a search takes, rather too much than too little."""
        if allowed is None:
            return self.search_s
        allowed_count = int(np.count_nonzero(allowed))
        match self.way_for(allowed_count):
            case Way.EXACT:
                if self._is_mapped:
                    return np.inf
                return self._rows * SCAN_ROW_S + allowed_count * EXACT_ROW_S
            case Way.OVER_FETCH:
                return 1.5 * self.search_s
            case Way.SELECTOR:
                return 1.5 * self.search_s * self._more_cells(allowed_count)

    def _more_cells(self, allowed_count: int) -> float:
        """How many times the cells of a search of everything."""
        if not self._in_cells:
            return 1.0
        return cells_to_visit(self._index, allowed_count) / int(self._index.nprobe)

    def way_for(self, allowed_count: int) -> Way:
        """How so many allowed rows are searched."""
        return way_for(
            allowed_count,
            self._rows,
            in_cells=self._in_cells,
            has_vectors=self._vectors is not None,
        )

    def _search(
        self, user_vector: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        wanted = min(count, self._rows - 1)  # row 0 is no product
        if wanted <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        query = np.ascontiguousarray(user_vector[np.newaxis], dtype=np.float32)
        if allowed is None:
            return self._nearest(query, wanted)
        return self._nearest_allowed(query, wanted, allowed)

    def _nearest(
        self, query: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # Asking for one more and dropping row 0 is cheaper than a selector.
        def search(count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            return found_by_faiss(*self._index.search(query, count + 1))

        return nearest_in_order(search, wanted, self._rows - 1)

    def _nearest_allowed(
        self, query: NDArray[np.float32], wanted: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        way = self.way_for(int(np.count_nonzero(allowed)))
        return self.nearest_by(way, query, wanted, allowed)

    def nearest_by(
        self, way: Way, query: NDArray[np.float32], wanted: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `wanted` nearest of the allowed [R] rows to query [1, D], best first.

        Public for whoever compares the ways. Without vectors Way.EXACT raises ValueError.
        """
        if way is Way.EXACT:
            if self._vectors is None:
                raise ValueError("an exact search needs the vectors")
            return exact_nearest(self._vectors, query, wanted, allowed)
        allowed_count = int(np.count_nonzero(allowed))
        enough = min(wanted, allowed_count - int(allowed[NO_PRODUCT]))
        if way is Way.OVER_FETCH:
            fetched = over_fetch_count(wanted, allowed_count, self._rows)
            rows, cosines = self._nearest(query, fetched)
            kept = np.flatnonzero(allowed[rows])[:wanted]
            if kept.size >= enough:
                return rows[kept], cosines[kept]
        return self._selected(query, wanted, allowed, allowed_count, enough)

    def _selected(
        self,
        query: NDArray[np.float32],
        wanted: int,
        allowed: NDArray[np.bool_],
        allowed_count: int,
        enough: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        selector = selector_for(allowed)
        if not self._in_cells:
            parameters = faiss.SearchParameters(sel=selector)
            return self._restricted(query, wanted, parameters)
        cells = cells_to_visit(self._index, allowed_count)
        while True:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=cells)
            rows, cosines = self._restricted(query, wanted, parameters)
            if rows.size >= enough or cells >= int(self._index.nlist):
                return rows, cosines
            cells = int(self._index.nlist)  # what is allowed lies elsewhere: look everywhere

    def _restricted(
        self, query: NDArray[np.float32], wanted: int, parameters: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        def search(count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            return found_by_faiss(*self._index.search(query, count, params=parameters))

        return nearest_in_order(search, wanted, self._rows)

    def _measured_search_s(self) -> float:
        """The quickest of a few searches: what one costs when nothing disturbs it."""
        vector = np.full(self.vector_size, self.vector_size**-0.5, dtype=np.float32)
        times = []
        for _ in range(_TRIALS):
            start_s = time.perf_counter()
            self._search(vector, _TRIAL_COUNT, None)
            times.append(time.perf_counter() - start_s)
        return min(times)


def load_index(
    folder: Path,
    manifest: Manifest,
    *,
    row_count: int,
    vector_size: int,
    file: str = INDEX_FILE,
) -> FaissIndex:
    """An index of a release, once its bytes are the ones that were signed.

    Raises ReleaseRejected if they are not, or if it was built for another catalogue or model.
    """
    shape = (row_count, vector_size)
    index = _checked_index(folder, manifest, shape, file)
    # A release has the vectors of its products, none of their texts.
    is_mapped = file == INDEX_FILE and not isinstance(index, faiss.IndexFlat)
    return FaissIndex(index, _mapped_vectors(folder, manifest, shape) if is_mapped else None)


def read_index(
    folder: Path, manifest: Manifest, shape: tuple[int, int], file: str
) -> tuple[Any, NDArray[np.float32]]:
    """FAISS's own index of the products, and the vectors [R, D]. Raises as `load_index`."""
    index = _checked_index(folder, manifest, shape, file)
    held = stored_vectors(index)
    return index, _mapped_vectors(folder, manifest, shape) if held is None else held


def _checked_index(folder: Path, manifest: Manifest, shape: tuple[int, int], file: str) -> Any:
    try:
        raw = (folder / file).read_bytes()
        check_file(manifest, file, len(raw), hashlib.sha256(raw).hexdigest())
        # From the bytes that were checked, not from the file, which may have changed since.
        index = faiss.deserialize_index(np.frombuffer(raw, dtype=np.uint8))
    except (OSError, RuntimeError) as error:
        raise ReleaseRejected(f"{manifest.release}: {file} cannot be read: {error}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ReleaseRejected(f"{manifest.release}: {file} does not rank by inner product")
    if (index.ntotal, index.d) != shape:
        raise ReleaseRejected(
            f"{manifest.release}: {file} holds {index.ntotal} rows of {index.d} numbers,"
            f" the tables need {shape[0]} of {shape[1]}"
        )
    return index


def _mapped_vectors(
    folder: Path, manifest: Manifest, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """[R, D] as the release holds them, for exact searches of a few rows.

    Mapped, not read: of a million rows they would take 256 MB of every replica.
    """
    check_files(folder, manifest, (VECTORS_FILE,))
    try:
        vectors = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ReleaseRejected(
            f"{manifest.release}: {VECTORS_FILE} cannot be read: {error}"
        ) from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise ReleaseRejected(
            f"{manifest.release}: {VECTORS_FILE} is {vectors.dtype} {vectors.shape},"
            f" the index needs float32 {shape}"
        )
    return np.asarray(vectors)
