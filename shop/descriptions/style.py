"""Style: how a shop wants its pages written, as data per shop and category."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

BANNED = (
    "cheap", "crappy", "damn", "hell", "shit", "sucks", "stupid", "ugly", "idiot", "sexy",
    "kill", "killer", "insane", "crazy", "miracle", "magic", "cure", "cures", "heals", "detox",
    "guaranteed", "risk-free", "no brainer", "must-have", "must have", "game changer",
    "game-changer", "buy now", "act now", "click here", "hurry", "limited time",
    "while stocks last", "lowest price", "best price", "100% free", "free gift", "money back",
    "winner", "congratulations", "cash", "amazing deal", "dirt cheap", "bargain", "knock-off",
    "fake", "replica",
)  # fmt: skip
# What a shop says instead: a page that writes the first is told of the second.
TERMS: Mapping[str, str] = {
    "colour way": "colour",
    "colourway": "colour",
    "pleather": "faux leather",
    "man-made leather": "faux leather",
    "water proof": "waterproof",
    "eco friendly": "its certification by name",
    "utilise": "use",
    "utilize": "use",
    "purchase": "buy",
}


@dataclass(frozen=True, slots=True)
class StyleGuide:
    """What a page must be like. Counts are of words unless said otherwise."""

    language: str = "en"  # ISO 639-1
    least_opening: int = 8
    most_opening: int = 90
    least_bullets: int = 2
    most_bullets: int = 8
    most_bullet: int = 25
    least_close: int = 3
    most_close: int = 50
    least_grade: float = 0.0  # Flesch–Kincaid school grade of the full sentences
    most_grade: float = 14.0
    most_keyword_uses: int = 5  # more reads as stuffing
    keywords: tuple[str, ...] = ()  # beside those that a product's facts give
    banned: tuple[str, ...] = BANNED
    terms: Mapping[str, str] = field(default_factory=lambda: dict(TERMS))
    # Vocabulary of the house that claims nothing; the plain vocabulary is always known.
    own_words: tuple[str, ...] = ()
    # Whether a word that nobody knows is an ungrounded claim. Without it only numbers, names and
    # the claim lists are traced: for large models with a free hand, whose pages people read.
    is_strict: bool = True
    least_brand_score: float = 0.5
    # Auto-publishing: confidence at least this, and traffic at most that share of the busiest.
    publish_above: float = 0.8
    publish_traffic_below: float = 0.5

    def for_category(self, others: Mapping[str, "StyleGuide"], category: str) -> "StyleGuide":
        """The category's own guide if it has one."""
        return others.get(category, self)

    def with_keywords(self, keywords: tuple[str, ...]) -> "StyleGuide":
        """The same guide, asking for these too."""
        return replace(self, keywords=(*self.keywords, *keywords))
