"""A process that logs events until it is killed, and prints the key of every acknowledged one."""

import asyncio
import sys
from pathlib import Path

from serving.adapters.feedback_log import FeedbackLog, FeedbackSettings, open_feedback_log
from serving.adapters.lmdb import LmdbHistories
from serving.recommend.ports import ShopperEvent
from shop.events import EventType

SMALL = FeedbackSettings(segment_bytes=20_000, history_map_bytes=1 << 26)


def an_event(key: str, **changes: object) -> ShopperEvent:
    fields: dict[str, object] = {
        "idempotency_key": key,
        "type": EventType.CLICK,
        "shopper": "ada",
        "session_id": "monday",
        "product_id": "lamp-1",
        "time_ms": 1_000,
        "quantity": 1,
        "price_minor": 990,
        "position": 3,
        "value": 0.0,
        "query": "",
        "placement": "home",
        "device": "mobile",
        "country": "DE",
        "request_id": "",
    }
    return ShopperEvent(**(fields | changes))  # type: ignore[arg-type]


def open_histories(root: Path) -> LmdbHistories:
    return LmdbHistories(root / "histories.lmdb", map_bytes=1 << 26, max_shoppers=1_000)


def open_log(root: Path, histories: LmdbHistories) -> FeedbackLog:
    return open_feedback_log(root / "feedback", histories, SMALL)


async def _write_for_ever(log: FeedbackLog) -> None:
    async def caller(number: int) -> None:
        for count in range(1_000_000):
            key = f"{number}-{count}"
            event = an_event(key, shopper=f"shopper-{number}-{count % 50}", time_ms=count)
            await log.record([event], timeout_s=10.0)
            print(key, flush=True)  # noqa: T201

    await asyncio.gather(*(caller(number) for number in range(4)))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    asyncio.run(_write_for_ever(open_log(folder, open_histories(folder))))
