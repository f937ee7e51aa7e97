"""Shard service: answers for its part of the releases that gateways ask it about, and for no other.

It follows nobody: whichever release a gateway asks for is looked for in the releases' folder,
checked, and its part loaded beside what is held. So a gateway that goes over to another release, or
back, finds it held before it does, and a mix of two releases cannot be answered. A release that
nobody asked for in a minute, while another was, is let go.
"""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving.adapters.faiss_shard import FILES, ShardIndex, load_shard_index
from serving.adapters.release_files import check_files, read_release_manifest
from serving.adapters.shard_wire import (
    IndexName,
    encode_answer,
    read_question,
    release_asked,
    shard_token,
)
from shop.errors import NotFound, ReleaseRejected
from shop.release import VECTORS_FILE, is_release_id

logger = logging.getLogger(__name__)

_KEEP_S = 60.0  # for gateways that have not gone over yet; ours take a few seconds
_AGAIN_S = 5.0  # after a release that could not be loaded; loading reads all of its index
_MOST_BYTES = 64 << 20  # of a question: bits for 500 million rows
_ANSWERED = {"content-type": "application/octet-stream"}

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(slots=True, eq=False)
class _Held:
    """This shard's part of one release."""

    indexes: Mapping[IndexName, ShardIndex]
    asked_s: float


@dataclass(slots=True)
class ShardCounts:
    """What became of the questions."""

    answered: int = 0
    refused: int = 0  # about a release that is not held, or no question at all
    search_s: float = 0.0


@dataclass(slots=True, eq=False)
class ShardService:
    """Shard `shard` (from 0) of `shards`. An ASGI application, for one event loop.

    A search runs on the loop: another thread would not make it quicker, and there is a process for
    every part.
    """

    releases_dir: Path
    key: bytes
    shard: int
    shards: int
    clock: Callable[[], float] = time.monotonic
    counts: ShardCounts = field(default_factory=ShardCounts)
    _token: bytes = field(init=False, repr=False)
    _held: dict[str, _Held] = field(default_factory=dict)
    _loading: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _failed: dict[str, tuple[str, float]] = field(default_factory=dict)  # why, and until when

    def __post_init__(self) -> None:
        self._token = b"Bearer " + shard_token(self.key).encode()

    async def hold(self, release: str) -> None:
        """Returns once it is held, or was found to be nothing that can be."""
        self._ask_for(release)
        if release in self._loading:
            await asyncio.wait([self._loading[release]])

    def _ask_for(self, release: str) -> _Held | None:
        """What is held of it; else it is being loaded from now on. Refused ids are not looked for.

        Raises ValueError for what can be no release's id.
        """
        now = self.clock()
        held = self._held.get(release)
        if held is not None:
            held.asked_s = now
            return held
        if not is_release_id(release):  # it becomes a part of a path
            raise ValueError("no id of a release")
        _, until = self._failed.get(release, ("", 0.0))
        if release not in self._loading and now >= until:
            task = asyncio.get_running_loop().create_task(self._load(release))
            self._loading[release] = task
        return None

    async def _load(self, release: str) -> None:
        try:
            indexes = await asyncio.to_thread(self._read, self.releases_dir / release)
        except (NotFound, ReleaseRejected) as error:
            logger.error("%s cannot be answered for: %s", release, error)
            self._failed = {release: (str(error), self.clock() + _AGAIN_S)}
        else:
            self._failed.pop(release, None)
            self._held[release] = _Held(indexes, self.clock())
            logger.info("holds %s", release)
            self._let_go()
        finally:
            del self._loading[release]

    def _let_go(self) -> None:
        """Of what nobody asked for since another release was asked for, a while ago."""
        newest = max((held.asked_s for held in self._held.values()), default=0.0)
        for release, held in list(self._held.items()):
            if newest - held.asked_s > _KEEP_S:
                del self._held[release]
                logger.info("let go of %s", release)

    def _read(self, folder: Path) -> dict[IndexName, ShardIndex]:
        manifest = read_release_manifest(folder, self.key)
        names = [name for name, file in FILES.items() if file in manifest.files]
        check_files(folder, manifest, (VECTORS_FILE, *(FILES[name] for name in names)))
        try:
            vectors = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ReleaseRejected(f"{folder.name}: {VECTORS_FILE} cannot be read") from error
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ReleaseRejected(f"{folder.name}: {VECTORS_FILE} is {vectors.dtype}, no vectors")
        return {
            name: load_shard_index(
                folder,
                name,
                np.asarray(vectors) if name is IndexName.PRODUCTS else None,
                shard=self.shard,
                shards=self.shards,
            )
            for name in names
        }

    def state(self) -> dict[str, Any]:
        """A JSON object: what is held, and what became of the questions."""
        return {
            "shard": self.shard,
            "shards": self.shards,
            "held": {
                release: {name.name.lower(): asdict(index.part) for name, index in each.items()}
                for release, each in ((r, h.indexes) for r, h in self._held.items())
            },
            "loading": sorted(self._loading),
            "failed": {release: why for release, (why, _) in self._failed.items()},
            **asdict(self.counts),
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI: POST /search, POST /hold, GET /state, for who shows the token."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        shown = headers.get(b"authorization", b"")
        if not hmac.compare_digest(shown, self._token):
            await _reply(send, 401, b"a token is needed")
            return
        raw = await _body(receive)
        match scope["method"], scope["path"]:
            case "POST", "/search":
                await self._search(raw, send)
            case "POST", "/hold":
                await self._told_to_hold(raw, send)
            case "GET", "/state":
                self._let_go()
                await _reply(send, 200, json.dumps(self.state()).encode())
            case _:
                await _reply(send, 404, b"there is /search, /hold and /state")

    async def _told_to_hold(self, raw: bytes | None, send: Send) -> None:
        try:
            self._ask_for((raw or b"").decode("ascii", "replace"))
        except ValueError as error:
            await _reply(send, 400, str(error).encode())
            return
        self._let_go()
        await _reply(send, 200, json.dumps(self.state()).encode())

    async def _search(self, raw: bytes | None, send: Send) -> None:
        if raw is None:
            await _reply(send, 413, b"more than a question can be")
            return
        try:
            release = release_asked(raw)
            held = self._ask_for(release)
            if held is None:
                self.counts.refused += 1
                await _reply(send, 409, b"that release is not held")
                return
            pieces = self._searched(held, raw)
        except ValueError as error:
            self.counts.refused += 1
            await _reply(send, 400, str(error).encode())
            return
        await _reply(send, 200, b"".join(pieces), _ANSWERED)

    def _searched(self, held: _Held, raw: bytes) -> tuple[bytes, bytes, bytes]:
        began = time.perf_counter()
        name = IndexName(raw[4])
        index = held.indexes.get(name)
        if index is None:
            raise ValueError(f"this release has no index of {name.name.lower()}")
        rows, cosines = index.nearest(read_question(raw, index.row_count))
        self.counts.answered += 1
        self.counts.search_s += time.perf_counter() - began
        return encode_answer(rows, cosines, index.part)


async def _body(receive: Receive) -> bytes | None:
    """All of it; None if it is too much."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > _MOST_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _reply(
    send: Send, status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> None:
    told = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    told.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
