"""Both history stores under one handle, so that one suite can hold both to the same."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import redis

from serving.adapters.history_store import HistoryStore
from serving.adapters.lmdb import LmdbHistories
from serving.adapters.redis import RedisHistories
from serving.adapters.redis_settings import RedisSettings
from serving.recommend.ports import StoredHistory

DAY_MS = 86_400_000
Result = TypeVar("Result")


class CountingStore(HistoryStore, Protocol):
    """A store that says how many shoppers it knows."""

    def shopper_count(self) -> int:
        """Shoppers with a history or a profile."""
        ...


class Stores:
    """Opens stores on the same data, and closes them at the end of the `with`."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()  # one loop: connections belong to theirs

    def __enter__(self) -> "Stores":
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What it returns."""
        return self._runner.run(coroutine)

    def open(self, *, max_shoppers: int = 1_000, now_ms: int = DAY_MS) -> CountingStore:
        """A store on the data that all of these share."""
        raise NotImplementedError

    def close_all(self) -> None:
        """Closes what was opened; opening again is allowed."""
        raise NotImplementedError

    def damage(self, shopper: str, raw: bytes) -> None:
        """Puts `raw` where the shopper's history is."""
        raise NotImplementedError

    def history_of(self, store: HistoryStore, shopper: str) -> StoredHistory | None:
        """What a request would read."""
        return self.run(store.of(shopper, timeout_s=5.0))


class LmdbStores(Stores):
    """On one LMDB file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / "h.lmdb"
        self._opened: list[LmdbHistories] = []

    def open(self, *, max_shoppers: int = 1_000, now_ms: int = DAY_MS) -> CountingStore:
        self.close_all()  # LMDB is opened once in a process
        store = LmdbHistories(
            self._path, map_bytes=1 << 26, max_shoppers=max_shoppers, now_ms=lambda: now_ms
        )
        self._opened.append(store)
        return store

    def close_all(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def damage(self, shopper: str, raw: bytes) -> None:
        (store,) = self._opened
        with store._env.begin(write=True, db=store._histories) as txn:
            txn.put(shopper.encode(), raw)


class RedisStores(Stores):
    """On one Redis server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._opened: list[RedisHistories] = []

    def open(
        self, *, max_shoppers: int = 1_000, now_ms: int = DAY_MS, log: str = "log-1"
    ) -> RedisHistories:
        store = RedisHistories(
            RedisSettings(url=self._url), log=log, max_shoppers=max_shoppers, now_ms=lambda: now_ms
        )
        self._opened.append(store)
        return store

    def close_all(self) -> None:
        while self._opened:
            self.run(self._opened.pop().aclose())

    def damage(self, shopper: str, raw: bytes) -> None:
        with redis.Redis.from_url(self._url) as client:
            client.set(f"vitrine:history:{shopper}", raw)
