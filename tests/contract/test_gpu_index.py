"""The GPU index's batching, swap, filters and memory, on FAISS's indexes in this machine's memory.

What is not tried here is the move to a device: `tests/gpu` does that where there is one.
"""

import asyncio
import threading

import faiss as faiss_library
import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.benchmarks.synthetic import some_shoppers, some_vectors
from serving.adapters.batched_search import BatchedSearch
from serving.adapters.faiss_gpu import (
    MOST_AT_ONCE,
    GpuIndex,
    GpuLimits,
    check_memory,
    device_bytes,
    open_device,
)
from serving.adapters.index_calls import Found
from shop.errors import DependencyTimeout, DependencyUnavailable, ReleaseRejected

faiss = faiss_library  # type: ignore[assignment]
ROWS = 6_000
VECTORS = some_vectors(ROWS)
SHOPPERS = some_shoppers(VECTORS, 40)
WAIT_S = 20.0


class ThisMachine:
    """A device that keeps an index where it is, with as much memory as a test gives it."""

    def __init__(self, free_bytes: int = 1 << 40) -> None:
        self.free = free_bytes

    def free_bytes(self) -> int:
        return self.free

    def moved(self, index: object) -> object:
        return index


def flat(vectors: NDArray[np.float32]) -> "faiss.IndexFlatIP":
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def an_index(device: ThisMachine | None = None) -> GpuIndex:
    return GpuIndex(device or ThisMachine(), flat(VECTORS), VECTORS, GpuLimits())


def nearest(vector: NDArray[np.float32], count: int, allowed: NDArray[np.bool_]) -> list[int]:
    cosines = VECTORS.astype(np.float64) @ vector
    cosines[~allowed] = -np.inf
    cosines[0] = -np.inf
    return np.argsort(-cosines)[: min(count, int(allowed[1:].sum()))].tolist()


def test_many_callers_at_once_each_get_their_own_nearest() -> None:
    index = an_index()

    async def ask() -> list[Found]:
        calls = (
            index.search(vector, 5 + at, allowed=None, timeout_s=WAIT_S)
            for at, vector in enumerate(SHOPPERS)
        )
        return await asyncio.gather(*calls)

    found = asyncio.run(ask())
    everything = np.ones(ROWS + 1, np.bool_)
    for at, (rows, cosines) in enumerate(found):
        assert rows.tolist() == nearest(SHOPPERS[at], 5 + at, everything)
        assert (np.diff(cosines) <= 0).all()
    sizes = index.batch_sizes
    assert sum(size * count for size, count in sizes.items()) == len(SHOPPERS)
    assert max(sizes) > 1, "callers who wait beside each other are searched for at once"
    index.close()


@pytest.mark.parametrize("share", [0.0005, 0.05, 0.4, 0.97])
def test_filters_never_starve_a_list(share: float) -> None:
    index = an_index()
    allowed = np.random.default_rng(1).random(ROWS + 1) < share
    allowed[0] = True  # it is no product all the same
    rows, _ = asyncio.run(index.search(SHOPPERS[0], 300, allowed=allowed, timeout_s=WAIT_S))
    assert rows.tolist() == nearest(SHOPPERS[0], 300, allowed)
    index.close()


def test_more_than_a_gpu_selects_at_once_is_found_exactly() -> None:
    index = an_index()
    count = MOST_AT_ONCE + 100
    rows, _ = asyncio.run(index.search(SHOPPERS[0], count, allowed=None, timeout_s=WAIT_S))
    assert rows.tolist() == nearest(SHOPPERS[0], count, np.ones(ROWS + 1, np.bool_))
    index.close()


def test_an_index_is_replaced_between_two_batches_and_no_search_fails() -> None:
    index = an_index()
    turned = VECTORS[[0, *range(ROWS, 0, -1)]]
    answers: list[int] = []

    async def ask_and_swap() -> None:
        async def ask() -> None:
            for _ in range(30):
                rows, _ = await index.search(VECTORS[7], 1, allowed=None, timeout_s=WAIT_S)
                answers.append(int(rows[0]))

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.to_thread(index.swap, flat(turned), turned)
        await asyncio.gather(*asking)
        rows, _ = await index.search(VECTORS[7], 1, allowed=None, timeout_s=WAIT_S)
        answers.append(int(rows[0]))

    asyncio.run(ask_and_swap())
    assert set(answers) <= {7, ROWS - 6}
    assert answers[-1] == ROWS - 6
    index.close()


