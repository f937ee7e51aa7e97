"""FAISS on a GPU: the release's index in device memory, behind the port that every index has.

FAISS's GPU indexes take one thread at a time and know no id selector, so one thread searches for
all (`serving.adapters.batched_search`), and filters are searched in two ways: few allowed rows
exactly on the host, many by over-fetching; in between, and beyond what the GPU returns at once,
exactly on the host as well. Memory is reckoned before anything is moved, the release that is still
being served included. `faiss-gpu` is imported by `open_device` alone; it has run on no GPU yet.

Shapes: D vector size, R catalogue rows, B callers, K wanted.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faiss as faiss_library
import numpy as np
from numpy.typing import NDArray

from serving.adapters.batched_search import BatchedSearch, Found, SearchMany
from serving.adapters.faiss import read_index
from serving.adapters.faiss_filtering import exact_nearest, over_fetch_count
from shop.catalogue import NO_PRODUCT
from shop.errors import DependencyTimeout, DependencyUnavailable, ReleaseRejected
from shop.release import INDEX_FILE, Manifest

faiss: Any = faiss_library  # its stubs know neither the subclasses nor what GPU builds add

_DEPENDENCY = "index"
MOST_AT_ONCE = 2_048  # K that FAISS's GPU kernels can select
# A search needs room beside the index; FAISS sets aside 1.5 GiB of it by itself unless told.
_SCRATCH_BYTES = 512 << 20


class Device(Protocol):
    """Where an index is moved to."""

    def free_bytes(self) -> int:
        """Of its memory, now."""
        ...

    def moved(self, index: Any) -> Any:
        """The same index there, searched by one thread at a time."""
        ...


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """How much of the device an index may take, and how callers are gathered."""

    reserve_bytes: int = 1 << 30  # left free for engines and whoever else lives there
    max_batch: int = 64
    max_waiting: int = 512


def open_device(number: int = 0, *, half_precision: bool = True) -> Device:
    """A GPU by number. Raises DependencyUnavailable without faiss-gpu or such a GPU."""
    if not hasattr(faiss, "StandardGpuResources"):
        raise DependencyUnavailable(
            _DEPENDENCY,
            "this faiss cannot use a GPU: install faiss-gpu in place of faiss-cpu, or set"
            ' gpu.index = "cpu"',
        )
    if faiss.get_num_gpus() <= number:
        raise DependencyUnavailable(_DEPENDENCY, f"FAISS sees no GPU number {number}")
    return _Gpu(number, half_precision=half_precision)


class _Gpu:
    """One CUDA device, through FAISS."""

    def __init__(self, number: int, *, half_precision: bool) -> None:
        self._number = number
        self._resources = faiss.StandardGpuResources()
        self._resources.setTempMemory(_SCRATCH_BYTES)
        self._options = faiss.GpuClonerOptions()
        self._options.useFloat16 = half_precision

    def free_bytes(self) -> int:
        """As the driver tells."""
        return int(faiss.get_free_memory(self._number))

    def moved(self, index: Any) -> Any:
        """Raises RuntimeError of FAISS where it does not fit or is of a kind without GPU form."""
        return faiss.index_cpu_to_gpu(self._resources, self._number, index, self._options)


def device_bytes(index: Any, *, half_precision: bool = True) -> int:
    """What an index takes in device memory, rather too much than too little."""
    number_bytes = 2 if half_precision else 4
    rows, size = int(index.ntotal), int(index.d)
    if isinstance(index, faiss.IndexFlat):
        return rows * size * number_bytes + rows * 4
    if isinstance(index, faiss.IndexIVF):
        lists = rows * (int(index.code_size) + 8)
        # Lists grow by halves again, and the GPU pads each to a multiple of 32 vectors.
        padding = int(index.nlist) * 32 * (int(index.code_size) + 8)
        return int(lists * 1.5) + padding + int(index.nlist) * size * 4
    raise ReleaseRejected(f"an index of kind {type(index).__name__} has no form on a GPU")


def check_memory(needed_bytes: int, free_bytes: int, limits: GpuLimits) -> None:
    """Raises ReleaseRejected if the index does not fit beside what is there already."""
    usable = free_bytes - limits.reserve_bytes
    if needed_bytes > usable:
        raise ReleaseRejected(
            f"the index needs {needed_bytes / 1e6:,.0f} MB of the GPU,"
            f" {max(0, usable) / 1e6:,.0f} MB are free beyond the reserve: give it more room, a"
            ' smaller index, or set gpu.index = "cpu"'
        )


class GpuIndex:
    """Nearest products of a unit vector, by a device. Build it with `load_gpu_index`."""

    def __init__(
        self, device: Device, on_host: Any, vectors: NDArray[np.float32], limits: GpuLimits
    ) -> None:
        self._device, self._limits = device, limits
        self._vectors = vectors  # [R, D] of the host, for what the device cannot restrict
        self._batched = BatchedSearch(
            self._moved(on_host), max_batch=limits.max_batch, max_waiting=limits.max_waiting
        )
        self._executor = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="exact",
            initializer=faiss.omp_set_num_threads,  # as serving.adapters.faiss says
            initargs=(1,),
        )

    @property
    def vector_size(self) -> int:
        """D."""
        return int(self._vectors.shape[1])

    @property
    def row_count(self) -> int:
        """R."""
        return int(self._vectors.shape[0])

    @property
    def batch_sizes(self) -> dict[int, int]:
        """How many batches had how many callers."""
        return dict(self._batched.batch_sizes)

    def swap(self, on_host: Any, vectors: NDArray[np.float32]) -> None:
        """Another index, moved beside the present one first: searches never wait for the move.

        For the same catalogue; a release with another has an index of its own. Raises
        ReleaseRejected if both do not fit at once, and the present one stays.
        """
        if vectors.shape != self._vectors.shape:
            raise ReleaseRejected(
                f"an index of {vectors.shape} cannot take the place of one of {self._vectors.shape}"
            )
        self._batched.replace(self._moved(on_host))
        self._vectors = vectors

    def close(self) -> None:
        """Lets a running search end; the index cannot be asked any more."""
        self._batched.close()
        self._executor.shutdown(wait=True)

    async def search(
        self,
        user_vector: NDArray[np.float32],
        count: int,
        *,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> Found:
        """Rows and cosines, best first; as many of the allowed rows [R] as there are and wanted."""
        if user_vector.shape != (self.vector_size,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"vector of shape {user_vector.shape}, need ({self.vector_size},)"
            )
        if allowed is not None and allowed.shape != (self.row_count,):
            raise DependencyUnavailable(
                _DEPENDENCY, f"allowed has {allowed.size} rows, the index {self.row_count}"
            )
        wanted = min(count, self.row_count - 1)
        if wanted <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        fetched = self._fetch_count(wanted, allowed)
        if fetched <= MOST_AT_ONCE:
            rows, cosines = await self._batched.search(user_vector, fetched, timeout_s=timeout_s)
            at = _usable(rows, cosines, allowed)[:wanted]
            if allowed is None or at.size >= min(wanted, _passing(allowed)):
                return rows[at].astype(np.int64), cosines[at]
        return await self._exactly(user_vector, wanted, allowed, timeout_s)

    def _fetch_count(self, wanted: int, allowed: NDArray[np.bool_] | None) -> int:
        """One more than wanted for row 0; with a filter, as many as leave enough."""
        if allowed is None:
            return wanted + 1
        return over_fetch_count(wanted, _passing(allowed), self.row_count)

    async def _exactly(
        self,
        vector: NDArray[np.float32],
        wanted: int,
        allowed: NDArray[np.bool_] | None,
        timeout_s: float,
    ) -> Found:
        mask = np.ones(self.row_count, np.bool_) if allowed is None else allowed
        query = np.ascontiguousarray(vector[np.newaxis], dtype=np.float32)
        loop = asyncio.get_running_loop()
        searching = loop.run_in_executor(
            self._executor, exact_nearest, self._vectors, query, wanted, mask
        )
        try:
            return await asyncio.wait_for(searching, timeout_s)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error

    def _moved(self, on_host: Any) -> SearchMany:
        check_memory(device_bytes(on_host), self._device.free_bytes(), self._limits)
        try:
            index = self._device.moved(on_host)
        except RuntimeError as error:
            raise ReleaseRejected(f"the index cannot be moved to the GPU: {error}") from error
        return _search_of(index)


def load_gpu_index(
    folder: Path, manifest: Manifest, *, row_count: int, vector_size: int, limits: GpuLimits
) -> GpuIndex:
    """The index of a release on the first GPU. Raises as `load_index`, and if it does not fit.

    Raises DependencyUnavailable without faiss-gpu or a GPU.
    """
    device = open_device()
    index, vectors = read_index(folder, manifest, (row_count, vector_size), INDEX_FILE)
    return GpuIndex(device, index, vectors, limits)


def _search_of(index: Any) -> Callable[[NDArray[np.float32], int], Found]:
    def search_many(vectors: NDArray[np.float32], count: int) -> Found:
        cosines, rows = index.search(vectors, min(count, int(index.ntotal)))
        return rows, cosines

    return search_many


def _usable(
    rows: NDArray[np.int64], cosines: NDArray[np.float32], allowed: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Positions without row 0, without the -1 with which FAISS pads, and inside the filter."""
    is_found = (rows > NO_PRODUCT) & np.isfinite(cosines)
    if allowed is not None:
        is_found &= allowed[rows]  # -1 reads the last row, and is out already
    return np.flatnonzero(is_found)


def _passing(allowed: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(allowed)) - int(allowed[NO_PRODUCT])
