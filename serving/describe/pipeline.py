"""Pipeline: a product's facts become a published text, a text for review, or a rejected one.

    facts → prompt → writer → validators → brand score      (again with the faults named, twice)
          → published | review queue | rejected → kept as a version, with a webhook message

Read top to bottom in `describe`; `submit` takes in a text that was written elsewhere, which goes
the same way from the validators on. Letters and category pages live as products' pages do. Nothing
unread reaches a page: what is blocked is rejected, what is not certain waits for a person.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from serving.describe.judging import Attempt, Judges, Subject, judge, judge_draft
from serving.describe.ports import (
    Measures,
    Piece,
    Product,
    ProductFacts,
    SpamScorer,
    Writer,
    WritingRequest,
)
from serving.describe.versions import (
    PUBLISHING,
    Action,
    Decision,
    Impact,
    Kept,
    Version,
    VersionReader,
    VersionWriter,
)
from shop.descriptions.brand import BrandModel
from shop.descriptions.draft import Draft
from shop.descriptions.faults import Fault
from shop.descriptions.page_facts import Brief, campaign_facts
from shop.descriptions.pages import PageKind, style_for
from shop.descriptions.prompts import Prompt, answer_schema, page_prompt
from shop.descriptions.style import StyleGuide
from shop.errors import DependencyUnavailable, InvalidRequest

MAX_REGENERATIONS = 2
_NO_BRIEF = Brief()


class Versions(VersionReader, VersionWriter, Protocol):
    """Reading and adding."""


@dataclass(frozen=True, slots=True)
class WritingSettings:
    """How the model is asked."""

    max_tokens: int = 600
    temperature: float = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Deps:
    """What the pipeline works with."""

    products: ProductFacts
    writer: Writer
    versions: Versions
    measures: Measures
    brand: BrandModel
    style: StyleGuide
    styles: Mapping[str, StyleGuide]  # by category
    spam: SpamScorer
    writing: WritingSettings
    now_ms: Callable[[], int]
    new_id: Callable[[], str]

    @property
    def judges(self) -> Judges:
        """Who is asked about a text."""
        return Judges(self.measures, self.brand, self.spam)


@dataclass(frozen=True, slots=True)
class Wish:
    """One text that somebody wants."""

    product_id: str  # or the id of a campaign, or the name of a category
    actor: str
    seed: int
    adapter: str | None
    kind: PageKind = PageKind.PRODUCT
    brief: Brief = _NO_BRIEF  # of a campaign


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
    product = await product_of(wish, deps)
    subject = await _subject(wish.kind, product, deps)
    faults: tuple[Fault, ...] = ()
    for number in range(1, MAX_REGENERATIONS + 2):
        named = [str(fault) for fault in faults]
        prompt = page_prompt(product.facts, subject.style.keywords, named, wish.kind)
        answer = ""
        async with aclosing(_pieces(deps.writer, _request(wish, deps, prompt, number))) as pieces:
            async for piece in pieces:
                answer += piece.text
                yield Written(number, piece)
        attempt = await judge(answer, subject, deps.judges)
        faults = attempt.faults
        yield Judged(number, faults)
        if not faults:
            break
    version = _version(wish, deps, product, prompt, attempt, number)
    yield await deps.versions.add(version, _verdict(version, product, subject.style, attempt))


async def submit(wish: Wish, draft: Draft, model: str, deps: Deps) -> Kept:
    """Takes in a text that was written elsewhere: by `model`, or by a person if that is "".

    It is checked and decided about like one of ours. Raises NotFound.
    """
    product = await product_of(wish, deps)
    subject = await _subject(wish.kind, product, deps)
    attempt = await judge_draft(draft, subject, deps.judges)
    handed_in = Prompt("submitted", "", "")
    made = _version(wish, deps, product, handed_in, attempt, 0)
    version = replace(made, model=model)
    return await deps.versions.add(version, _verdict(version, product, subject.style, attempt))


async def product_of(wish: Wish, deps: Deps) -> Product:
    """What is known of a page's subject, and how much hangs on it. Raises NotFound."""
    match wish.kind:
        case PageKind.CATEGORY:
            return await deps.products.category(wish.product_id)
        case PageKind.CAMPAIGN:
            found = [await deps.products.product(each) for each in wish.brief.product_ids]
            facts = campaign_facts(
                wish.product_id, wish.brief.stated, [each.facts for each in found]
            )
            margin = sum(each.margin for each in found) / len(found) if found else 0.0
            share = max((each.traffic_share for each in found), default=0.0)
            return Product(facts, sum(each.traffic for each in found), share, margin)
        case _:
            return await deps.products.product(wish.product_id)


