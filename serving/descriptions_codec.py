"""Descriptions codec: between the messages of `descriptions.proto` and the pipeline's own types."""

from collections.abc import Sequence

from serving.describe.pipeline import Judged, Written
from serving.describe.versions import Decision, Kept, State
from serving.field_checks import MAX_ID_BYTES, FieldChecks
from serving.proto import descriptions_pb2 as pb
from shop.descriptions.claims import FactIndex, claims_in
from shop.descriptions.draft import MAX_TEXT_LENGTH, Draft
from shop.descriptions.facts import Attribute
from shop.descriptions.faults import Fault
from shop.descriptions.page_facts import MAX_CAMPAIGN_PRODUCTS, MAX_STATED, Brief
from shop.descriptions.pages import HEADED, PageKind
from shop.errors import InvalidRequest

MAX_REVIEWS = 100
_MAX_TITLE_BYTES, _MAX_SUMMARY_BYTES = 400, 1_200
_KINDS = {
    pb.PAGE_KIND_UNSPECIFIED: PageKind.PRODUCT,
    pb.PAGE_PRODUCT: PageKind.PRODUCT,
    pb.PAGE_CAMPAIGN: PageKind.CAMPAIGN,
    pb.PAGE_CATEGORY: PageKind.CATEGORY,
    pb.PAGE_PHOTO: PageKind.PHOTO,
}
_KIND_CODES = {kind: code for code, kind in _KINDS.items()}
_MAX_REASON_BYTES = 1_000
_MAX_BULLETS = 20
_STATES = {
    State.PUBLISHED: pb.VERSION_PUBLISHED,
    State.IN_REVIEW: pb.VERSION_IN_REVIEW,
    State.REJECTED: pb.VERSION_REJECTED,
    State.SUPERSEDED: pb.VERSION_SUPERSEDED,
}


def required_id(field: str, value: str) -> str:
    """An id as the caller wrote it. Raises InvalidRequest."""
    checks = FieldChecks()
    checks.text(field, value, MAX_ID_BYTES, required=True)
    checks.raise_if_any()
    return value


def actor_of(value: str) -> str:
    """Who acts; every decision is remembered with a name. Raises InvalidRequest."""
    return required_id("actor", value)


def reason_of(value: str) -> str:
    """Why a text was rejected; may be empty. Raises InvalidRequest."""
    checks = FieldChecks()
    checks.text("reason", value, _MAX_REASON_BYTES)
    checks.raise_if_any()
    return value


def kind_of(code: "pb.PageKind") -> PageKind:
    """What a page is; a product's if it was not said. Raises InvalidRequest."""
    kind = _KINDS.get(code)
    if kind is None:
        raise InvalidRequest("kind", f"is {code}, must be one of {', '.join(pb.PageKind.keys())}")
    return kind


def brief_of(brief: pb.CampaignBrief, kind: PageKind) -> Brief:
    """What a campaign is about. Raises InvalidRequest, also where another page has one."""
    checks = FieldChecks()
    product_ids = checks.ids("brief.product_ids", brief.product_ids, MAX_CAMPAIGN_PRODUCTS)
    checks.count("brief.stated", len(brief.stated), MAX_STATED)
    if kind is not PageKind.CAMPAIGN and (brief.product_ids or brief.stated):
        checks.add("brief", "is for campaigns alone")
    if kind is PageKind.CAMPAIGN and not (brief.product_ids or brief.stated):
        checks.add("brief", "is empty; name products, or state what the letter may say")
    for at, fact in enumerate(brief.stated[:MAX_STATED]):
        checks.text(f"brief.stated[{at}].name", fact.name, MAX_ID_BYTES, required=True)
        checks.text(f"brief.stated[{at}].value", fact.value, _MAX_REASON_BYTES, required=True)
        checks.text(f"brief.stated[{at}].unit", fact.unit, MAX_ID_BYTES)
    checks.raise_if_any()
    stated = tuple(Attribute(each.name, each.value, each.unit) for each in brief.stated)
    return Brief(tuple(dict.fromkeys(product_ids)), stated)


