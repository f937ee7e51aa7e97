"""Products of the simulated shop with their specifications, and true pages about them."""

import numpy as np

from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts, facts_of
from simulator.catalogue import make_products
from simulator.settings import WorldSettings
from simulator.specifications import specifications_of
from training.texts.grammar import write_page


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


def world_facts(count: int, seed: int = 7) -> list[Facts]:
    """Of the first products of a small world."""
    products = make_products(WorldSettings.small(seed))
    specifications = specifications_of(products, seed)
    return [
        facts_of(
            products.ids[row],
            products.titles[row],
            products.vocabularies[0][products.attributes[row, 0]],
            products.vocabularies[1][products.attributes[row, 1]],
            [Attribute(*line) for line in specifications[row - 1]],
        )
        for row in range(1, count + 1)
    ]


def true_page(facts: Facts, rng: np.random.Generator) -> Draft:
    """One of the many pages that say nothing but the facts."""
    page = write_page(facts, rng)
    return Draft(page.opening, page.bullets, page.close)
