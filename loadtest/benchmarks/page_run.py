"""Page run: pages of held-out products, written by the shop's own pipeline on vLLM in one process.

    python -m loadtest.benchmarks.page_run JOB.json

A job names the model's settings, the snapshot, the text sets and how many pages. Many texts are
under way at once, so that vLLM batches them continuously. Every page is a line of JSON in the
job's output: the facts it was written of, the first attempt, the last, and what became of it.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import pyarrow.parquet as pq

from serving.adapters.photo_sql import SqlPhotos
from serving.adapters.spamassassin import SpamAssassin
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.text_measures import TextMeasures
from serving.adapters.version_sql import SqlVersions
from serving.adapters.vllm import VllmWriter
from serving.adapters.vllm_engine import engine_environment
from serving.describe.call import Deps, Wish, WritingSettings
from serving.describe.judging import PhotoJudge
from serving.describe.pipeline import Judged, Written, describe
from serving.describe.ports import Product
from serving.describe.settings import DescribeSettings
from serving.describe.versions import Kept
from serving.writer_settings import WriterSettings
from shop.descriptions.facts import Facts
from shop.descriptions.style import StyleGuide
from shop.errors import NotFound
from training.brand_voice import train_brand_voice
from training.data.snapshot import PRODUCTS
from training.texts.shelves import Shelf, catalogue_shelves, specifications_in, text_set_shelves


class HeldOutProducts:
    """Products of shelves, quiet ones: nothing waits for a person only because it is busy."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self._known = {each.facts.product_id: each.facts for each in shelves}

    async def product(self, product_id: str) -> Product:
        """Raises NotFound."""
        if product_id not in self._known:
            raise NotFound(f"no shelf holds {product_id!r}")
        return Product(self._known[product_id], traffic=1.0, traffic_share=0.0, margin=1.0)

    async def category(self, name: str) -> Product:
        """Raises NotFound: only products' pages are written here."""
        raise NotFound(f"no shelf tells of {name!r}")

    async def whole_shop(self) -> Product:
        """Of nothing."""
        return Product(Facts("", "", "", "", ()), traffic=0.0, traffic_share=0.0, margin=0.0)


def held_out_shelves(
    snapshot: Path, specifications: Path, texts: Sequence[Path]
) -> dict[str, list[Shelf]]:
    """Those that no training touches, by source: "catalogue" and the text sets' names."""
    products = pq.read_table(snapshot / PRODUCTS)
    shelves = catalogue_shelves(products, specifications_in(specifications))
    for folder in texts:
        shelves += text_set_shelves(folder)
    found: dict[str, list[Shelf]] = {}
    for shelf in shelves:
        if shelf.is_held_out:
            found.setdefault(shelf.source, []).append(shelf)
    return found


def main() -> int:
    """Exit code 0 once every page is written."""
    job = json.loads(Path(sys.argv[1]).read_text())
    settings = WriterSettings(**job["settings"])
    os.environ.update(engine_environment(settings))  # read when vLLM is imported: not before here
    with Path(job["out"]).open("w") as out:
        asyncio.run(_run(job, settings, out))
    return 0


async def _run(job: dict[str, Any], settings: WriterSettings, out: TextIO) -> None:
    snapshot = Path(job["snapshot"])
    texts = [Path(each) for each in job["texts"]]
    by_source = held_out_shelves(snapshot, Path(job["specifications"]), texts)
    shelves = [each for found in by_source.values() for each in found]
    writer = await VllmWriter.open(settings, Path(job["state_dir"]))
    numbers = count(1)
    with tempfile.TemporaryDirectory(prefix="vitrine-pages-") as folder:
        database = SqliteDatabase(Path(folder) / "versions.sqlite")
        deps = Deps(
            products=HeldOutProducts(shelves),
            writer=writer,
            versions=SqlVersions(database),
            measures=TextMeasures(),
            brand=train_brand_voice(pq.read_table(snapshot / PRODUCTS))[0],
            style=StyleGuide(),
            styles={},
            spam=SpamAssassin(DescribeSettings().spam_filter, DescribeSettings().sender),
            photos=PhotoJudge(model=None),
            seen=SqlPhotos(database),
            writing=WritingSettings(),
            now_ms=lambda: time.time_ns() // 1_000_000,
            new_id=lambda: f"v{next(numbers)}",
        )
        try:
            await _write_all(job, by_source, deps, settings.texts_at_once, out)
        finally:
            writer.close()
            database.close()


async def _write_all(
    job: dict[str, Any], by_source: dict[str, list[Shelf]], deps: Deps, at_once: int, out: TextIO
) -> None:
    """As many pages of each source as the job says, over and over with other seeds."""
    wanted = [
        (source, shelves[at % len(shelves)], at)
        for source, shelves in sorted(by_source.items())
        for at in range(job["pages"] if source == "catalogue" else job["set_pages"])
    ]
    turns, done = asyncio.Semaphore(at_once), count(1)

    async def write(source: str, shelf: Shelf, seed: int) -> None:
        async with turns:
            line = await _page(source, shelf, seed, deps)
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
        if (number := next(done)) % max(1, len(wanted) // 20) == 0:
            sys.stderr.write(f"{number} of {len(wanted)} pages\n")

    async with asyncio.TaskGroup() as group:
        for each in wanted:
            group.create_task(write(*each))


async def _page(source: str, shelf: Shelf, seed: int, deps: Deps) -> dict[str, Any]:
    answers: dict[int, str] = {}
    faults: list[list[str]] = []
    tokens = 0
    kept: Kept | None = None
    async for step in describe(Wish(shelf.facts.product_id, "bench", seed * 10, None), deps):
        if isinstance(step, Written):
            answers[step.attempt] = answers.get(step.attempt, "") + step.piece.text
            tokens += step.piece.tokens if step.piece.done else 0
        elif isinstance(step, Judged):
            faults.append([str(fault) for fault in step.faults])
        else:
            kept = step
    if kept is None:
        raise NotFound("the pipeline ended without a version")
    return {
        "source": source,
        "product_id": shelf.facts.product_id,
        "first": answers[1],
        "last": kept.version.text.to_json(),
        "attempts": kept.version.attempts,
        "tokens": tokens,
        "state": kept.state.value,
        "confidence": kept.version.scores.confidence,
        "coverage": kept.version.scores.coverage,
        "faults": faults,
    }


if __name__ == "__main__":
    raise SystemExit(main())
