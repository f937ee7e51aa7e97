"""Pipeline: a product's facts become a published text, a text for review, or a rejected one.

    facts → prompt → writer → validators → brand score      (again with the faults named, twice)
          → published | review queue | rejected → kept as a version, with a webhook message

Read top to bottom in `describe`. Nothing unread reaches a page: what is blocked is rejected, and
what is not certain waits for a person, the products that matter most first.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from serving.describe.ports import (
    Measures,
    Piece,
    Product,
    ProductFacts,
    Writer,
    WritingRequest,
)
from serving.describe.versions import (
    Action,
    Decision,
    Impact,
    Kept,
    Scores,
    Version,
    VersionReader,
    VersionWriter,
)
from shop.descriptions.brand import BrandModel
from shop.descriptions.draft import Draft, parse_draft
from shop.descriptions.facts import Facts
from shop.descriptions.faults import Fault, FaultKind
from shop.descriptions.prompts import ANSWER_SCHEMA, Prompt, page_prompt
from shop.descriptions.style import StyleGuide
from shop.descriptions.validators import Checked, check
from shop.errors import DependencyUnavailable, InvalidRequest

MAX_REGENERATIONS = 2
_SOFT_FAULT = 0.9  # what one matter of taste leaves of the confidence


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
    writing: WritingSettings
    now_ms: Callable[[], int]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Wish:
    """One text that somebody wants."""

    product_id: str
    actor: str
    seed: int
    adapter: str | None


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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer of the model and all that was found in it."""

    draft: Draft
    checked: Checked
    scores: Scores
    faults: tuple[Fault, ...]

    @property
    def is_blocked(self) -> bool:
        """Whether it may never be shown."""
        return any(fault.is_blocking for fault in self.faults)


Progress = Written | Judged | Kept


async def describe(wish: Wish, deps: Deps) -> AsyncGenerator[Progress, None]:
    """Writes, checks and keeps one text; the last thing that comes is the version as kept.

    Raises NotFound, or DependencyUnavailable if no model runs. Closing the iterator stops the
    model, and nothing is kept.
    """
    product = await deps.products.product(wish.product_id)
    style = deps.style.for_category(deps.styles, product.facts.category)
    faults: tuple[Fault, ...] = ()
    for number in range(1, MAX_REGENERATIONS + 2):
        prompt = page_prompt(product.facts, style.keywords, [str(fault) for fault in faults])
        answer = ""
        async with aclosing(_pieces(deps.writer, _request(wish, deps, prompt, number))) as pieces:
            async for piece in pieces:
                answer += piece.text
                yield Written(number, piece)
        attempt = judge(answer, product.facts, style, deps)
        faults = attempt.faults
        yield Judged(number, faults)
        if not faults:
            break
    version = _version(wish, deps, product, prompt, attempt, number)
    yield await deps.versions.add(version, _verdict(version, product, style, attempt))


def judge(answer: str, facts: Facts, style: StyleGuide, deps: Deps) -> Attempt:
    """All that is wrong with an answer, and how good it is."""
    try:
        draft = parse_draft(answer)
    except InvalidRequest as error:
        fault = Fault(FaultKind.FORM, "", str(error))
        nothing = Checked((), (fault,), 0.0)
        return Attempt(Draft(answer[:6_000], (), ""), nothing, Scores(0.0, 0.0, 0.0, 0.0), (fault,))
    return judge_draft(draft, facts, style, deps)


def judge_draft(draft: Draft, facts: Facts, style: StyleGuide, deps: Deps) -> Attempt:
    """The same of a text that was read already: a person's edit."""
    measured = deps.measures.measure(draft.prose, draft.text)
    checked = check(draft, facts, style, measured)
    brand = deps.brand.score(draft.text, facts)
    faults = checked.faults
    if brand < style.least_brand_score:
        off = f"sounds {brand:.2f} like this shop, {style.least_brand_score:.2f} is wanted"
        faults = (*faults, Fault(FaultKind.VOICE, "", off))
    confidence = confidence_of(checked.coverage, brand, faults)
    return Attempt(
        draft, checked, Scores(brand, checked.coverage, measured.grade, confidence), faults
    )


def confidence_of(coverage: float, brand: float, faults: tuple[Fault, ...]) -> float:
    """0 to 1: nothing of what is blocked; else less for each matter of taste and untold fact."""
    if any(fault.is_blocking for fault in faults):
        return 0.0
    return float(brand * (0.5 + 0.5 * coverage) * _SOFT_FAULT ** len(faults))


async def edit(version_id: str, draft: Draft, actor: str, deps: Deps) -> Kept:
    """Publishes a person's text in place of one that waits, held to the same facts.

    Raises InvalidRequest, naming what no fact grants, and NotFound through `waiting_version`.
    """
    kept = await waiting_version(version_id, deps.versions)
    product = await deps.products.product(kept.version.product_id)
    style = deps.style.for_category(deps.styles, product.facts.category)
    attempt = judge_draft(draft, product.facts, style, deps)
    blocking = [str(fault) for fault in attempt.faults if fault.is_blocking]
    if blocking:
        raise InvalidRequest("text", "; ".join(blocking[:5]))
    wish = Wish(product.facts.product_id, actor, kept.version.seed, None)
    by_hand = Prompt(kept.version.prompt_version, "", f"edited from {version_id}")
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
        schema=ANSWER_SCHEMA,
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
        product_id=product.facts.product_id,
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
    )


def _verdict(version: Version, product: Product, style: StyleGuide, attempt: Attempt) -> Decision:
    """Published, for review, or rejected."""
    if attempt.is_blocked:
        first = next(str(fault) for fault in attempt.faults if fault.is_blocking)
        return _decision(version, Action.REJECTED, first)
    confidence = attempt.scores.confidence
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
        version.version_id, version.product_id, action, version.actor, reason, version.created_ms
    )
