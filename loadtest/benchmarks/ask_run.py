"""Ask run: questions about held-out products, answered by the shop's own pipeline on vLLM.

    python -m loadtest.benchmarks.ask_run JOB.json

The search is left out: each question comes with its products. Every answer is a line of JSON.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

from loadtest.benchmarks.page_run import held_out_shelves
from serving.adapters.vllm import VllmWriter
from serving.adapters.vllm_engine import engine_environment
from serving.assist.pipeline import Assistant, Notes, tell
from serving.assist.settings import AssistSettings
from serving.assist.steps import Finished
from serving.deadline import Deadline, StageTimes
from serving.writer_settings import WriterSettings
from shop.asking.judging import Judged
from simulator.page_truth import untruths
from training.describer_asks import held_out_asks
from training.texts.asks import Asked

_SEED = 1
_WHOLE_RUN_S = 3_600.0  # all questions wait for their turn at once


def main() -> int:
    """Exit code 0 once every question is answered."""
    job = json.loads(Path(sys.argv[1]).read_text())
    settings = WriterSettings(**job["settings"])
    os.environ.update(engine_environment(settings))  # read when vLLM is imported: not before here
    with Path(job["out"]).open("w") as out:
        asyncio.run(_run(job, settings, out))
    return 0


async def _run(job: dict[str, Any], settings: WriterSettings, out: TextIO) -> None:
    texts = [Path(each) for each in job["texts"]]
    by_source = held_out_shelves(Path(job["snapshot"]), Path(job["specifications"]), texts)
    writer = await VllmWriter.open(settings, Path(job["state_dir"]))
    turns = asyncio.Semaphore(settings.texts_at_once)

    @asynccontextmanager
    async def room() -> AsyncIterator[None]:
        async with turns:
            yield

    async def answered(source: str, number: int, asked: Asked, *, bound: bool) -> None:
        assistant = Assistant(writer, AssistSettings(binds_wording=bound))
        deadline = Deadline(
            time.monotonic, start_s=time.monotonic(), total_s=_WHOLE_RUN_S, reserve_s=0.0
        )
        notes = Notes(StageTimes(time.monotonic))
        steps = tell(asked.question, number, asked.products, assistant, deadline, notes, room)
        line = _line(asked, [step async for step in steps])
        out.write(json.dumps({"source": source, "bound": bound, **line}, ensure_ascii=False) + "\n")

    try:
        async with asyncio.TaskGroup() as group:
            for source, shelves in sorted(by_source.items()):
                for number, asked in enumerate(
                    held_out_asks(shelves, source, job["questions"], _SEED)
                ):
                    for bound in (True, False):
                        group.create_task(answered(source, number, asked, bound=bound))
    finally:
        writer.close()


def _line(asked: Asked, steps: list[Judged | Finished]) -> dict[str, Any]:
    said = [step for step in steps if isinstance(step, Judged)]
    (end,) = [step for step in steps if isinstance(step, Finished)]
    ids = [facts.product_id for facts in asked.products]
    return {
        "question": asked.question,
        "wanted": sorted({each.product for each in asked.sentences}),
        "told": sorted({ids.index(one.product_id) + 1 for one in said if asked.name in one.told}),
        "said": [one.text for one in said],
        "beside": sum(asked.name not in one.told for one in said),
        "untrue": [one.text for one in said if _is_untrue(one, asked)],
        "left_out": dict(end.left_out),
    }


def _is_untrue(said: Judged, asked: Asked) -> bool:
    """By the world's truth, which knows nothing of the judge."""
    facts = next(each for each in asked.products if each.product_id == said.product_id)
    lines = tuple((each.name, each.value, each.unit) for each in facts.lines)
    return bool(untruths(facts.title, lines, said.text))


if __name__ == "__main__":
    raise SystemExit(main())
