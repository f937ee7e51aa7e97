"""Deliverability: whether an e-mail will reach the inbox, and be read there.

The points are a real spam filter's (an adapter asks it); the rest is what senders do to themselves:
subjects that are cut off, shouted or deceptive, and letters that say nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shop.descriptions.draft import Draft
from shop.descriptions.faults import Fault, FaultKind

MOST_SUBJECT = 60  # characters; what a list of letters shows of it on a desktop
LEAST_PREVIEW, MOST_PREVIEW = 30, 140
_LEAST_WORDS = 20  # a letter of fewer looks like one that hides its text in a picture
_MOST_CAPITALS = 0.4
_SOFT_FAULT = 0.9
_RULES_NAMED = 5
_AS_REPLY = re.compile(r"^\s*(?:re|fwd?|aw|wg)\s*:", re.IGNORECASE)
_PICTURES = re.compile(r"[\U0001F300-\U0001FAFF\u2600-\u27BF]")


@dataclass(frozen=True, slots=True)
class SpamReport:
    """What a spam filter says of a letter."""

    points: float
    threshold: float  # from here on it is spam
    rules: tuple[tuple[str, float], ...]  # that it broke, with their points
    scorer: str  # name and version

    @property
    def is_spam(self) -> bool:
        """Whether most servers would file it away."""
        return self.points >= self.threshold


def deliverability_faults(letter: Draft, report: SpamReport) -> tuple[Fault, ...]:
    """All that stands between a letter and its reader."""
    return (*_of_filter(report), *letter_faults(letter))


def letter_faults(letter: Draft) -> tuple[Fault, ...]:
    """What can be said without a filter."""
    return (*_of_subject(letter.title), *_of_preview(letter.summary), *_of_body(letter))


def deliverability(letter: Draft, report: SpamReport) -> float:
    """0 to 1: how far from the filter's threshold, less a tenth for each fault of the letter."""
    distance = min(max(1.0 - report.points / report.threshold, 0.0), 1.0)
    return float(distance * _SOFT_FAULT ** len(letter_faults(letter)))


def _of_filter(report: SpamReport) -> Iterator[Fault]:
    if not report.is_spam:
        return
    worst = sorted(report.rules, key=lambda rule: -rule[1])[:_RULES_NAMED]
    named = ", ".join(f"{name} {points:g}" for name, points in worst if points > 0)
    found = f"{report.points:g} points of {report.threshold:g} by {report.scorer}: {named}"
    yield Fault(FaultKind.SPAM, "", found)


def _of_subject(subject: str) -> Iterator[Fault]:
    if not subject:
        yield Fault(FaultKind.FORM, "", "a campaign needs a subject: its title")
        return
    if _AS_REPLY.match(subject):
        yield Fault(FaultKind.SPAM, subject, "poses as an answer to a letter that nobody wrote")
    if len(subject) > MOST_SUBJECT:
        yield _of(subject, f"has {len(subject)} characters, {MOST_SUBJECT} are shown")
    letters = [each for each in subject if each.isalpha()]
    capitals = sum(each.isupper() for each in letters)
    if len(letters) > 8 and capitals > _MOST_CAPITALS * len(letters):
        yield _of(subject, "is shouted in capitals")
    if subject.count("!") > 1 or "?!" in subject or "$$" in subject:
        yield _of(subject, "has more marks than words need")
    if len(_PICTURES.findall(subject)) > 1:
        yield _of(subject, "has more than one picture")


def _of_preview(preview: str) -> Iterator[Fault]:
    if not LEAST_PREVIEW <= len(preview) <= MOST_PREVIEW:
        wanted = f"{LEAST_PREVIEW} to {MOST_PREVIEW} are wanted"
        yield _of(preview[:60], f"the preview line has {len(preview)} characters, {wanted}")


def _of_body(letter: Draft) -> Iterator[Fault]:
    words = sum(len(part.split()) for part in (letter.opening, *letter.bullets, letter.close))
    if words < _LEAST_WORDS:
        yield _of(
            "", f"the letter has {words} words; with fewer than {_LEAST_WORDS} it looks empty"
        )


def _of(text: str, reason: str) -> Fault:
    return Fault(FaultKind.DELIVERABILITY, text, reason)
