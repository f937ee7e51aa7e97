"""Shards: one index in this process against the same in 1, 2 and 4 processes, and the same finds.

The shards are the very processes that `vitrine up` starts, holding a release made for them. No row
and no bit of a cosine may differ from what the whole index finds, with a filter or without.

Shapes: R rows, D vector size, B user vectors.
"""

import asyncio
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from export.index import BuiltIndex, build_index
from loadtest.benchmarks.ann import user_vectors
from loadtest.benchmarks.enlarged import EnlargedShop
from loadtest.benchmarks.result import Check, Grid, Result
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.histogram import percentile
from serving.adapters.faiss import FaissIndex
from serving.adapters.shard_wire import IndexName, shard_token
from serving.adapters.shards import ShardedIndex, Shards
from serving.stack.ports import LOOPBACK, free_port
from serving.stack.processes import tied_to_parent
from shop.release import INDEX_FILE, MANIFEST, REQUIRED_FILES, VECTORS_FILE, FileEntry, Manifest

PRODUCTS = 200_000
NEAREST = 500
COUNTS = (1, 2, 4)
_SHOPPERS = 100
_ROUNDS = 3
_AT_ONCE = 16
_SHARES = (None, 0.001, 0.3, 0.95)  # of the rows that a filter lets through: every way is tried
_PATIENT_S = 5.0
_WITHIN_S = 60.0
_RELEASE = "r0001-in-parts"
_FLAT = 1 << 60  # rows up to which an index compares everything

Index = FaissIndex | ShardedIndex


@dataclass(frozen=True, slots=True)
class Cost:
    """What a search of one index takes."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float  # of the process that asks
    per_s: float  # searches, so many at once
    shard_mb: float  # private memory of the largest shard; 0: there is none


def measure(state_dir: Path, images: Path, *, products: int = PRODUCTS) -> Result:
    """Latency, the asker's CPU and memory of each, and how many searches differ."""
    vectors = EnlargedShop(state_dir).vectors(products)
    users = user_vectors(state_dir, _SHOPPERS)
    figures: dict[str, float | int] = {"products": products, "k": NEAREST}
    grids, different = [], 0
    for name, flat_rows in (("cells", 0), ("exact", _FLAT)):
        built = build_index(vectors, users, flat_rows=flat_rows)
        costs, differ = _compared(built, vectors, users)
        different += differ
        grids.append(_grid(built, costs))
        for count, cost in costs.items():
            label = "whole" if count == 0 else f"shards_{count}"
            figures[f"{name}_{label}_p50_ms"] = round(cost.p50_ms, 3)
            figures[f"{name}_{label}_cpu_ms"] = round(cost.cpu_ms, 3)
    figures["different"] = different
    searches = 2 * len(COUNTS) * len(users) * len(_SHARES)
    return Result(
        name="shards",
        figures=figures,
        checks=(
            Check(
                "searches whose rows or cosines are not those of the whole index",
                f"0 of {searches:,}",
                str(different),
                different == 0,
            ),
        ),
        grids=tuple(grids),
        notes=(
            f"{products:,} vectors of the release's own product tower, {_SHOPPERS} shoppers,"
            f" k = {NEAREST}, one search at a time, all on this machine's cores. Every shard"
            " visits the same cells and sends its best k, so parts buy memory, and time only"
            " where the search itself is long.",
        ),
    )


def _compared(
    built: BuiltIndex, vectors: NDArray[np.float32], users: NDArray[np.float32]
) -> tuple[dict[int, Cost], int]:
    """Cost by number of shards, 0 for the whole index; and searches that found something else."""
    whole = FaissIndex(built.index, None if built.kind == "flat" else vectors)
    masks = _masks(len(vectors))
    costs, different = {}, 0
    with tempfile.TemporaryDirectory(prefix="parts-") as folder:
        root, key = Path(folder), secrets.token_bytes(32)
        _write_release(root, key, built, vectors)
        costs[0] = asyncio.run(_cost(whole, users, ()))
        for count in COUNTS:
            with _running(root, count) as (addresses, processes):

                async def tried(
                    addresses: Sequence[str] = addresses,
                    processes: Sequence[psutil.Process] = processes,
                ) -> tuple[Cost, int]:
                    shards = Shards(addresses, shard_token(key))
                    index = shards.index(
                        _RELEASE,
                        IndexName.PRODUCTS,
                        row_count=len(vectors),
                        vector_size=vectors.shape[1],
                    )
                    differ = await _different(whole, index, users, masks)
                    cost = await _cost(index, users, processes)
                    await shards.close()
                    return cost, differ

                costs[count], differ = asyncio.run(tried())
                different += differ
    whole.close()
    return costs, different


def _masks(rows: int) -> list[NDArray[np.bool_] | None]:
    rng = np.random.default_rng(5)
    return [None if share is None else rng.random(rows) < share for share in _SHARES]


