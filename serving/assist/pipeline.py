"""Pipeline: a question becomes sentences, each granted by the facts of the product that it cites.

    question → search as for a list → facts as of now → writer → sentences, judged as they come

Read top to bottom in `answer`. What is not granted is left out and counted; where nothing is left,
or nothing can be, the answer is a refusal. No sentence waits for the one after it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
)
from dataclasses import dataclass, field, replace

from serving.assist.finding import find_products
from serving.assist.settings import AssistSettings
from serving.assist.steps import Finished, Found, Outcome, Question, Step
from serving.deadline import Deadline, StageTimes
from serving.describe.ports import Piece, Writer, WritingRequest
from serving.recommend.call import Deps
from shop.asking.judging import Judged, judge
from shop.asking.prompt import ask_prompt, fitting, sentences_schema
from shop.asking.relevance import asked_lines
from shop.asking.sentences import Said, SentenceReader
from shop.asking.tellings import telling_schema
from shop.asking.topics import untold
from shop.descriptions.facts import Facts
from shop.descriptions.injection import looks_injected
from shop.descriptions.style import StyleGuide
from shop.errors import DependencyTimeout, DependencyUnavailable, InvalidRequest, NotFound

Room = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Assistant:
    """Who answers, and how."""

    writer: Writer
    settings: AssistSettings = field(default_factory=AssistSettings)
    style: StyleGuide = field(default_factory=StyleGuide)


@dataclass(slots=True)
class Notes:
    """Of one answer under way."""

    times: StageTimes
    stage_ms: dict[str, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    said: set[tuple[str, str]] = field(default_factory=set)  # of which product, which lines

    def reached(self, stage: str) -> None:
        """This long after the call began."""
        self.stage_ms.setdefault(stage, self.times.total_ms())

    def finished(self, outcome: Outcome, **told: object) -> Finished:
        """The last step."""
        self.reached("total")
        return Finished(outcome, self.stage_ms, left_out=self.left_out, **told)  # type: ignore[arg-type]


async def answer(
    question: Question,
    deps: Deps,
    assistant: Assistant,
    deadline: Deadline,
    *,
    to_search: Room,
    to_write: Room,
) -> AsyncGenerator[Step, None]:
    """The products, sentences as they are written, and the end. Closing it stops the model.

    The rooms are where a search and a text take their turns. Raises DependencyUnavailable if no
    model runs, DependencyTimeout when the time is up, Overloaded where there is no room.
    """
    notes = Notes(StageTimes(deps.clock))
    if await asyncio.to_thread(looks_injected, question.text):
        yield Found(None, None)
        yield notes.finished(Outcome.QUESTION_REFUSED)
        return
    async with to_search():
        found = await find_products(question, deps, assistant.settings.products, deadline)
    notes.reached("finding")
    yield found
    if not found.facts:
        yield notes.finished(_nothing_found(found))
        return
    told = tell(question.text, question.seed, found.facts, assistant, deadline, notes, to_write)
    async with aclosing(told) as steps:
        async for step in steps:
            yield step


async def tell(
    question: str,
    seed: int,
    products: tuple[Facts, ...],
    assistant: Assistant,
    deadline: Deadline,
    notes: Notes,
    to_write: Room,
) -> AsyncGenerator[Judged | Finished, None]:
    """The sentences that stand, of these products' facts, and the end; raises as `answer` does."""
    products = fitting(products)
    missing, is_all = await asyncio.to_thread(untold, question, products)
    schema = await asyncio.to_thread(_schema, question, products, assistant)
    if is_all or schema is None:
        yield notes.finished(Outcome.NO_FACTS, untold=missing)
        return
    prompt = ask_prompt(question, products)
    async with AsyncExitStack() as stack:
        async with _in_time(deadline):
            await stack.enter_async_context(to_write())
        request = WritingRequest(
            system=prompt.system,
            prompt=prompt.text,
            schema=schema,
            max_tokens=assistant.settings.max_tokens,
            seed=seed,
            temperature=assistant.settings.temperature,
            adapter=None,
        )
        sentences = _sentences(assistant.writer, request, deadline, notes)
        stack.push_async_callback(sentences.aclose)
        async for said in sentences:
            judged = await _judged(said, products, assistant.style, notes)
            if judged.stands:
                notes.reached("first_sentence")
                yield judged
    notes.reached("writing")
    yield notes.finished(
        Outcome.ANSWERED if notes.said else Outcome.NO_FACTS,
        untold=missing,
        model_version=assistant.writer.model_version,
        prompt_version=prompt.version,
    )


def _schema(
    question: str, products: tuple[Facts, ...], assistant: Assistant
) -> Mapping[str, object] | None:
    """What an answer is held to while it is written; None if no line answers."""
    if not assistant.settings.binds_wording:
        return sentences_schema(len(products))
    return telling_schema(products, asked_lines(question, products), assistant.style)


def _nothing_found(found: Found) -> Outcome:
    search = None if found.search is None else found.search.search
    if search is not None and not search.parsed.has_meaning:
        return Outcome.NOT_UNDERSTOOD
    return Outcome.NO_PRODUCTS


async def _judged(said: Said, facts: tuple[Facts, ...], style: StyleGuide, notes: Notes) -> Judged:
    """In a thread: a sentence takes a millisecond, and lists wait for nobody's answer."""
    judged = await asyncio.to_thread(judge, said, facts, style)
    if judged.stands:
        told = {(judged.product_id, name) for name in judged.told}
        if told <= notes.said:
            judged = replace(judged, left_out="said before")
        notes.said |= told
    if not judged.stands:
        notes.left_out[judged.left_out] += 1
    return judged


async def _sentences(
    writer: Writer, request: WritingRequest, deadline: Deadline, notes: Notes
) -> AsyncGenerator[Said, None]:
    """Each as soon as it is complete; leaving early stops the writer."""
    reader, is_done = SentenceReader(), False
    stream = writer.write(request)
    try:
        while not (is_done or reader.is_whole or reader.is_broken):
            piece = await _next(stream, deadline)
            if piece is None:
                raise DependencyUnavailable("writer", "the answer broke off")
            is_done = piece.done
            for said in reader.feed(piece.text):
                yield said
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    if reader.is_broken:
        notes.left_out["form"] += 1
    elif not reader.is_whole:
        notes.left_out["unfinished"] += 1


async def _next(stream: AsyncIterator[Piece], deadline: Deadline) -> Piece | None:
    """The next piece; None at the end. What the writer refuses is not the asker's fault."""
    try:
        async with _in_time(deadline):
            return await anext(stream, None)
    except DependencyUnavailable as error:  # addresses and ports are nothing to tell a caller
        raise DependencyUnavailable("writer", "no language model answers") from error
    except (InvalidRequest, NotFound) as error:
        raise DependencyUnavailable("writer", f"refused the prompt: {error}") from error


@asynccontextmanager
async def _in_time(deadline: Deadline) -> AsyncIterator[None]:
    """Raises DependencyTimeout where the deadline ends inside the block."""
    try:
        async with asyncio.timeout(deadline.remaining_s()):
            yield
    except TimeoutError as late:
        raise DependencyTimeout("writer", "no answer within the deadline") from late
