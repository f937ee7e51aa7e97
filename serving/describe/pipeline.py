"""Pipeline: a product's facts become a published text, a text for review, or a rejected one.

    facts → prompt → writer → validators → brand score      (again with the faults named, twice)
          → published | review queue | rejected → kept as a version, with a webhook message

Read top to bottom in `describe`; what was written elsewhere comes in by `handing_in` and goes the
same way from the validators on. Letters and category pages live as products' pages do. Nothing
unread reaches a page: what is blocked is rejected, what is not certain waits for a person.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from serving.describe.call import Deps, Wish, product_of, subject_of
from serving.describe.deciding import verdict, version_of
from serving.describe.judging import Subject, judge
from serving.describe.ports import Piece, Writer, WritingRequest
from serving.describe.versions import Kept
from shop.descriptions.faults import Fault
from shop.descriptions.pages import PageKind
from shop.descriptions.prompts import Prompt, answer_schema, page_prompt
from shop.descriptions.wording import Wording, wording_of
from shop.errors import DependencyUnavailable, InvalidRequest

MAX_REGENERATIONS = 2


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of an attempt."""

    attempt: int  # from 1
    piece: Piece


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found in an attempt."""

    attempt: int
    faults: tuple[Fault, ...]


Progress = Written | Judged | Kept


async def describe(wish: Wish, deps: Deps) -> AsyncGenerator[Progress, None]:
    """Writes, checks and keeps one text; the last thing that comes is the version as kept.

    Raises NotFound, or DependencyUnavailable if no model runs. Closing the iterator stops the
    model, and nothing is kept.
    """
    if wish.kind is PageKind.PHOTO:
        raise InvalidRequest("kind", "photos are handed in, not written; see SubmitPage")
    product = await product_of(wish, deps)
    subject = await subject_of(wish.kind, product, deps)
    wording = await asyncio.to_thread(_wording, wish, subject, deps)
    schema = answer_schema(wish.kind, wording)
    faults: tuple[Fault, ...] = ()
    for number in range(1, MAX_REGENERATIONS + 2):
        named = [str(fault) for fault in faults]
        prompt = page_prompt(product.facts, subject.style.keywords, named, wish.kind)
        answer = ""
        async with aclosing(
            _pieces(deps.writer, _request(wish, deps, prompt, schema, number))
        ) as pieces:
            async for piece in pieces:
                answer += piece.text
                yield Written(number, piece)
        attempt = await judge(answer, subject, deps.judges)
        faults = attempt.faults
        yield Judged(number, faults)
        if not faults:
            break
    version = version_of(wish, deps, product, prompt, attempt, number)
    yield await deps.versions.add(version, verdict(version, product, subject.style, attempt))


def _wording(wish: Wish, subject: Subject, deps: Deps) -> Wording | None:
    """What a product's page is held to while it is written, where the shop wants that."""
    if wish.kind is not PageKind.PRODUCT or not deps.writing.binds_wording:
        return None
    return wording_of(subject.facts, subject.style)


async def _pieces(writer: Writer, request: WritingRequest) -> AsyncGenerator[Piece, None]:
    """The writer's pieces; leaving early stops it, an end without `done` is an error."""
    is_done = False
    stream = writer.write(request)
    try:
        async for piece in stream:
            is_done = piece.done
            yield piece
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    if not is_done:
        raise DependencyUnavailable("writer", "the answer broke off")


def _request(
    wish: Wish, deps: Deps, prompt: Prompt, schema: Mapping[str, object], number: int
) -> WritingRequest:
    return WritingRequest(
        system=prompt.system,
        prompt=prompt.text,
        schema=schema,
        max_tokens=deps.writing.max_tokens,
        seed=(wish.seed + number - 1) & 0x7FFFFFFF,
        temperature=deps.writing.temperature,
        adapter=wish.adapter,
    )