def draft_of(text: pb.PageText, kind: PageKind | None = None) -> Draft:
    """A text from outside. Raises InvalidRequest, naming the parts that are wrong.

    `kind` says which parts it must have, where that is known.
    """
    checks = FieldChecks()
    checks.text("text.title", text.title, _MAX_TITLE_BYTES, required=kind in HEADED)
    checks.text("text.summary", text.summary, _MAX_SUMMARY_BYTES)
    checks.text("text.opening", text.opening, MAX_TEXT_LENGTH, required=True)
    checks.text("text.close", text.close, MAX_TEXT_LENGTH)
    checks.count("text.bullets", len(text.bullets), _MAX_BULLETS)
    for at, bullet in enumerate(text.bullets[:_MAX_BULLETS]):
        checks.text(f"text.bullets[{at}]", bullet, MAX_TEXT_LENGTH, required=True)
    checks.raise_if_any()
    bullets = tuple(each.strip() for each in text.bullets)
    heads = text.title.strip(), text.summary.strip()
    return Draft(text.opening.strip(), bullets, text.close.strip(), *heads)


def encode_version(kept: Kept, *, with_claims: bool = False) -> pb.DescriptionVersion:
    """A version as replies tell it."""
    version = kept.version
    return pb.DescriptionVersion(
        version_id=version.version_id,
        product_id=version.product_id,
        number=kept.number,
        text=_page(version.text),
        state=_STATES[kept.state],
        scores=pb.TextScores(
            brand=version.scores.brand,
            coverage=version.scores.coverage,
            grade=version.scores.grade,
            confidence=version.scores.confidence,
        ),
        faults=[_fault(fault) for fault in version.faults],
        facts=[
            pb.ProductFact(name=fact.name, value=fact.value, unit=fact.unit)
            for fact in version.facts.lines
        ],
        prompt=version.prompt,
        prompt_version=version.prompt_version,
        model=version.model,
        seed=version.seed,
        actor=version.actor,
        created_ms=version.created_ms,
        attempts=version.attempts,
        claims=_claims(kept) if with_claims else (),
        kind=_KIND_CODES[version.kind],
        photo=version.photo,
        measures=[pb.PageMeasure(name=each.name, value=each.value) for each in version.measures],
    )


def encode_review(kept: Kept) -> pb.ReviewEntry:
    """An entry of the review queue."""
    impact = kept.version.impact
    return pb.ReviewEntry(
        version=encode_version(kept, with_claims=True),
        impact=impact.total,
        traffic=impact.traffic,
        margin=impact.margin,
        risk=impact.risk,
    )


def encode_history(
    versions: Sequence[Kept], decisions: Sequence[Decision]
) -> pb.ListVersionsResponse:
    """Everything that is kept of one page."""
    return pb.ListVersionsResponse(
        versions=[encode_version(kept) for kept in versions],
        decisions=[
            pb.DecisionRecord(
                version_id=each.version_id,
                action=each.action.value,
                actor=each.actor,
                reason=each.reason,
                at_ms=each.at_ms,
            )
            for each in decisions
        ],
    )


def encode_progress(step: Written | Judged | Kept) -> pb.GenerateDescriptionResponse:
    """One message of the stream."""
    match step:
        case Written():
            piece = pb.WrittenPiece(
                attempt=step.attempt, text=step.piece.text, tokens=step.piece.tokens
            )
            return pb.GenerateDescriptionResponse(piece=piece)
        case Judged():
            judged = pb.JudgedAttempt(
                attempt=step.attempt, faults=[_fault(fault) for fault in step.faults]
            )
            return pb.GenerateDescriptionResponse(judged=judged)
        case Kept():
            return pb.GenerateDescriptionResponse(finished=encode_version(step, with_claims=True))


def _page(draft: Draft) -> pb.PageText:
    return pb.PageText(
        opening=draft.opening,
        bullets=draft.bullets,
        close=draft.close,
        title=draft.title,
        summary=draft.summary,
    )


def _fault(fault: Fault) -> pb.TextFault:
    return pb.TextFault(
        kind=fault.kind.value, text=fault.text, reason=fault.reason, blocking=fault.is_blocking
    )


def _claims(kept: Kept) -> list[pb.TracedClaim]:
    """Traced again with the facts that the version was written from."""
    found = claims_in(kept.version.text.text, FactIndex.of(kept.version.facts))
    return [
        pb.TracedClaim(
            kind=claim.kind.value,
            text=claim.text,
            start=claim.start,
            end=claim.end,
            attribute=claim.attribute or "",
            contradicts=claim.contradicts or "",
        )
        for claim in found
    ]