def test_a_swap_needs_room_for_both_and_else_leaves_all_as_it_was() -> None:
    device = ThisMachine()
    index = an_index(device)
    device.free = 1 << 30  # the reserve alone
    with pytest.raises(ReleaseRejected, match="MB of the GPU"):
        index.swap(flat(VECTORS), VECTORS)
    with pytest.raises(ReleaseRejected, match="cannot take the place"):
        index.swap(flat(VECTORS[:10]), VECTORS[:10])
    rows, _ = asyncio.run(index.search(VECTORS[7], 1, allowed=None, timeout_s=WAIT_S))
    assert rows.tolist() == [7]
    index.close()


def test_memory_is_reckoned_by_kind_of_index() -> None:
    assert device_bytes(flat(VECTORS)) == (ROWS + 1) * (64 * 2 + 4)
    cells = faiss.index_factory(64, "IVF16,SQ8", faiss.METRIC_INNER_PRODUCT)
    cells.train(VECTORS[1:])
    cells.add(VECTORS)
    assert device_bytes(cells) > (ROWS + 1) * (64 + 8)
    check_memory(1_000, 2_000, GpuLimits(reserve_bytes=1_000))
    with pytest.raises(ReleaseRejected, match="beyond the reserve"):
        check_memory(1_001, 2_000, GpuLimits(reserve_bytes=1_000))
    with pytest.raises(ReleaseRejected, match="no form on a GPU"):
        device_bytes(faiss.index_factory(64, "HNSW8", faiss.METRIC_INNER_PRODUCT))


class Held:
    """A search that waits until it is let go, so that a test can fill the queue behind it."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def __call__(self, vectors: NDArray[np.float32], count: int) -> Found:
        self.batches.append(len(vectors))
        self.began.set()
        self.go.wait(WAIT_S)
        shape = (len(vectors), count)
        return np.ones(shape, np.int64), np.ones(shape, np.float32)


def test_whoever_gave_up_waiting_is_not_searched_for() -> None:
    held = Held()
    searching = BatchedSearch(held, max_batch=8, max_waiting=2)
    one = np.zeros(4, np.float32)

    async def ask() -> None:
        first = asyncio.create_task(searching.search(one, 1, timeout_s=WAIT_S))
        await asyncio.to_thread(held.began.wait, WAIT_S)
        with pytest.raises(DependencyTimeout):
            await searching.search(one, 1, timeout_s=0.01)
        last = asyncio.create_task(searching.search(one, 1, timeout_s=WAIT_S))
        await asyncio.sleep(0)  # it stands in the queue
        with pytest.raises(DependencyUnavailable, match="2 searches wait"):
            await searching.search(one, 1, timeout_s=WAIT_S)
        held.go.set()
        await asyncio.gather(first, last)

    asyncio.run(ask())
    searching.close()
    assert held.batches == [1, 1]


def test_a_failing_device_is_an_unavailable_index_and_the_next_call_is_tried() -> None:
    calls = []

    def broken_once(vectors: NDArray[np.float32], count: int) -> Found:
        calls.append(count)
        if len(calls) == 1:
            raise RuntimeError("CUDA error 700")
        return np.ones((1, 1), np.int64), np.ones((1, 1), np.float32)

    searching = BatchedSearch(broken_once, max_batch=8, max_waiting=8)
    one = np.zeros(4, np.float32)

    async def ask() -> None:
        with pytest.raises(DependencyUnavailable, match="CUDA error 700"):
            await searching.search(one, 1, timeout_s=WAIT_S)
        rows, _ = await searching.search(one, 1, timeout_s=WAIT_S)
        assert rows.tolist() == [1]

    asyncio.run(ask())
    searching.close()
    with pytest.raises(DependencyUnavailable, match="closed"):
        asyncio.run(searching.search(one, 1, timeout_s=WAIT_S))


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this FAISS has GPU forms")
def test_a_faiss_without_gpu_says_what_to_install() -> None:
    with pytest.raises(DependencyUnavailable, match="faiss-gpu"):
        open_device()
