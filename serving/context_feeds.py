"""Context feeds: keeps what is known of weather and search trends current, beside the calls."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from serving.adapters.context_feeds import GrpcTrends, GrpcWeather
from serving.recommend.surroundings import Surroundings
from serving.settings import Settings

logger = logging.getLogger(__name__)


@asynccontextmanager
async def follow_surroundings(settings: Settings) -> AsyncIterator[Surroundings]:
    """What is known, asked for while the block runs. Nothing ever is where no feed is set."""
    surroundings = Surroundings(time.monotonic, settings.recommend.surroundings)
    async with AsyncExitStack() as stack:
        if settings.feeds.weather:
            weather = GrpcWeather(settings.feeds.weather)
            stack.push_async_callback(weather.close)
            _follow(stack, asyncio.create_task(surroundings.follow_weather(weather)))
        if settings.feeds.trends:
            trends = GrpcTrends(settings.feeds.trends)
            stack.push_async_callback(trends.close)
            _follow(stack, asyncio.create_task(surroundings.follow_trends(trends)))
        yield surroundings


def _follow(stack: AsyncExitStack, task: "asyncio.Task[None]") -> None:
    def tell(ended: "asyncio.Task[None]") -> None:
        if not ended.cancelled() and ended.exception() is not None:  # a bug: nobody asks any more
            logger.error("a context feed is followed no more", exc_info=ended.exception())

    task.add_done_callback(tell)

    async def ended() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(ended)
