"""Judging: all that is wrong with a text, and how good it is, whatever kind of page it is for.

Every kind is held to its facts; a campaign is put before a spam filter besides, a category's page
beside the one that a person wrote, and a photo before the shop's limits and a trained model.
"""

from dataclasses import asdict, dataclass, field

from serving.describe.ports import Alike, Measures, Photo, SpamScorer
from serving.describe.versions import Scores
from shop.descriptions.brand import BrandModel
from shop.descriptions.deliverability import (
    deliverability,
    deliverability_faults,
    letter_faults,
)
from shop.descriptions.draft import Draft, parse_draft
from shop.descriptions.facts import Facts
from shop.descriptions.faults import Fault, FaultKind
from shop.descriptions.pages import HEADED, Measure, PageKind
from shop.descriptions.seo import coverage_of_topics, seo_faults, seo_score
from shop.descriptions.style import StyleGuide
from shop.descriptions.validators import Checked, check
from shop.errors import DependencyError, InvalidRequest
from shop.photos.measures import measured
from shop.photos.quality import PhotoLimits, QualityModel, photo_faults

_SOFT_FAULT = 0.9  # what one matter of taste leaves of the confidence


@dataclass(frozen=True, slots=True, eq=False)
class PhotoJudge:
    """What photos are judged by; without a model by the limits alone, and then by a person."""

    limits: PhotoLimits = field(default_factory=PhotoLimits)
    model: QualityModel | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """Who is asked about a text."""

    measures: Measures
    brand: BrandModel
    spam: SpamScorer
    photos: PhotoJudge


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A photo, and the one of another product that looks like it, if there is one."""

    photo: Photo
    alike: Alike | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a text is about, and what it is held to."""

    kind: PageKind
    facts: Facts
    style: StyleGuide
    human: Draft | None = None  # a category's page that a person wrote; None if nobody did
    shot: Shot | None = None  # of a photo alone

    @property
    def keywords(self) -> tuple[str, ...]:
        """What people search by, to find a category."""
        return (self.facts.category, *self.style.keywords)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer and all that was found in it."""

    draft: Draft
    checked: Checked
    scores: Scores
    faults: tuple[Fault, ...]
    measures: tuple[Measure, ...] = ()

    @property
    def is_blocked(self) -> bool:
        """Whether it may never be shown."""
        return any(fault.is_blocking for fault in self.faults)


async def judge(answer: str, subject: Subject, judges: Judges) -> Attempt:
    """All that is wrong with a model's answer, and how good it is."""
    try:
        draft = parse_draft(answer, is_headed=subject.kind in HEADED)
    except InvalidRequest as error:
        fault = Fault(FaultKind.FORM, "", str(error))
        nothing = Checked((), (fault,), 0.0)
        return Attempt(Draft(answer[:6_000], (), ""), nothing, Scores(0.0, 0.0, 0.0, 0.0), (fault,))
    return await judge_draft(draft, subject, judges)


async def judge_draft(draft: Draft, subject: Subject, judges: Judges) -> Attempt:
    """The same of a text that was read already: a person's, or one from elsewhere."""
    facts, style = subject.facts, subject.style
    measured = judges.measures.measure(draft.prose, draft.text)
    checked = check(draft, facts, style, measured)
    # What is read aloud in a picture's place is a line: too short for a voice.
    is_photo = subject.kind is PageKind.PHOTO
    brand = 1.0 if is_photo else judges.brand.score(draft.text, facts)
    faults = checked.faults
    if brand < style.least_brand_score:
        off = f"sounds {brand:.2f} like this shop, {style.least_brand_score:.2f} is wanted"
        faults = (*faults, Fault(FaultKind.VOICE, "", off))
    own = await _of_kind(draft, subject, judges)
    faults = (*faults, *own.faults)
    told = 1.0 if is_photo else checked.coverage
    confidence = own.share * confidence_of(told, brand, faults)
    scores = Scores(brand, checked.coverage, measured.grade, confidence)
    return Attempt(draft, checked, scores, faults, own.measures)


