"""Comparing: two texts side by side, word by word, with every claim and the fact that grants it.

Pure: from messages of `descriptions.proto` to what a template shows. Nothing here is markup; the
templates escape.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from serving.proto import descriptions_pb2 as pb
from shop.descriptions.claim_words import ClaimKind
from shop.descriptions.claims import Claim, FactIndex, claims_in
from shop.descriptions.facts import Attribute, Facts

Span = tuple[int, int]
_WORD = re.compile(r"\S+")
_HEADS = ("title", "category", "brand")


@dataclass(frozen=True, slots=True)
class ShownClaim:
    """A claim as the page marks it."""

    kind: str
    attribute: str  # "" where nothing grants it
    row: int | None  # of the table of facts; None: no such row there
    contradicts: str

    @property
    def is_supported(self) -> bool:
        """Whether a fact grants it and none denies it."""
        return bool(self.attribute) and not self.contradicts


@dataclass(frozen=True, slots=True)
class Run:
    """Letters that are shown alike."""

    text: str
    is_changed: bool  # is not in the other text
    claim: ShownClaim | None


@dataclass(frozen=True, slots=True)
class ShownText:
    """A version's text in its parts."""

    opening: tuple[Run, ...]
    bullets: tuple[tuple[Run, ...], ...]
    close: tuple[Run, ...]
    title: tuple[Run, ...]  # empty where the page has none
    summary: tuple[Run, ...]
    unsupported: int  # claims that no fact grants


@dataclass(frozen=True, slots=True)
class FactRow:
    """A line of the specification."""

    name: str
    value: str
    is_told: bool  # a claim of the text is traced to it
    is_counted: bool  # among what a text should tell: title, category and brand are not


@dataclass(frozen=True, slots=True)
class Comparison:
    """A version, what it is compared with if anything, and the facts it was written from."""

    chosen: ShownText
    other: ShownText | None
    facts: tuple[FactRow, ...]


def compared(
    chosen: pb.DescriptionVersion, other: pb.DescriptionVersion | None = None
) -> Comparison:
    """The chosen version beside another of the same product."""
    parts = _parts(chosen.text)
    rows = {fact.name: at for at, fact in reversed(list(enumerate(chosen.facts)))}
    claims = _claims(chosen)
    if other is None:
        changed: tuple[list[Span], list[Span]] = ([], [])
        beside = None
    else:
        changed = _changes(_joined(_parts(other.text)), _joined(parts))
        beside = _shown(other.text, _claims(other), changed[0], rows)
    told = {claim.attribute for claim in claims if claim.is_grounded}
    facts = tuple(
        FactRow(
            fact.name,
            f"{fact.value} {fact.unit}".rstrip(),
            is_told=fact.name in told,
            is_counted=fact.name not in _HEADS,
        )
        for fact in chosen.facts
    )
    return Comparison(_shown(chosen.text, claims, changed[1], rows), beside, facts)


def _parts(text: pb.PageText) -> list[str]:
    heads = [text.title, text.summary] if text.title or text.summary else []
    return [text.opening, *text.bullets, text.close, *heads]


def _joined(parts: Sequence[str]) -> str:
    return "\n".join(parts)  # places of claims count in this, as in `shop.descriptions.draft`


def _claims(version: pb.DescriptionVersion) -> list[Claim]:
    """Traced to the version's own facts; a word that nobody minded is no claim."""
    lines = tuple(Attribute(fact.name, fact.value, fact.unit) for fact in version.facts)
    index = FactIndex.of(Facts(version.product_id, "", "", "", lines))
    minded = {fault.text for fault in version.faults}
    return [
        claim
        for claim in claims_in(_joined(_parts(version.text)), index)
        if claim.kind is not ClaimKind.WORD or claim.text in minded
    ]


def _changes(before: str, after: str) -> tuple[list[Span], list[Span]]:
    """Where each text has words that the other has not."""
    left = [(m.group(), m.start(), m.end()) for m in _WORD.finditer(before)]
    right = [(m.group(), m.start(), m.end()) for m in _WORD.finditer(after)]
    gone: list[Span] = []
    come: list[Span] = []
    matcher = SequenceMatcher(None, [word for word, *_ in left], [word for word, *_ in right])
    for what, i, j, k, m in matcher.get_opcodes():
        if what == "equal":
            continue
        if i < j:
            gone.append((left[i][1], left[j - 1][2]))
        if k < m:
            come.append((right[k][1], right[m - 1][2]))
    return gone, come


def _shown(
    text: pb.PageText, claims: Sequence[Claim], changed: Sequence[Span], rows: dict[str, int]
) -> ShownText:
    shown: list[tuple[Run, ...]] = []
    start = 0
    for part in _parts(text):
        shown.append(tuple(_runs(part, start, claims, changed, rows)))
        start += len(part) + 1
    unsupported = sum(not claim.is_grounded for claim in claims)
    at = 1 + len(text.bullets)
    title, summary = shown[at + 1 :] or ((), ())
    return ShownText(shown[0], tuple(shown[1:at]), shown[at], title, summary, unsupported)


def _runs(
    part: str, start: int, claims: Sequence[Claim], changed: Sequence[Span], rows: dict[str, int]
) -> Iterator[Run]:
    end = start + len(part)
    inside = [claim for claim in claims if claim.start < end and start < claim.end]
    spans = [span for span in changed if span[0] < end and start < span[1]]
    places = {start, end, *(p for span in spans for p in span)}
    places |= {place for claim in inside for place in (claim.start, claim.end)}
    cuts = sorted(place for place in places if start <= place <= end)
    for at, to in pairwise(cuts):
        claim = next((each for each in inside if each.start <= at and to <= each.end), None)
        is_changed = any(a <= at and to <= b for a, b in spans)
        yield Run(part[at - start : to - start], is_changed, _claim(claim, rows))


def _claim(claim: Claim | None, rows: dict[str, int]) -> ShownClaim | None:
    if claim is None:
        return None
    attribute = claim.attribute or ""
    row = rows.get(claim.contradicts or attribute)
    return ShownClaim(claim.kind.value, attribute, row, claim.contradicts or "")
