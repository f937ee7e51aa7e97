"""Indexes in parts, as a release's files hold them, asked without a network."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.adapters.faiss_shard import ShardIndex, load_shard_index
from serving.adapters.shard_wire import IndexName, encode_answer, read_question
from serving.adapters.shards import Shards
from shop.errors import DependencyUnavailable
from shop.release import INDEX_FILE

SIZE = 8


def vectors_with_equals(products: int, *, different: int) -> NDArray[np.float32]:
    """[products + 1, SIZE] of unit length, row 0 zeros; only so many of them are different."""
    rng = np.random.default_rng(products)
    drawn = rng.normal(size=(different, SIZE)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    none = np.zeros((1, SIZE), np.float32)
    return np.concatenate([none, drawn[rng.integers(different, size=products)]])


def flat(vectors: NDArray[np.float32]) -> Any:
    """Compares everything."""
    index = faiss.IndexFlatIP(SIZE)
    index.add(vectors)
    return index


def in_cells(vectors: NDArray[np.float32], *, cells: int = 8, probes: int = 2) -> Any:
    """Looks into a few of its cells, at numbers of eight bits."""
    index = faiss.index_factory(SIZE, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = probes
    return index


def parts_of(
    index: Any, vectors: NDArray[np.float32] | None, shards: int, folder: Path
) -> list[ShardIndex]:
    """As `shards` processes would hold it, read from a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(folder / INDEX_FILE))
    return [
        load_shard_index(folder, IndexName.PRODUCTS, vectors, shard=at, shards=shards)
        for at in range(shards)
    ]


@dataclass(slots=True)
class Answers:
    """How one shard behaves."""

    is_lost: bool = False
    stalls: bool = False
    raw: bytes | None = None  # instead of its answer
    status: int = 200
    asked: int = 0


class NearShards(Shards):
    """Shards of this process, behind the bytes that real ones speak."""

    def __init__(self, parts: Sequence[ShardIndex], clock: Any = lambda: 0.0) -> None:
        super().__init__([f"127.0.0.1:{at + 1}" for at in range(len(parts))], "token", clock)
        self.parts = list(parts)
        self.answers = [Answers() for _ in parts]

    async def asked(self, shard: int, path: str, body: bytes) -> tuple[int, bytes]:
        part, answers = self.parts[shard], self.answers[shard]
        answers.asked += 1
        if answers.is_lost:
            raise DependencyUnavailable("index", "nobody listens")
        if answers.stalls:
            await asyncio.Event().wait()
        if answers.raw is not None:
            return answers.status, answers.raw
        rows, cosines = part.nearest(read_question(body, part.row_count))
        return answers.status, b"".join(encode_answer(rows, cosines, part.part))