async def _subject(kind: PageKind, product: Product, deps: Deps) -> Subject:
    style = deps.style.for_category(deps.styles, product.facts.category)
    human = None
    if kind is PageKind.CATEGORY:
        human = await _page_by_a_person(product.facts.product_id, deps.versions)
    return Subject(kind, product.facts, style_for(kind, style), human)


async def _page_by_a_person(category: str, versions: VersionReader) -> Draft | None:
    """The newest that a person wrote and that was published once."""
    kept, decisions = await versions.history(category, PageKind.CATEGORY)
    shown = {each.version_id for each in decisions if each.action in PUBLISHING}
    written = (each.version for each in kept if not each.version.model)
    return next((each.text for each in written if each.version_id in shown), None)


async def edit(version_id: str, draft: Draft, actor: str, deps: Deps) -> Kept:
    """Publishes a person's text in place of one that waits, held to the same facts.

    Raises InvalidRequest, naming what no fact grants, and NotFound through `waiting_version`.
    """
    kept = await waiting_version(version_id, deps.versions)
    old = kept.version
    wish = Wish(old.product_id, actor, old.seed, None, old.kind)
    if old.kind is PageKind.CAMPAIGN:  # what it may rely on was told once, and is kept with it
        product = Product(old.facts, old.impact.traffic, 0.0, old.impact.margin)
    else:
        product = await product_of(wish, deps)
    subject = await _subject(old.kind, product, deps)
    attempt = await judge_draft(draft, subject, deps.judges)
    blocking = [str(fault) for fault in attempt.faults if fault.is_blocking]
    if blocking:
        raise InvalidRequest("text", "; ".join(blocking[:5]))
    by_hand = Prompt(old.prompt_version, "", f"edited from {version_id}")
    version = replace(_version(wish, deps, product, by_hand, attempt, 0), model="")
    why = f"edited from {version_id}"
    return await deps.versions.add(version, _decision(version, Action.EDITED, why))


async def waiting_version(version_id: str, versions: VersionReader) -> Kept:
    """The version of this id. Raises InvalidRequest if there is none."""
    kept = await versions.version(version_id)
    if kept is None:
        raise InvalidRequest("version_id", f"{version_id[:40]!r} is no version; see ListReviews")
    return kept


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


def _request(wish: Wish, deps: Deps, prompt: Prompt, number: int) -> WritingRequest:
    return WritingRequest(
        system=prompt.system,
        prompt=prompt.text,
        schema=answer_schema(wish.kind),
        max_tokens=deps.writing.max_tokens,
        seed=(wish.seed + number - 1) & 0x7FFFFFFF,
        temperature=deps.writing.temperature,
        adapter=wish.adapter,
    )


def _version(
    wish: Wish, deps: Deps, product: Product, prompt: Prompt, attempt: Attempt, attempts: int
) -> Version:
    # What was left out of the facts may have been put there on purpose: a person should look.
    risk = 1.0 if product.facts.left_out else 1.0 - attempt.scores.confidence
    return Version(
        version_id=deps.new_id(),
        product_id=wish.product_id,
        text=attempt.draft,
        facts=product.facts,
        prompt=prompt.text,
        prompt_version=prompt.version,
        model=deps.writer.model_version if attempts else "",
        adapter=wish.adapter or "",
        seed=wish.seed,
        attempts=attempts,
        scores=attempt.scores,
        faults=attempt.faults,
        impact=Impact(product.traffic, product.margin, risk),
        actor=wish.actor,
        created_ms=deps.now_ms(),
        kind=wish.kind,
        measures=attempt.measures,
    )


def _verdict(version: Version, product: Product, style: StyleGuide, attempt: Attempt) -> Decision:
    """Published, for review, or rejected."""
    if attempt.is_blocked:
        first = next(str(fault) for fault in attempt.faults if fault.is_blocking)
        return _decision(version, Action.REJECTED, first)
    confidence = attempt.scores.confidence
    if version.kind is PageKind.CAMPAIGN:
        return _decision(version, Action.QUEUED, "a letter cannot be taken back once it is sent")
    if product.facts.left_out:
        names = ", ".join(product.facts.left_out[:5])
        return _decision(version, Action.QUEUED, f"attributes that were left out: {names}")
    if product.traffic_share > style.publish_traffic_below:
        return _decision(version, Action.QUEUED, "a busy product")
    if confidence < style.publish_above:
        why = f"confidence {confidence:.2f} below {style.publish_above:.2f}"
        return _decision(version, Action.QUEUED, why)
    return _decision(version, Action.PUBLISHED, f"confidence {confidence:.2f}")


def _decision(version: Version, action: Action, reason: str) -> Decision:
    return Decision(
        version.version_id,
        version.product_id,
        action,
        version.actor,
        reason,
        version.created_ms,
        version.kind,
    )
