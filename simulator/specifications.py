"""Specifications: measures, features and labels of every product, as the shop's catalogue has them.

Drawn from a stream of their own, so that a world's products and shoppers stay what they were.
Each product has the coded attributes of the catalogue first, then what its category measures.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.catalogue import ATTRIBUTES, Products
from simulator.lexicon import CATEGORIES
from simulator.specification_lexicon import (
    CERTIFICATIONS,
    ORIGINS,
    SPECIFICATIONS,
    WARRANTY_YEARS,
    Measure,
)

SPECIFICATIONS_FILE = "specifications.parquet"
_STREAM = 101
_NOT_TOLD_SHARE = 0.15  # of measures and choices: no shop knows everything of everything
_CERTIFIED_SHARE = 0.35
_FEATURE_SHARE = 0.6

Line = tuple[str, str, str]
"""Name, value, unit ("" if it has none)."""


def specifications_of(products: Products, seed: int) -> tuple[tuple[Line, ...], ...]:
    """[P] the specification of each product; equal seeds give equal ones."""
    rng = np.random.default_rng([seed, _STREAM])
    return tuple(tuple(_lines(products, row, rng)) for row in range(1, products.count + 1))


def specifications_table(products: Products, seed: int) -> pa.Table:
    """One row per line of a specification: product_id, name, value, unit."""
    rows = [
        (products.ids[row], *line)
        for row, lines in enumerate(specifications_of(products, seed), start=1)
        for line in lines
    ]
    columns = zip(*rows, strict=True)
    names = ("product_id", "name", "value", "unit")
    return pa.table(
        {name: pa.array(c, pa.string()) for name, c in zip(names, columns, strict=True)}
    )


def write_specifications(products: Products, seed: int, folder: Path) -> Path:
    """Writes the table to `folder`, in one step; returns where it lies."""
    file = folder / SPECIFICATIONS_FILE
    part = file.with_suffix(".part")
    pq.write_table(specifications_table(products, seed), part, compression="zstd")
    part.replace(file)
    return file


def _lines(products: Products, row: int, rng: np.random.Generator) -> Iterator[Line]:
    codes = products.attributes[row]
    named = {
        name: products.vocabularies[at][codes[at]]
        for at, name in enumerate(ATTRIBUTES)
        if name not in ("category", "brand")
    }
    yield from ((name, value, "") for name, value in named.items())
    about = SPECIFICATIONS[CATEGORIES[codes[0]].name]
    for measure in about.measures:
        value = _drawn(measure, rng)
        if rng.random() >= _NOT_TOLD_SHARE:
            yield measure.name, value, measure.unit
    for choice in about.choices:
        value = choice.values[rng.integers(len(choice.values))]
        if rng.random() >= _NOT_TOLD_SHARE:
            yield choice.name, value, ""
    has = rng.random(len(about.features)) < _FEATURE_SHARE
    features = [each for each, is_there in zip(about.features, has, strict=True) if is_there]
    if features:
        yield "features", ", ".join(features), ""
    yield from _labels(named["material"], rng)
    yield "goes with", ", ".join(CATEGORIES[codes[0]].goes_with), ""


def _labels(material: str, rng: np.random.Generator) -> Iterator[Line]:
    fitting = [name for name, materials in CERTIFICATIONS if material in materials]
    is_certified = rng.random() < _CERTIFIED_SHARE
    if fitting and is_certified:
        yield "certification", fitting[rng.integers(len(fitting))], ""
    yield "warranty", str(WARRANTY_YEARS[rng.integers(len(WARRANTY_YEARS))]), "years"
    yield "made in", ORIGINS[rng.integers(len(ORIGINS))], ""


def _drawn(measure: Measure, rng: np.random.Generator) -> str:
    steps = round((measure.high - measure.low) / measure.step)
    return f"{measure.low + measure.step * int(rng.integers(steps + 1)):g}"
