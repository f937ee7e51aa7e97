"""Index calls: what every index asks of a search before it begins, and how one is waited for.

Shapes: D vector size, R catalogue rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from shop.errors import DependencyTimeout, DependencyUnavailable

DEPENDENCY = "index"

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows and cosines, best first: [K] of one caller or [B, K] of a batch."""


def check_call(
    user_vector: NDArray[np.float32],
    allowed: NDArray[np.bool_] | None,
    *,
    vector_size: int,
    row_count: int,
) -> None:
    """Raises DependencyUnavailable unless vector [D] and filter [R] are of the index's shape."""
    if user_vector.shape != (vector_size,):
        raise DependencyUnavailable(
            DEPENDENCY, f"vector of shape {user_vector.shape}, need ({vector_size},)"
        )
    if allowed is not None and allowed.shape != (row_count,):
        raise DependencyUnavailable(
            DEPENDENCY, f"allowed has {allowed.size} rows, the index {row_count}"
        )


async def answer_within(timeout_s: float, answer: Awaitable[Found]) -> Found:
    """The answer. Raises DependencyTimeout; a search once begun ends, even if nobody waits."""
    try:
        return await asyncio.wait_for(answer, timeout_s)
    except TimeoutError as error:
        raise DependencyTimeout(
            DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
        ) from error


async def search_apart(executor: Executor, timeout_s: float, search: Callable[[], Found]) -> Found:
    """A search that would hold up the event loop, in a thread. Raises DependencyTimeout."""
    return await answer_within(
        timeout_s, asyncio.get_running_loop().run_in_executor(executor, search)
    )
