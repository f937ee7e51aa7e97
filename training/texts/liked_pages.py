"""Liked pages: the pages of a shop that sell best, or a larger model's, as examples to learn from.

A file of JSON lines. One line is one page:

    {"product_id": "P1", "title": "…", "category": "…", "brand": "…",
     "attributes": [{"name": "width", "value": "80", "unit": "cm"}],
     "page": {"opening": "…", "bullets": ["…"], "close": "…"}, "views": 1200, "purchases": 36}

Lines without `views` are a teacher's: all of them are used, which is how a larger model is
distilled. Of the others only the best are, by the lower end of the 95 % interval of their
conversion (Wilson 1927): a page that sold one of two views is not yet known to be good.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shop.descriptions.facts import Attribute, Facts, facts_of
from shop.descriptions.tellings import MAX_BULLET, MAX_BULLETS, MIN_BULLETS, plain
from shop.errors import DataRejected
from training.texts.grammar import MAX_CLOSE, MAX_OPENING, Page

_Z = 1.96
_MAX_LINE = 100_000


@dataclass(frozen=True, slots=True)
class LikedPage:
    """One page and how shoppers took it."""

    facts: Facts
    page: Page
    views: int | None  # None: a teacher's, never shown
    purchases: int

    @property
    def surely_converts(self) -> float:
        """The lower end of the conversion's interval; 1 for a teacher's page."""
        return 1.0 if self.views is None else wilson_lower(self.purchases, self.views)


def read_liked_pages(file: Path) -> list[LikedPage]:
    """All pages of a file. Raises DataRejected, naming the line and what is wrong with it."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataRejected(f"{file} cannot be read: {error}") from error
    pages = [_page(line, f"{file}:{at}") for at, line in enumerate(lines, start=1) if line.strip()]
    if not pages:
        raise DataRejected(f"{file} holds no pages")
    return pages


def best_of(pages: list[LikedPage], share: float) -> list[LikedPage]:
    """A teacher's pages, and this share (0..1) of the others: those that surely convert best."""
    taught = [each for each in pages if each.views is None]
    shown = sorted((each for each in pages if each.views is not None), key=_rank)
    kept = max(1, round(share * len(shown))) if shown else 0
    return [*taught, *shown[:kept]]


def wilson_lower(successes: int, tries: int) -> float:
    """Lower end of the 95 % score interval of a share; 0 without tries."""
    if tries == 0:
        return 0.0
    share, z2 = successes / tries, _Z * _Z
    centre = share + z2 / (2 * tries)
    spread = _Z * ((share * (1 - share) + z2 / (4 * tries)) / tries) ** 0.5
    return (centre - spread) / (1 + z2 / tries)


def _rank(page: LikedPage) -> float:
    return -page.surely_converts


def _page(line: str, where: str) -> LikedPage:
    if len(line) > _MAX_LINE:
        raise DataRejected(f"{where}: longer than {_MAX_LINE} characters")
    try:
        raw: dict[str, Any] = json.loads(line)
        facts = facts_of(
            str(raw.get("product_id", "")),
            str(raw["title"]),
            str(raw.get("category", "")),
            str(raw.get("brand", "")),
            [
                Attribute(str(each["name"]), str(each["value"]), str(each.get("unit", "")))
                for each in raw["attributes"]
            ],
        )
        written = raw["page"]
        page = Page(
            plain(str(written["opening"]))[:MAX_OPENING],
            tuple(plain(str(each))[:MAX_BULLET] for each in written["bullets"])[:MAX_BULLETS],
            plain(str(written["close"]))[:MAX_CLOSE],
        )
        views = None if raw.get("views") is None else int(raw["views"])
        purchases = int(raw.get("purchases", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataRejected(f"{where}: is no page: {type(error).__name__} {error}") from error
    if not 0 <= purchases <= (purchases if views is None else views):
        raise DataRejected(f"{where}: purchases must be between 0 and views")
    if len(page.bullets) < MIN_BULLETS or not page.opening or not page.close:
        raise DataRejected(f"{where}: needs an opening, {MIN_BULLETS} bullets and a close")
    return LikedPage(facts, page, views, purchases)