async def _different(
    whole: FaissIndex,
    parts: ShardedIndex,
    users: NDArray[np.float32],
    masks: Sequence[NDArray[np.bool_] | None],
) -> int:
    different = 0
    for user in users:
        for mask in masks:
            one, two = [
                await index.search(user, NEAREST, allowed=mask, timeout_s=_PATIENT_S)
                for index in (whole, parts)
            ]
            is_same = one[0].tobytes() == two[0].tobytes() and one[1].tobytes() == two[1].tobytes()
            different += not is_same
    return different


async def _cost(
    index: Index, users: NDArray[np.float32], processes: Sequence[psutil.Process]
) -> Cost:
    times = []
    cpu_s = time.process_time()
    for _ in range(_ROUNDS):
        for user in users:
            began = time.perf_counter()
            await index.search(user, NEAREST, allowed=None, timeout_s=_PATIENT_S)
            times.append((time.perf_counter() - began) * 1e3)
    cpu_ms = (time.process_time() - cpu_s) * 1e3 / len(times)
    began = time.perf_counter()
    for at in range(0, len(users), _AT_ONCE):
        some = users[at : at + _AT_ONCE]
        searches = (
            index.search(user, NEAREST, allowed=None, timeout_s=_PATIENT_S) for user in some
        )
        await asyncio.gather(*searches)
    per_s = len(users) / (time.perf_counter() - began)
    private = [process.memory_full_info().uss / 1e6 for process in processes]
    measured = np.array(times)
    return Cost(
        percentile(measured, 50.0),
        percentile(measured, 99.0),
        cpu_ms,
        per_s,
        max(private, default=0),
    )


def _grid(built: BuiltIndex, costs: dict[int, Cost]) -> Grid:
    return Grid(
        f"An index of kind {built.kind}, recall {built.recall:.3f}",
        (
            *("", "p50", "p99", "CPU of the asker"),
            *(f"searches/s, {_AT_ONCE} at once", "memory of a shard"),
        ),
        tuple(
            (
                "in this process" if count == 0 else f"{count} shards" if count > 1 else "1 shard",
                f"{cost.p50_ms:.2f} ms",
                f"{cost.p99_ms:.2f} ms",
                f"{cost.cpu_ms:.2f} ms",
                f"{cost.per_s:,.0f}",
                f"{cost.shard_mb:.0f} MB" if cost.shard_mb else "",
            )
            for count, cost in costs.items()
        ),
    )


def _write_release(root: Path, key: bytes, built: BuiltIndex, vectors: NDArray[np.float32]) -> None:
    """What a shard reads of a release; everything else in it is empty."""
    folder = root / "releases" / _RELEASE
    folder.mkdir(parents=True)
    for name in REQUIRED_FILES:
        (folder / name).touch()
    built.write(folder / INDEX_FILE)
    np.save(folder / VECTORS_FILE, vectors)
    entries = {
        name: FileEntry(
            (folder / name).stat().st_size,
            hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        )
        for name in REQUIRED_FILES
    }
    manifest = Manifest(_RELEASE, 1, 0, "by-benchmark", entries, {}).signed(key)
    (folder / MANIFEST).write_text(manifest.to_json())
    (root / "releases" / "CURRENT").write_text(_RELEASE)
    (root / "keys").mkdir()
    (root / "keys" / "release.key").write_text(key.hex())
    (root / "keys" / "release.key").chmod(0o600)


@contextmanager
def _running(root: Path, count: int) -> Iterator[tuple[list[str], list[psutil.Process]]]:
    """So many shards, ready. Raises BenchmarkFailed if they do not become so."""
    addresses = [f"{LOOPBACK}:{free_port()}" for _ in range(count)]
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        **os.environ,
        "VITRINE_STATE_DIR": str(root),
        "VITRINE_INDEX__SHARDS": str(count),
        "VITRINE_LOG_LEVEL": "warning",
    }
    try:
        for number, address in enumerate(addresses):
            ready = root / f"ready-{number}.json"
            ready.unlink(missing_ok=True)
            argv = (
                *(sys.executable, "-m", "serving.shard_app", "--number", str(number)),
                *("--listen", address, "--ready-file", str(ready)),
            )
            started.append(subprocess.Popen(tied_to_parent(argv, signal.SIGTERM), env=environment))
        until = time.monotonic() + _WITHIN_S
        for number, process in enumerate(started):
            while not _is_told(root / f"ready-{number}.json", process):
                if process.poll() is not None or time.monotonic() > until:
                    raise BenchmarkFailed(f"shard {number} did not become ready")
                time.sleep(0.05)
        yield addresses, [psutil.Process(each.pid) for each in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _is_told(file: Path, process: subprocess.Popen[bytes]) -> bool:
    try:
        return bool(json.loads(file.read_text())["pid"] == process.pid)
    except (FileNotFoundError, ValueError):
        return False
