"""True pages: products of a small simulated shop, and pages that say nothing but their facts."""

import numpy as np
import pyarrow as pa

from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts, facts_of
from simulator.catalogue import make_products
from simulator.settings import WorldSettings
from simulator.specifications import specifications_of
from simulator.tables import products_table
from training.texts.grammar import write_page


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


def small_world(seed: int = 7) -> pa.Table:
    """The catalogue of a small world, as a shop would have it."""
    return products_table(make_products(WorldSettings.small(seed)))
