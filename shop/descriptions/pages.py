"""Pages: the kinds of content that live one life of versions, review and publishing."""

from dataclasses import dataclass, replace
from enum import StrEnum

from shop.descriptions.style import StyleGuide


class PageKind(StrEnum):
    """What a version is a version of."""

    PRODUCT = "product"  # a product's description
    CAMPAIGN = "campaign"  # an e-mail: title is the subject, summary the preview line
    CATEGORY = "category"  # a category's page: title and summary are what search engines show
    PHOTO = "photo"  # a product's picture; the text is what is read aloud in its place


# These have a title and a summary beside their text.
HEADED = frozenset((PageKind.CAMPAIGN, PageKind.CATEGORY))


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure about a version, beside the scores that every text has."""

    name: str
    value: float


def style_for(kind: PageKind, style: StyleGuide) -> StyleGuide:
    """The shop's style as it holds for this kind: other lengths, and only claims are traced.

    Campaigns and category pages are written by people and large models with a free hand, so a word
    that nobody knows is no fault of theirs; numbers, names and the claim lists are traced as ever.
    """
    match kind:
        case PageKind.CAMPAIGN:
            return replace(
                style,
                is_strict=False, keywords=(), least_opening=8, most_opening=120,
                least_bullets=0, least_close=2,
            )  # fmt: skip
        case PageKind.CATEGORY:
            return replace(
                style,
                is_strict=False, least_opening=25, most_opening=250,
                least_bullets=0, most_bullets=12, most_bullet=40, least_close=0,
            )  # fmt: skip
        case PageKind.PHOTO:
            return replace(
                style,
                is_strict=False, keywords=(), least_opening=2, most_opening=40,
                least_bullets=0, least_close=0, most_close=0, least_grade=-100.0, most_grade=100.0,
            )  # fmt: skip
        case _:
            return style
