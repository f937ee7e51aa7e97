"""SEO: how well a category's page can be found, beside the page that a person wrote.

What counts is what search engines document of themselves: a title and a summary that fit their
results, the words that people search by in both and in the first paragraph, not too often, and
enough text. The person's page is scored alike; and a new one should tell of what that one told of.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shop.descriptions.draft import Draft
from shop.descriptions.faults import Fault, FaultKind
from shop.descriptions.pages import Measure
from shop.descriptions.plain_words import FUNCTION_WORDS
from shop.descriptions.words import stem, stems_of

TITLE_CHARACTERS = (20, 60)  # what a result shows of them
SUMMARY_CHARACTERS = (70, 160)
_ENOUGH_WORDS = 120
_MOST_DENSITY = 0.04  # of all words; more reads as stuffing
_LEAST_COVERAGE = 0.5  # of the person's topics
_TOPICS = 40
_MISSING_NAMED = 6
_FUNCTION_STEMS = frozenset(stem(word) for word in FUNCTION_WORDS)
# What each part weighs: where the search words stand counts most, as it does for who searches.
_WEIGHTS = {
    "title fits": 1.0,
    "summary fits": 1.0,
    "keyword in title": 2.0,
    "keyword in summary": 1.0,
    "keyword in the first paragraph": 2.0,
    "keyword not stuffed": 1.0,
    "enough text": 2.0,
}


@dataclass(frozen=True, slots=True)
class SeoScore:
    """How well a page can be found, 0 to 1, and of what that is made."""

    value: float
    parts: tuple[Measure, ...]


def seo_score(page: Draft, keywords: Sequence[str]) -> SeoScore:
    """The weighted mean of the parts. `keywords` are what people search by, the first foremost."""
    stems = stems_of(page.text)
    wanted = [set(stems_of(each)) for each in keywords if stems_of(each)]
    found = {
        "title fits": _fit(len(page.title), TITLE_CHARACTERS),
        "summary fits": _fit(len(page.summary), SUMMARY_CHARACTERS),
        "keyword in title": _share(wanted[:1], page.title),
        "keyword in summary": _share(wanted[:1], page.summary),
        "keyword in the first paragraph": _share(wanted, page.opening),
        "keyword not stuffed": _not_stuffed(wanted, stems),
        "enough text": min(len(stems) / _ENOUGH_WORDS, 1.0),
    }
    total = sum(_WEIGHTS[name] * value for name, value in found.items())
    parts = tuple(Measure(name, value) for name, value in found.items())
    return SeoScore(total / sum(_WEIGHTS.values()), parts)


def topics(page: Draft) -> tuple[str, ...]:
    """What a page tells of: its commonest stems that are no function words."""
    told = Counter(
        one for one in stems_of(page.text) if one not in _FUNCTION_STEMS and one.isalpha()
    )
    return tuple(one for one, _ in told.most_common(_TOPICS))


def coverage_of_topics(page: Draft, human: Draft) -> float:
    """Share of the person's topics that the page tells of too."""
    wanted, told = topics(human), set(stems_of(page.text))
    return sum(one in told for one in wanted) / len(wanted) if wanted else 1.0


def seo_faults(page: Draft, human: Draft | None, keywords: Sequence[str]) -> tuple[Fault, ...]:
    """Where a page can be found worse than it could, or worse than the person's."""
    mine = seo_score(page, keywords)
    faults = [
        Fault(FaultKind.SEO, "", f"{part.name}: {part.value:.2f} of 1")
        for part in mine.parts
        if part.value < 0.5
    ]
    if not page.title:
        faults.append(Fault(FaultKind.FORM, "", "a category's page needs a title"))
    if human is None:
        return tuple(faults)
    theirs = seo_score(human, keywords)
    if mine.value < theirs.value:
        worse = f"scores {mine.value:.2f}, the page that a person wrote {theirs.value:.2f}"
        faults.append(Fault(FaultKind.SEO, "", worse))
    if coverage_of_topics(page, human) < _LEAST_COVERAGE:
        told = set(stems_of(page.text))
        missing = [one for one in topics(human) if one not in told][:_MISSING_NAMED]
        untold = f"leaves out what the page of a person tells of: {', '.join(missing)}"
        faults.append(Fault(FaultKind.SEO, "", untold))
    return tuple(faults)


def _fit(length: int, wanted: tuple[int, int]) -> float:
    least, most = wanted
    if length == 0:
        return 0.0
    return min(length / least, most / length, 1.0)


def _share(wanted: Sequence[set[str]], text: str) -> float:
    """Of the words searched by, those that stand in the text."""
    words = set().union(*wanted)
    said = set(stems_of(text))
    return sum(one in said for one in words) / len(words) if words else 1.0


def _not_stuffed(wanted: Sequence[set[str]], stems: Sequence[str]) -> float:
    words = set().union(*wanted)
    uses = max((stems.count(one) for one in words), default=0)
    density = uses / len(stems) if stems else 0.0
    # A short text that names its subject twice is no stuffing.
    return 1.0 if uses <= 3 or density <= _MOST_DENSITY else _MOST_DENSITY / density
