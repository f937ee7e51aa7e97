"""A product with a specification, and a true page about it."""

from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts, facts_of


def a_shelf() -> Facts:
    """A bookshelf with a dozen attributes."""
    lines = (
        ("material", "oak", ""),
        ("use", "office", ""),
        ("style", "scandinavian", ""),
        ("colour", "sand", ""),
        ("width", "80", "cm"),
        ("height", "120", "cm"),
        ("weight", "24", "kg"),
        ("features", "adjustable shelves, wall mounting kit", ""),
        ("certification", "FSC", ""),
        ("warranty", "5", "years"),
        ("made in", "Portugal", ""),
        ("goes with", "storage boxes, lamps", ""),
    )
    return facts_of(
        "P1",
        "Halden Studio Alba scandinavian oak bookshelf for office, sand",
        "shelves",
        "Halden Studio",
        [Attribute(*line) for line in lines],
    )


def a_page(**changed: object) -> Draft:
    """A true page about `a_shelf`."""
    parts: dict[str, object] = {
        "opening": "The Halden Studio Alba bookshelf brings scandinavian calm to your office.",
        "bullets": (
            "Made of oak in sand",
            "80 cm wide and 120 cm tall, with a weight of 24 kg",
            "Adjustable shelves and a wall mounting kit",
            "FSC certified, with a warranty of 5 years",
        ),
        "close": "It goes with storage boxes and lamps.",
    }
    return Draft(**(parts | changed))  # type: ignore[arg-type]
