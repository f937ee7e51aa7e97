"""The searchable shop, a writer that answers as told, and the steps of one answer.

"red lamps" finds p4, p8, p12, … in this order: p4 is "tall thing 4" by elm at 14.00 EUR.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from serving.adapters.memory_descriptions import ScriptedWriter
from serving.assist.pipeline import Assistant, Room, answer
from serving.assist.settings import AssistSettings
from serving.assist.steps import Finished, Found, Question, Step
from serving.deadline import Deadline
from serving.describe.ports import Piece, Writer, WritingRequest
from serving.recommend.call import Deps
from shop.asking.judging import Judged
from tests.unit.searchable_shop import SearchableShop, a_searchable_shop
from tests.unit.small_shop import a_context, an_ask

TRUE_4 = "It is tall thing 4 in red, and it costs 14.00 EUR."


def an_answer(*sentences: tuple[int, str]) -> str:
    """As a model writes it."""
    said = [{"product": number, "text": text} for number, text in sentences]
    return json.dumps({"sentences": said}, separators=(",", ":"))


def a_question(text: str = "red lamps", **changes: object) -> Question:
    ask = an_ask(query=text, context=a_context(placement="search"), **changes)
    return Question(ask, seed=7)


def deps_of(searchable: SearchableShop) -> Deps:
    """In real time."""
    return replace(searchable.shop.deps, clock=time.monotonic)


class Clock:
    """Real seconds, until the time is up all at once."""

    def __init__(self) -> None:
        self.is_up = False

    def __call__(self) -> float:
        return time.monotonic() + (1e6 if self.is_up else 0.0)


@asynccontextmanager
async def room() -> AsyncIterator[None]:
    """There is always some."""
    yield


def answering(
    question: Question,
    writer: Writer,
    *,
    searchable: SearchableShop | None = None,
    clock: Clock | None = None,
    to_write: Room = room,
    settings: AssistSettings | None = None,
) -> AsyncGenerator[Step, None]:
    """The steps, to be taken one by one."""
    deps = deps_of(searchable or a_searchable_shop())
    clock = clock or Clock()
    deadline = Deadline(clock, start_s=clock(), total_s=60.0, reserve_s=0.0)
    assistant = Assistant(writer, settings or AssistSettings())
    return answer(question, deps, assistant, deadline, to_search=room, to_write=to_write)


def steps_of(
    text: str,
    writer: Writer,
    searchable: SearchableShop | None = None,
    settings: AssistSettings | None = None,
    **changes: object,
) -> tuple[Found, list[Judged], Finished]:
    """Of a whole answer: what was found, the sentences that were said, and the end."""

    async def run() -> list[Step]:
        question = a_question(text, **changes)
        steps = answering(question, writer, searchable=searchable, settings=settings)
        return [step async for step in steps]

    found, *said, end = asyncio.run(run())
    assert isinstance(found, Found)
    assert isinstance(end, Finished)
    return found, [each for each in said if isinstance(each, Judged)], end


def said_by(*sentences: tuple[int, str]) -> ScriptedWriter:
    return ScriptedWriter([an_answer(*sentences)])


class StallingWriter:
    """Writes one sentence and a half, and then nothing."""

    model_version = "stalling"

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        try:
            yield Piece(an_answer((1, TRUE_4))[:-2] + ',{"product":1,', False, 9)
            await asyncio.Event().wait()
        finally:
            self.left.set()
