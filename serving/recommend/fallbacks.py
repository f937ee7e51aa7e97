"""Fallbacks: a call may lose what it can do without; what was lost is noted in the answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from serving.recommend.request import Degradation, Losses, Stage
from shop.errors import DependencyError

Found = TypeVar("Found")
Fallback = TypeVar("Fallback")


async def or_fallback(
    asked: Coroutine[Any, Any, Found],
    *,
    within_s: float,
    fallback: Fallback,
    stage: Stage,
    lost: Degradation,
    losses: Losses,
) -> Found | Fallback:
    """What was asked for; `fallback`, with `lost` noted, if it failed or outlasted `within_s`.

    The budget holds even where the adapter forgets its own. Only errors of dependencies count:
    a bug stays an error, and cancellation of the whole call passes through.
    """
    if within_s <= 0.0:
        asked.close()  # never started: no call goes out that nobody has time to wait for
        losses.add(stage, lost)
        return fallback
    try:
        async with asyncio.timeout(within_s):
            return await asked
    except (DependencyError, TimeoutError):
        losses.add(stage, lost)
        return fallback
