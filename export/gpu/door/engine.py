"""Engine process: holds the device and answers batches of whoever connects, whole queues at once.

    python -m export.gpu.door.engine FOLDER PLAN_JSON

Listens on a socket in FOLDER. Whatever waits when the device is free is the next batch, up to the
largest size; nobody waits for company. Ends when its standard input closes.
"""

import asyncio
import json
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.gpu.door.frames import HEAD, Columns, Layout, lists_layout, shoppers_layout
from export.gpu.door.plan import ENGINE_READY, DoorPlan, socket_in
from export.gpu.door.processes import ends_with_parent, tell
from export.gpu.door.shortlist import ShortlistEngine


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    number: int
    columns: Columns
    writer: asyncio.StreamWriter

    @property
    def count(self) -> int:
        return len(self.columns[0])


class Batcher:
    """What waits, and the one thread that asks the engine."""

    def __init__(self, engine: Any, most: int, shoppers: Layout, lists: Layout) -> None:
        """`engine`: a `ShortlistEngine`, or what answers like one."""
        self._engine, self._most = engine, most
        self._shoppers, self._lists = shoppers, lists
        self._waiting: deque[_Asked] = deque()
        self._came = asyncio.Event()
        self._executor = ThreadPoolExecutor(1)
        self.batch_sizes: dict[int, int] = {}

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One peer, to its end. A frame that cannot be read ends it."""
        try:
            while True:
                number, count = HEAD.unpack(await reader.readexactly(HEAD.size))
                if not 0 < count <= self._most:
                    return
                raw = await reader.readexactly(count * self._shoppers.member_bytes)
                self._waiting.append(_Asked(number, self._shoppers.unpack(count, raw), writer))
                self._came.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def work(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            batch = self._next()
            joined = tuple(
                np.concatenate(each) for each in zip(*(b.columns for b in batch), strict=True)
            )
            answer = await loop.run_in_executor(self._executor, self._engine, joined)
            self._reply(batch, answer)

    def _next(self) -> list[_Asked]:
        batch, count = [], 0
        while self._waiting and count + self._waiting[0].count <= self._most:
            batch.append(self._waiting.popleft())
            count += batch[-1].count
        if not self._waiting:
            self._came.clear()
        self.batch_sizes[count] = self.batch_sizes.get(count, 0) + 1
        return batch

    def _reply(self, batch: Sequence[_Asked], answer: tuple[NDArray[Any], NDArray[Any]]) -> None:
        start = 0
        for asked in batch:
            part = tuple(column[start : start + asked.count] for column in answer)
            start += asked.count
            if not asked.writer.is_closing():
                asked.writer.write(self._lists.pack(asked.number, part))


async def serve(folder: Path, plan: DoorPlan) -> None:
    """Checks itself, then says in FOLDER what it is, then answers. Raises ValueError if wrong."""
    engine = ShortlistEngine(plan)
    checked = engine.check()
    if not checked.holds:
        raise ValueError(f"{checked.what}: {checked.measured}")
    schema = engine.shop.schema
    batcher = Batcher(engine, max(plan.batches), shoppers_layout(schema), lists_layout(plan.listed))
    server = await asyncio.start_unix_server(batcher.listen, socket_in(folder))
    async with server:
        tell(folder / ENGINE_READY, json.dumps(schema.to_json()))
        await batcher.work()


def main() -> None:
    """The command line."""
    ends_with_parent()
    asyncio.run(serve(Path(sys.argv[1]), DoorPlan.from_json(sys.argv[2])))


if __name__ == "__main__":
    main()