def confidence_of(coverage: float, brand: float, faults: tuple[Fault, ...]) -> float:
    """0 to 1: nothing of what is blocked; else less for each matter of taste and untold fact."""
    if any(fault.is_blocking for fault in faults):
        return 0.0
    return float(brand * (0.5 + 0.5 * coverage) * _SOFT_FAULT ** len(faults))


@dataclass(frozen=True, slots=True)
class _Found:
    """What one kind of page is asked beyond the rest; `share` is what it leaves of confidence."""

    faults: tuple[Fault, ...] = ()
    measures: tuple[Measure, ...] = ()
    share: float = 1.0


async def _of_kind(draft: Draft, subject: Subject, judges: Judges) -> _Found:
    match subject.kind:
        case PageKind.CAMPAIGN:
            return await _of_campaign(draft, judges.spam)
        case PageKind.CATEGORY:
            return _of_category(draft, subject)
        case PageKind.PHOTO if subject.shot is not None:
            return _of_photo(subject.shot, judges.photos)
        case _ if draft.title or draft.summary:
            untold = "a product's page has neither title nor summary; its text begins at once"
            return _Found((Fault(FaultKind.FORM, draft.title or draft.summary, untold),))
        case _:
            return _Found()


async def _of_campaign(letter: Draft, spam: SpamScorer) -> _Found:
    try:
        report = await spam.score(letter)
    except DependencyError as error:
        # A person decides about every campaign anyway, and is told that no filter has read it.
        unread = Fault(FaultKind.DELIVERABILITY, "", f"no spam filter has read it: {error}")
        return _Found((unread, *letter_faults(letter)))
    reach = deliverability(letter, report)
    measures = (
        Measure("deliverability", reach),
        Measure("spam points", report.points),
        Measure("spam points allowed", report.threshold),
        *(Measure(f"spam rule {name}", points) for name, points in report.rules if points > 0),
    )
    return _Found(deliverability_faults(letter, report), measures, reach)


def _of_category(page: Draft, subject: Subject) -> _Found:
    score = seo_score(page, subject.keywords)
    measures = [Measure("SEO score", score.value), *score.parts]
    share = score.value
    if subject.human is not None:
        theirs = seo_score(subject.human, subject.keywords).value
        share = min(score.value / theirs, 1.0) if theirs else 1.0
        measures[1:1] = [
            Measure("SEO score of the page that a person wrote", theirs),
            Measure("topics of that page told", coverage_of_topics(page, subject.human)),
        ]
    return _Found(seo_faults(page, subject.human, subject.keywords), tuple(measures), share)


def _of_photo(shot: Shot, judge: PhotoJudge) -> _Found:
    photo, limits = shot.photo, judge.limits
    found = measured(photo.pixels)
    faults = list(photo_faults(photo.width, photo.height, found, limits))
    measures = [
        Measure("width in pixels", photo.width),
        Measure("height in pixels", photo.height),
        *(Measure(name, value) for name, value in asdict(found).items()),
    ]
    share = 1.0
    if judge.model is None:
        share = 0.5  # what nobody has looked at is not published unseen
        faults.append(Fault(FaultKind.PHOTO, "", "no trained model has looked at it"))
    else:
        share = judge.model.score(measured(photo.thumbnail))
        measures.insert(0, Measure("quality", share))
        if share < limits.least_quality:
            low = f"has quality {share:.2f}, {limits.least_quality:g} is wanted"
            faults.append(Fault(FaultKind.PHOTO, "", low))
    if shot.alike is not None:
        same = f"looks like the one of {shot.alike.product_id}: {shot.alike.bits} bits of 64 differ"
        faults.append(Fault(FaultKind.PHOTO, "", same))
    return _Found(tuple(faults), tuple(measures), share)
