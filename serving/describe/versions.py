"""Versions: what is kept of every text, and what may happen to it. Nothing kept is ever changed.

A version is immutable; decisions are added beside it. What a page shows is a pointer, so taking a
text back is pointing at an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shop.descriptions.draft import Draft
from shop.descriptions.facts import Facts
from shop.descriptions.faults import Fault
from shop.descriptions.pages import Measure, PageKind


class Action(StrEnum):
    """What was decided about a version."""

    PUBLISHED = "published"  # by confidence, without a person
    QUEUED = "queued"
    REJECTED = "rejected"
    APPROVED = "approved"
    EDITED = "edited"  # a person's text, published
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"  # left the queue because a newer version came


class State(StrEnum):
    """Where a version is now."""

    PUBLISHED = "published"
    IN_REVIEW = "in review"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


PUBLISHING = frozenset((Action.PUBLISHED, Action.APPROVED, Action.EDITED, Action.ROLLED_BACK))


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a text was found to be. All but grade are 0 to 1."""

    brand: float
    coverage: float
    grade: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Impact:
    """How much hangs on a text."""

    traffic: float  # clicks
    margin: float  # list price less cost, in the shop's currency
    risk: float  # 0 to 1

    @property
    def total(self) -> float:
        """By which the review queue is ordered."""
        return self.traffic * max(self.margin, 0.0) * self.risk


@dataclass(frozen=True, slots=True)
class Version:
    """One text of one page with everything that made it."""

    version_id: str
    product_id: str  # or the id of a campaign, or the name of a category, as `kind` says
    text: Draft
    facts: Facts
    prompt: str
    prompt_version: str
    model: str  # "" where a person wrote it
    adapter: str  # "" for the model as it is
    seed: int
    attempts: int
    scores: Scores
    faults: tuple[Fault, ...]
    impact: Impact
    actor: str
    created_ms: int
    kind: PageKind = PageKind.PRODUCT
    measures: tuple[Measure, ...] = ()  # what its kind is scored by beside `scores`
    photo: str = ""  # digest of the picture, where it is one


@dataclass(frozen=True, slots=True)
class Kept:
    """A version as the store has it."""

    version: Version
    number: int  # counts the page's versions from 1
    state: State


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided what about a version, and why."""

    version_id: str
    product_id: str
    action: Action
    actor: str
    reason: str
    at_ms: int
    kind: PageKind = PageKind.PRODUCT


class Conflict(Exception):
    """Somebody decided about this version before; the caller looks again."""


class VersionReader(Protocol):
    """Reading what is kept. Raises DependencyUnavailable while the store cannot be reached."""

    async def published(self, product_id: str, kind: PageKind = PageKind.PRODUCT) -> Kept | None:
        """What the page shows; None if nothing was published yet."""
        ...

    async def version(self, version_id: str) -> Kept | None:
        """One version by its id."""
        ...

    async def history(
        self, product_id: str, kind: PageKind = PageKind.PRODUCT
    ) -> tuple[Sequence[Kept], Sequence[Decision]]:
        """All versions and decisions of a page, newest first. `kind` is a product's by default."""
        ...


class VersionWriter(Protocol):
    """Adding to what is kept, each call in one transaction together with its webhook message."""

    async def add(self, version: Version, decision: Decision) -> Kept:
        """Keeps a new version and the first decision about it.

        Other versions of the page leave the review queue if it enters it or is published.
        """
        ...

    async def decide(self, decision: Decision) -> Kept:
        """Adds a decision about a version and moves the pointer or the queue by it.

        Raises Conflict if it is not in a state where this can be decided.
        """
        ...


class ReviewQueue(Protocol):
    """What waits for a person."""

    async def waiting(
        self, *, limit: int, after: str | None, kind: PageKind | None = None
    ) -> tuple[Sequence[Kept], int]:
        """Greatest impact first, those after the version `after`; and how many wait in all.

        Of one kind of page, or of all.
        """
        ...


@dataclass(frozen=True, slots=True)
class OutMessage:
    """A webhook message that was not delivered yet."""

    message_id: str
    body: str  # JSON
    created_ms: int
    attempts: int


class Outbox(Protocol):
    """Messages to tell others, written in the transaction of what they tell."""

    async def due(self, *, now_ms: int, limit: int) -> Sequence[OutMessage]:
        """The oldest that may be tried now."""
        ...

    async def delivered(self, message_id: str, *, now_ms: int) -> None:
        """It will not be sent again."""
        ...

    async def postponed(self, message_id: str, *, until_ms: int) -> None:
        """It is tried again at that time."""
        ...
