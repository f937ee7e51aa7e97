"""Product view: which version is looked at, beside which other, and what may be done with each."""

from dataclasses import dataclass

from serving.describe.versions import PUBLISHING
from serving.proto import descriptions_pb2 as pb

_STATES = {
    pb.VERSION_PUBLISHED: "on the page",
    pb.VERSION_IN_REVIEW: "waits for review",
    pb.VERSION_REJECTED: "rejected",
    pb.VERSION_SUPERSEDED: "superseded",
}


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version in the list of all."""

    version: pb.DescriptionVersion
    state: str
    by: str
    decisions: tuple[pb.DecisionRecord, ...]  # oldest first
    may_be_shown_again: bool


@dataclass(frozen=True, slots=True)
class ProductView:
    """Everything kept of a product, as one page shows it."""

    chosen: pb.DescriptionVersion
    other: pb.DescriptionVersion | None  # what it is compared with
    lines: tuple[VersionLine, ...]  # newest first
    back_to: pb.DescriptionVersion | None  # what a roll back would show

    @property
    def waits(self) -> bool:
        """Whether a person should decide about the chosen one."""
        return bool(self.chosen.state == pb.VERSION_IN_REVIEW)

    @property
    def is_shown(self) -> bool:
        """Whether the chosen one is on the page."""
        return bool(self.chosen.state == pb.VERSION_PUBLISHED)

    @property
    def state(self) -> str:
        """Of the chosen one, in words."""
        return state_of(self.chosen)


def viewed(kept: pb.ListVersionsResponse, *, chosen: str, against: str) -> ProductView:
    """What is looked at: what was asked for, else what waits, else what is shown, else the newest.

    There is at least one version.
    """
    versions = list(kept.versions)
    by_id = {version.version_id: version for version in versions}
    one = by_id.get(chosen) or _most_wanted(versions)
    shown_before = [d.version_id for d in kept.decisions if d.action in PUBLISHING]
    lines = tuple(_line(version, kept, shown_before) for version in versions)
    shown = _shown(versions)
    back_to = next(
        (by_id[each] for each in shown_before if shown and each != shown.version_id), None
    )
    return ProductView(one, _beside(one, by_id.get(against), versions), lines, back_to)


def state_of(version: pb.DescriptionVersion) -> str:
    """In words."""
    return _STATES.get(version.state, "unknown")


def _most_wanted(versions: list[pb.DescriptionVersion]) -> pb.DescriptionVersion:
    order = (pb.VERSION_IN_REVIEW, pb.VERSION_PUBLISHED)
    for state in order:
        for version in versions:
            if version.state == state:
                return version
    return versions[0]


def _shown(versions: list[pb.DescriptionVersion]) -> pb.DescriptionVersion | None:
    return next((each for each in versions if each.state == pb.VERSION_PUBLISHED), None)


def _beside(
    one: pb.DescriptionVersion,
    asked: pb.DescriptionVersion | None,
    versions: list[pb.DescriptionVersion],
) -> pb.DescriptionVersion | None:
    """What was asked for, else what is on the page, else the version before."""
    others = [each for each in versions if each.version_id != one.version_id]
    if asked is not None and asked in others:
        return asked
    earlier = [each for each in others if each.number < one.number]
    return _shown(others) or (earlier[0] if earlier else None)


def _line(
    version: pb.DescriptionVersion, kept: pb.ListVersionsResponse, shown_before: list[str]
) -> VersionLine:
    decisions = [d for d in kept.decisions if d.version_id == version.version_id]
    return VersionLine(
        version=version,
        state=state_of(version),
        by=version.model or version.actor,
        decisions=tuple(reversed(decisions)),
        may_be_shown_again=version.state != pb.VERSION_PUBLISHED
        and version.version_id in shown_before,
    )
