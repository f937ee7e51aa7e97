"""A describing shop in memory: products, a scripted writer, versions in a throw-away file."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from serving.adapters.memory_descriptions import (
    FixedMeasures,
    FixedSpamScorer,
    MemoryPhotos,
    MemoryProducts,
    ScriptedWriter,
)
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.version_sql import SqlVersions
from serving.describe.call import Deps, Wish, WritingSettings
from serving.describe.judging import PhotoJudge
from serving.describe.pipeline import Progress, describe
from serving.describe.ports import Product, SpamScorer, Writer
from serving.describe.versions import Kept
from shop.descriptions.brand import COLUMNS, BrandModel
from shop.descriptions.facts import Facts
from shop.descriptions.style import StyleGuide
from tests.unit.described_products import a_page, a_shelf

TRUE = a_page().to_json()
FALSE = a_page(bullets=("Made of oak", "90 cm wide")).to_json()
DULL = a_page(close="Lamps").to_json()  # a matter of taste: the close is too short


def a_product(facts: Facts | None = None, **changed: float) -> Product:
    """A quiet product."""
    numbers = {"traffic": 10.0, "traffic_share": 0.1, "margin": 20.0} | changed
    return Product(facts or a_shelf(), **numbers)


def a_brand(score: float = 0.95) -> BrandModel:
    """One that finds everything this much like the shop."""
    return BrandModel(np.zeros(COLUMNS, np.float32), float(np.log(score / (1 - score))), "fixed")


def deps_of(
    folder: Path,
    answers: Sequence[str] = (TRUE,),
    *,
    products: Sequence[Product] = (),
    writer: Writer | None = None,
    brand: BrandModel | None = None,
    style: StyleGuide | None = None,
    on_piece: Callable[[], None] | None = None,
    spam: SpamScorer | None = None,
) -> Deps:
    """Everything that the pipeline works with."""
    numbers = count(1)
    known = {each.facts.product_id: each for each in products or (a_product(),)}
    return Deps(
        products=MemoryProducts(known),
        writer=writer or ScriptedWriter(answers, on_piece),
        versions=SqlVersions(SqliteDatabase(folder / "versions.sqlite")),
        measures=FixedMeasures(),
        brand=brand or a_brand(),
        style=style or StyleGuide(),
        styles={},
        spam=spam or FixedSpamScorer(),
        photos=PhotoJudge(),
        seen=MemoryPhotos(),
        writing=WritingSettings(),
        now_ms=lambda: 1_000,
        new_id=lambda: f"v{next(numbers)}",
    )


def a_wish(product_id: str = "P1") -> Wish:
    """Somebody wants a text."""
    return Wish(product_id, "ada", 7, None)


def hostile_product() -> Product:
    """One of whose attributes had to be left out."""
    return a_product(replace(a_shelf(), left_out=("note",)))


async def steps_of(deps: Deps, wish: Wish | None = None) -> list[Progress]:
    """All that comes of one wish."""
    return [step async for step in describe(wish or a_wish(), deps)]


async def kept_of(deps: Deps, wish: Wish | None = None) -> Kept:
    """What was kept in the end."""
    last = (await steps_of(deps, wish))[-1]
    assert isinstance(last, Kept)
    return last
