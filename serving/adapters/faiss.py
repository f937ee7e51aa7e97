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

from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyTimeout, DependencyUnavailable, ReleaseRejected
from shop.release import INDEX_FILE, Manifest, check_file

faiss: Any = faiss_library  # its stubs know neither the search parameters nor the subclasses

_DEPENDENCY = "index"
_INLINE_S = 0.001  # above that a search would hold up the event loop, so it gets a thread
_TRIAL_COUNT = 350  # as many as the two-tower source is asked for
_TRIALS = 5

# One search is one thread: requests are the parallelism, and OpenMP's workers would spin between
# searches on the very cores that Triton needs.
faiss.omp_set_num_threads(1)


class FaissIndex:
    """Nearest products of a unit vector. Build it with `load_index`."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._rows = int(index.ntotal)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="faiss")
        self.search_s = self._measured_search_s()
        self._is_inline = self.search_s < _INLINE_S

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
        """Rows and cosines, best first. A search once started ends, even if nobody waits."""
        if user_vector.shape != (self.vector_size,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"vector of shape {user_vector.shape}, need ({self.vector_size},)"
            )
        if allowed is not None and allowed.shape != (self._rows,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"allowed has {allowed.size} rows, the index {self._rows}"
            )
        if self._is_inline:
            return self._search(user_vector, count, allowed)
        loop = asyncio.get_running_loop()
        searching = loop.run_in_executor(self._executor, self._search, user_vector, count, allowed)
        try:
            return await asyncio.wait_for(searching, timeout_s)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error

    def _search(
        self, user_vector: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        query = np.ascontiguousarray(user_vector[np.newaxis], dtype=np.float32)
        wanted = min(count, self._rows - 1)  # row 0 is no product
        if wanted <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if allowed is None:  # asking for one more and dropping row 0 is cheaper than a selector
            found_cosines, found_rows = self._index.search(query, wanted + 1)
        else:
            parameters = self._parameters(allowed)
            found_cosines, found_rows = self._index.search(query, wanted, params=parameters)
        rows, cosines = found_rows[0], found_cosines[0]
        found = np.flatnonzero((rows > NO_PRODUCT) & np.isfinite(cosines))  # FAISS pads with -1
        return rows[found[:wanted]].astype(np.int64, copy=False), cosines[found[:wanted]]

    def _parameters(self, allowed: NDArray[np.bool_]) -> Any:
        selector = _selector(allowed)
        if isinstance(self._index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(sel=selector, nprobe=self._probes(allowed))
        return faiss.SearchParameters(sel=selector)

    def _probes(self, allowed: NDArray[np.bool_]) -> int:
        """Cells to visit: the rarer what is allowed, the more, so that as many are found."""
        rarity = self._rows / max(1, int(np.count_nonzero(allowed)))
        return min(int(self._index.nlist), int(np.ceil(self._index.nprobe * rarity)))

    def _measured_search_s(self) -> float:
        """The quickest of a few searches: what one costs when nothing disturbs it."""
        vector = np.full(self.vector_size, self.vector_size**-0.5, dtype=np.float32)
        times = []
        for _ in range(_TRIALS):
            start_s = time.perf_counter()
            self._search(vector, _TRIAL_COUNT, None)
            times.append(time.perf_counter() - start_s)
        return min(times)


def _selector(allowed: NDArray[np.bool_]) -> Any:
    """Pushes the restriction into the search, so that a filter cannot starve the list."""
    bits = np.packbits(allowed, bitorder="little")
    bits[:1] &= np.uint8(0b1111_1110)  # row 0 is no product
    return faiss.IDSelectorBitmap(bits)  # its Python wrapper keeps `bits` alive


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
    try:
        raw = (folder / file).read_bytes()
        check_file(manifest, file, len(raw), hashlib.sha256(raw).hexdigest())
        # From the bytes that were checked, not from the file, which may have changed since.
        index = faiss.deserialize_index(np.frombuffer(raw, dtype=np.uint8))
    except (OSError, RuntimeError) as error:
        raise ReleaseRejected(f"{manifest.release}: {file} cannot be read: {error}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ReleaseRejected(f"{manifest.release}: {file} does not rank by inner product")
    if (index.ntotal, index.d) != (row_count, vector_size):
        raise ReleaseRejected(
            f"{manifest.release}: {file} holds {index.ntotal} rows of {index.d} numbers,"
            f" the tables need {row_count} of {vector_size}"
        )
    return FaissIndex(index)
